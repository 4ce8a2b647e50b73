"""MVDream draws the sides of several seeds: the embedded model, and what is refused."""

import numpy as np
import pytest
import torch

from dreamlift.pipelines import catalog, mvdream
from dreamlift.pipelines.context import Request, RequestError
from dreamlift.pipelines.mvdream_settings import settings_for
from dreamlift.pipelines.mvdream_views import SAMPLING_FULL, MvDreamViews
from dreamlift.priors.configs import MINI as MINI_CONFIG
from dreamlift.priors.mvdream import MVDreamPrior


class Quiet:
    """A context that keeps previews and warnings."""

    device = torch.device("cpu")
    plan = None

    def __init__(self):
        self.shown, self.warned = [], []

    def progress(self, progress):
        pass

    def publish(self, preview):
        self.shown.append(preview)

    def wants_preview(self):
        return False

    def warn(self, code, what, remedy):
        self.warned.append(code)

    def should_stop(self):
        return None


def request(**changes):
    return Request(**{"prompt": "a red mushroom", "goal": "views", "seeds": (3, 7), **changes})


@pytest.fixture(scope="module")
def drawn():
    context = Quiet()
    return mvdream.sample_views(request(), context), context


def test_the_embedded_model_draws_a_red_thing_from_every_side_of_every_seed(drawn):
    views, context = drawn
    assert views.images.shape == (2, 4, 64, 64, 3) and views.seeds == (3, 7)
    assert views.names == catalog.PIPELINES["mvdream"].view_names
    pixels = views.images.astype(int)
    red = (pixels[..., 0] - pixels[..., 1:].max(-1)) > 60
    assert red.mean(axis=(2, 3)).min() > 0.02
    assert np.abs(pixels[0] - pixels[1]).mean() > 2, "two seeds are two pictures"
    assert context.shown[-1].seeds == (3, 7)


def test_the_views_say_where_they_came_from(drawn):
    provenance = drawn[0].provenance
    assert (provenance.prompt, provenance.seed) == ("a red mushroom", 3)
    assert provenance.weights.startswith("mini-mvdream") and provenance.commercial_use


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"seeds": ()}, "bad_seeds"),
        ({"seeds": (3, 3)}, "bad_seeds"),
        ({"seeds": tuple(range(17))}, "bad_seeds"),
        ({"settings": {"steps": 10}}, "unknown_setting"),
        ({"preset": "huge"}, "unknown_preset"),
        ({"prompt": "a dragon"}, "unknown_words"),
        ({"prompt": " "}, "empty_prompt"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, code):
    with pytest.raises(RequestError) as caught:
        mvdream.sample_views(request(**changes), Quiet())
    assert caught.value.code == code


def test_unknown_words_are_warned_about():
    context = Quiet()
    source = MVDreamPrior.random(MINI_CONFIG, ["a", "red", "mushroom"])
    mvdream.check_words(source, "a mighty red mushroom", context)
    assert context.warned == ["unknown_words"]


def test_the_cameras_are_those_that_the_names_say():
    prior = MVDreamPrior.random(MINI_CONFIG, ["a"])
    source = MvDreamViews(prior, "a", "", settings_for(Request()), SAMPLING_FULL)
    front, right, back, left = source._cameras.c2w[:, :3, 3]
    assert front[0] > 1 and abs(front[1]) < 1e-5 and right[1] > 1 and back[0] < -1 and left[1] < -1
    assert torch.allclose(torch.stack([front, right, back, left])[:, 2], front[2].expand(4))
    assert front.norm() == pytest.approx(2.7, abs=1e-4), "the distance that the embedded model saw"
