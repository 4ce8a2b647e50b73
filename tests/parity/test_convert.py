"""The copy that the model store makes of each family opens again and computes what the published file computes.

Cases in ../shared/parity hold the published key layout; the copy is float16, so weights agree exactly after rounding.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dreamlift.models.catalogue import MODELS, Model, Published
from dreamlift.models.convert import Reader, convert, open_prior
from dreamlift.models.store import Store
from dreamlift.priors.families import Family

CASES = Path(__file__).resolve().parents[3] / "shared" / "parity"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the parity cases lie beside the repository")


def mvdream(case):
    from dreamlift.priors.configs import MVDreamConfig
    from dreamlift.priors.mvdream import MVDreamPrior

    return MVDreamPrior, MVDreamConfig.from_reference(case["config"], text=case.get("text"))


def imagedream(case):
    from dreamlift.priors.configs import ImageDreamConfig
    from dreamlift.priors.imagedream import ImageDreamPrior

    hints = {name: case.get(name) for name in ("text", "vision", "resampler")}
    return ImageDreamPrior, ImageDreamConfig.from_reference(case["config"], **hints)


def zero123(case):
    from dreamlift.priors.zero123 import Zero123Prior
    from dreamlift.priors.zero123_config import Zero123Config

    hints = {name: case[name] for name in ("vision", "embed_dim") if name in case}
    return Zero123Prior, Zero123Config.from_reference(case["config"], **hints)


FAMILIES = {
    "mvdream_v21_tiny": (Family.MVDREAM, mvdream),
    "imagedream_pixel_tiny": (Family.IMAGEDREAM, imagedream),
    "zero123_tiny": (Family.ZERO123, zero123),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_survives_its_copy(name, tmp_path):
    case = torch.load(CASES / f"{name}.pt", weights_only=True)
    family, make = FAMILIES[name]
    prior, config = make(case)
    model = Model("tiny", "Tiny", family, (Published("w.pt", "lab/one"),), MODELS["zero123"].licence, ())
    torch.save(case["state_dict"], tmp_path / "w.pt")
    store = Store([tmp_path])
    own = config if family is Family.ZERO123 else None  # the others keep their configuration in the copy
    reader = Reader(lambda path: prior.from_published(path, config), lambda folder: prior.from_folder(folder, own))
    convert(store, model, reader=reader)
    copy, original = open_prior(store, model, reader), prior.from_published(tmp_path / "w.pt", config)
    assert copy.version.startswith("published, sha256 ")
    assert copy.licence == original.licence and copy.commercial_use == original.commercial_use
    wanted, found = original.state_dict(), copy.state_dict()
    assert wanted.keys() == found.keys()
    for key, value in wanted.items():
        torch.testing.assert_close(found[key].float(), value.half().float(), rtol=0, atol=0, msg=key)
