"""Several seeds in one batch: each has the noise and the views that it has alone."""

import pytest
import torch

from dreamlift.priors.configs import MINI
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.sampling import ViewSampling, ddim, denoise_views, latent_shape, sample_views, seed_noise
from dreamlift.rendering.cameras import Cameras, orthogonal_views

FEW = ViewSampling(steps=3, guidance=2.0)


@pytest.fixture(scope="module")
def prior():
    return MVDreamPrior.random(MINI, ["a", "red", "cube"], seed=1)


def drawn(prior, seeds):
    """(seeds * 4, 3, 64, 64)"""
    one = orthogonal_views(0, 15, 2.7, 40)
    cameras = Cameras(one.c2w.repeat(len(seeds), 1, 1), one.fovy.repeat(len(seeds)))
    noise = seed_noise(seeds, (4, *latent_shape(prior)))
    *_, last = denoise_views(prior, ["a red cube"] * len(seeds), cameras, noise, FEW)
    return prior.decode_latents(last)


def test_a_seeds_noise_does_not_depend_on_its_batch():
    together = seed_noise([3, 7, 2**63 - 1], (4, 8, 2, 2))
    for row, seed in enumerate((3, 7, 2**63 - 1)):
        assert torch.equal(together[4 * row : 4 * row + 4], seed_noise([seed], (4, 8, 2, 2)))
    assert not torch.equal(together[:4], together[4:8])


def test_a_seeds_views_are_those_it_has_alone(prior):
    together = drawn(prior, [5, 9])
    # Kernels may sum in another order for another batch; bfloat16, where the processor has it, rounds to 1/256.
    assert (together[4:] - drawn(prior, [9])).abs().max() < 0.02
    assert (together[:4] - together[4:]).abs().max() > 0.05


def test_one_seed_gives_what_the_sampler_of_one_object_gives(prior):
    cameras = orthogonal_views(0, 15, 2.7, 40)
    alone = sample_views(prior, ["a red cube"], cameras, steps=3, guidance=2.0, seed=9)
    assert torch.equal(alone, drawn(prior, [9]))


def test_ddim_reaches_what_a_denoiser_knows_and_gives_every_step():
    truth, abar = torch.full((2, 1, 2, 2), 0.7), torch.linspace(0.999, 0.001, 1000)
    asked = []

    def guided(x_t, t):
        asked.append(t)
        return truth

    looks = list(ddim(guided, torch.randn(2, 1, 2, 2), [900, 500, 1], abar))
    assert asked == [900, 500, 1] and len(looks) == 3
    assert torch.equal(looks[-1], truth)
