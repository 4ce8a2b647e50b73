"""Asked which side a picture shows, a prior that knows its subject is believed, and one that does not is not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from dreamlift.distillation.mv_sds import BothSides
from dreamlift.pipelines.picture_side import differences_by_side
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.picture_camera import AZIMUTHS
from dreamlift.rendering.view_sets import ViewSetRanges
from dreamlift.training.image_prompts import recentred
from dreamlift.training.objects import ProceduralObject
from dreamlift.training.render import WorldLight, over, render

SIZE = 64
RANGES = ViewSetRanges(elevation=(-20.0, 40.0), fovy=(40.0, 40.0), reach=(1.0, 1.0))
CAR = ProceduralObject("car", "green", "white")
NOTHING = torch.zeros(1, 1, 1)
TOLD = lambda moment: BothSides(NOTHING, NOTHING)  # noqa: E731
OTHER_LIGHT = WorldLight((0.4, -0.5, 0.7), 0.7, 0.3, 0.1)


class Foresees:
    """A prior whose latents are pictures, and which sees one object whatever it is told."""

    device, config = torch.device("cpu"), SimpleNamespace(unet={"sample_size": SIZE, "out_channels": 3})

    def __init__(self, item):
        self.item, self.asked = item, []

    def predict_x0(self, x_t, t, context, cameras, views=4):
        """Pictures of the object over grey."""
        assert (t == 999).all() and len(x_t) == views
        self.asked.append(cameras)
        return over(render(self.item, cameras, SIZE, 1), torch.tensor(0.5))

    def decode_latents(self, latents):
        """Nothing to decode."""
        return latents


def asked(item, picture):
    """The side that is least different, and how often the prior was asked."""
    prior = Foresees(item)
    found = differences_by_side(prior, TOLD, picture, RANGES, 4, seed=0)
    return found and AZIMUTHS[found.index(min(found))], len(prior.asked)


def picture_of(item, azimuth):
    """Cut out, with another lens and another light than the prior's."""
    whole = recentred(render(item, orbit([azimuth], 12.0, 3.5, 35.0), 128, 1, OTHER_LIGHT)[0], SIZE)
    return torch.cat([whole[:3] / whole[3:].clamp_min(1e-4), whole[3:]]).clamp(0, 1)


@pytest.mark.parametrize("azimuth", [-60.0, -20.0, 30.0, 90.0])
def test_the_side_is_where_the_prior_sees_the_picture(azimuth):
    side, calls = asked(CAR, picture_of(CAR, azimuth))
    assert side == pytest.approx(azimuth, abs=10) and calls == 18


def test_a_picture_of_something_else_tells_no_side():
    assert asked(CAR, picture_of(ProceduralObject("lamp", "pink"), 20.0))[0] is None


def test_a_prior_that_foresees_nothing_tells_no_side():
    prior = Foresees(CAR)
    prior.predict_x0 = lambda x_t, t, context, cameras, views=4: torch.full((views, 3, SIZE, SIZE), 0.5)
    assert differences_by_side(prior, TOLD, picture_of(CAR, 20.0), RANGES, 4, 0) is None
