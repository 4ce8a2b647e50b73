"""MVDream 2.1 at full size on this machine: 867 million parameters in float32, one forward over four views.

Runs where it is asked for, because it takes minutes on a small machine: `DREAMLIFT_FULL_SIZE=1 pytest
tests/parity/test_full_size.py -s`. Weights are random; equality with the reference is `test_mvdream`'s.
"""

import os
import time

import pytest
import torch

from dreamlift.priors.configs import MVDREAM_SD21
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.random_weights import randomise
from dreamlift.rendering.cameras import orthogonal_views

MEMORY = 5  # GB that must be free: 3.5 of the U-Net's weights, and the activations of four views

pytestmark = pytest.mark.skipif(
    os.environ.get("DREAMLIFT_FULL_SIZE") != "1", reason="takes minutes and 5 GB; set DREAMLIFT_FULL_SIZE=1 to run it"
)


def free_gigabytes():
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return pages / 1e9


def test_one_forward_of_four_views_at_full_size():
    if free_gigabytes() < MEMORY:
        pytest.skip(f"{free_gigabytes():.1f} GB are free, {MEMORY} are wanted")
    started = time.monotonic()
    prior = MVDreamPrior.random_on_meta(MVDREAM_SD21)
    randomise(prior.unet, seed=0)
    built = time.monotonic()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 4, 32, 32, generator=generator)
    text = torch.randn(4, 77, 1024, generator=generator)
    eps = prior.predict(x, torch.full((4,), 500), text, orthogonal_views(0, 15, 1.0, 40))
    done = time.monotonic()
    parameters = sum(value.numel() for value in prior.unet.parameters())
    print(
        f"\n{parameters / 1e6:.0f} million parameters: built in {built - started:.0f} s, forward {done - built:.0f} s"
    )
    assert 860e6 < parameters < 875e6
    assert eps.shape == x.shape and torch.isfinite(eps).all()
    assert eps.std() > 1e-3
