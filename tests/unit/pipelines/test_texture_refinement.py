"""Refining a texture under a prior that knows a ball in two colours: it gets there, and it can be stopped anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from dreamlift.assets.contact_sheet import sample_texture
from dreamlift.assets.topology import Surface
from dreamlift.assets.unwrap import box_projection
from dreamlift.distillation.mv_sds import BothSides
from dreamlift.pipelines.context import Stop, Stopped
from dreamlift.pipelines.field_optimisation import Optimisation, always
from dreamlift.pipelines.field_settings import TextureSettings
from dreamlift.pipelines.mvdream_settings import MINI
from dreamlift.pipelines.texture_refinement import FEWEST_SETS, pixel_weights, refined, softened
from dreamlift.rendering.cameras import camera_rays

RADIUS, PIXELS, TEXELS = 0.6, 32, 128
BALL = trimesh.creation.icosphere(3, RADIUS)
SURFACE = Surface(BALL.vertices.astype(np.float32), BALL.faces.astype(np.int32))
UVS = box_projection(SURFACE, TEXELS)
GREY = np.full((TEXELS, TEXELS, 3), 128, np.uint8)
SETTINGS = replace(MINI, texture=TextureSettings(sets=10, softness=0.0))
NOTHING = always(BothSides(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1)))


def colour_of(points):
    """Red above, blue below."""
    return torch.where(points[..., 2:] > 0.1, torch.tensor([0.8, 0.2, 0.2]), torch.tensor([0.2, 0.3, 0.7]))


class TwoColours:
    """A prior in pictures of 32 pixels that sees the ball wherever it is asked to look, whatever it is shown."""

    image_size = PIXELS
    alphas_cumprod = torch.linspace(0.999, 0.001, 1000)
    name, licence, commercial_use = "two colours", "CC0-1.0", True

    def encode_images(self, images, generator=None):
        self.behind = images[:, :, :1, :1]
        return images * 2 - 1

    def decode_latents(self, latents):
        return latents / 2 + 0.5

    def predict_x0(self, x_t, t, context, cameras, views=4):
        origins, directions = camera_rays(cameras, PIXELS)
        along = (origins * directions).sum(-1)
        inside = along**2 - (origins * origins).sum(-1) + RADIUS**2
        points = origins + (-along - inside.clamp_min(0).sqrt())[..., None] * directions
        colours = colour_of(points).permute(0, 3, 1, 2)
        behind = self.behind.repeat(2, 1, 1, 1)
        return (torch.where(inside[:, None] > 0, colours, behind) * 2 - 1).contiguous()


class Watched:
    """A context that asks for a stop after so many reports."""

    device = torch.device("cpu")
    plan = None

    def __init__(self, stop=None, after=0):
        self.stop, self.after, self.steps, self.published, self.saved = stop, after, [], [], None

    def progress(self, progress):
        self.steps.append(progress)

    def publish(self, preview):
        self.published.append(preview)

    def wants_preview(self):
        return len(self.steps) == 3

    def checkpoint(self, state):
        self.saved = state

    def should_stop(self):
        return self.stop if len(self.steps) >= self.after else None


def refine(context, settings=SETTINGS, seed=0, texture=GREY):
    return refined(Optimisation(settings, TwoColours(), NOTHING, seed, context), SURFACE, UVS, texture)


def errors(texture):
    """How far the texture is from the truth at the middle of every face that lies off the border and not below."""
    middle = SURFACE.vertices[SURFACE.faces].mean(1)
    seen = (np.abs(middle[:, 2] - 0.1) > 0.06) & (middle[:, 2] > -0.4)
    found = sample_texture(texture, UVS.mean(1))
    return np.abs(found - colour_of(torch.from_numpy(middle)).numpy())[seen]


@pytest.fixture(scope="module")
def done():
    context = Watched()
    return refine(context), context


def test_the_texture_that_the_prior_wants_is_reached(done):
    assert errors(GREY).mean() > 0.2
    assert errors(done[0]).mean() < 0.02 and np.quantile(errors(done[0]), 0.99) < 0.1


def test_the_border_between_two_colours_is_sharp(done):
    height = SURFACE.vertices[SURFACE.faces].mean(1)[:, 2]
    found = sample_texture(done[0], UVS.mean(1))
    below, above = (found[np.abs(height - level) < 0.03].mean(0) for level in (0.02, 0.18))  # a pixel is 0.06
    assert above[0] - below[0] > 0.85 * 0.6 and below[2] - above[2] > 0.85 * 0.5


def test_a_texture_that_is_right_stays(done):
    again = refine(Watched(), texture=done[0])
    assert np.abs(again.astype(int) - done[0]).mean() < 3  # of 255


def test_progress_counts_every_question_and_a_preview_has_the_meshs_colours(done):
    context = done[1]
    assert [progress.step for progress in context.steps] == list(range(2, 12))
    assert {progress.stage for progress in context.steps} == {"asset"}
    assert len(context.published) == 1 and context.published[0].colors.shape == (len(SURFACE.vertices), 4)


def test_the_same_seed_gives_the_same_texture():
    few = replace(SETTINGS, texture=replace(SETTINGS.texture, sets=4))
    first, second, other = (refine(Watched(), few, seed) for seed in (3, 3, 4))
    assert (first == second).all() and (first != other).any()


def test_an_artist_who_wants_it_now_gets_a_whole_texture():
    early, late = (refine(Watched(Stop.FINISH, after)) for after in (FEWEST_SETS - 1, FEWEST_SETS))
    assert (early == GREY).all()
    assert late.shape == GREY.shape and late.dtype == np.uint8 and errors(late).mean() < 0.1


@pytest.mark.parametrize("reason", [Stop.CANCEL, Stop.PAUSE])
def test_cancel_and_pause_end_it_and_a_pause_can_go_on(reason):
    context = Watched(reason, 2)
    with pytest.raises(Stopped) as caught:
        refine(context)
    assert caught.value.reason is reason and len(context.steps) == 2
    assert (context.saved is not None) == (reason is Stop.PAUSE)


def test_without_settings_the_baked_texture_stays():
    context = Watched()
    assert refine(context, replace(SETTINGS, texture=None)) is GREY and not context.steps


def test_pixels_of_the_outline_do_not_count_and_those_beside_it_less():
    coverage = np.zeros((1, 7, 7))
    coverage[0, 1:6, 1:6], coverage[0, 3, 6] = 1.0, 0.4
    weights = pixel_weights(coverage, 0.3).reshape(7, 7)
    assert (weights[2:5, 2:5] == 1).all() and weights[1, 1] == pytest.approx(0.3)
    assert weights[3, 6] == 0 and weights[0].sum() == 0


def test_softening_keeps_the_mean_and_pictures_apart():
    pictures = np.zeros((2, 16, 16, 3), np.float32)
    pictures[0, 8, 8] = 1
    soft = softened(pictures.reshape(-1, 3), 16, 0.8).reshape(pictures.shape)
    assert soft[0].sum() == pytest.approx(3, rel=1e-4) and soft[0].max() < 0.4 and not soft[1].any()
    assert softened(pictures, 16, 0.0) is pictures
