"""Baking: what the texture holds is what the field says at the surface."""

import numpy as np
import pytest
import torch
import trimesh

from dreamlift.assets.bake import baked, padded, with_light, without_light
from dreamlift.assets.contact_sheet import sample_texture
from dreamlift.assets.topology import Surface
from dreamlift.assets.unwrap import box_projection
from dreamlift.pipelines.mvdream_settings import MINI
from dreamlift.rendering.shading import WorldLight
from dreamlift.training.render import TRAINING_LIGHT, shade

MESH = trimesh.creation.icosphere(3, 0.8)
BALL = Surface(MESH.vertices.astype(np.float32), MESH.faces.astype(np.int32))
UVS = box_projection(BALL, 256)


def rainbow(points):
    return points * 0.5 + 0.5


def test_texture_lookups_give_the_fields_colours():
    texture = baked(BALL, UVS, rainbow, 256)
    assert texture.shape == (256, 256, 3) and texture.dtype == np.uint8
    middle = BALL.vertices[BALL.faces].mean(axis=1)
    found = sample_texture(texture, UVS.mean(axis=1))
    assert np.abs(found - rainbow(torch.from_numpy(middle)).numpy()).max() < 0.02


def test_every_corner_of_every_face_finds_its_colour_also_at_the_seams():
    texture = baked(BALL, UVS, rainbow, 256)
    found = sample_texture(texture, UVS.reshape(-1, 2))
    wanted = rainbow(torch.from_numpy(BALL.vertices[BALL.faces].reshape(-1, 3))).numpy()
    assert np.abs(found - wanted).max() < 0.06  # half a texel into the padding


def test_no_texel_keeps_the_background():
    texture = baked(BALL, UVS, lambda points: torch.tensor([1.0, 0.0, 0.0]).expand(len(points), 3), 128)
    assert (texture == (255, 0, 0)).all()


def test_padding_takes_the_nearest_texel():
    picture = np.zeros((5, 5, 3), np.uint8)
    mask = np.zeros((5, 5), bool)
    mask[0, 0] = mask[4, 4] = True
    picture[0, 0], picture[4, 4] = 10, 200
    filled = padded(picture, mask)
    assert (filled[1, 1] == 10).all() and (filled[3, 4] == 200).all()


def test_colours_beyond_the_range_are_clipped_and_a_wrong_shape_is_named():
    texture = baked(BALL, UVS, lambda points: torch.full_like(points, 7.0), 64)
    assert (texture == 255).all()
    with pytest.raises(ValueError, match=r"must give \(P, 3\)"):
        baked(BALL, UVS, lambda points: points[:, :1], 64)


def test_a_light_that_is_painted_on_comes_off():
    albedo = torch.tensor([0.8, 0.4, 0.6])
    lit = baked(BALL, UVS, lambda points: shade(albedo.expand_as(points), torch.nn.functional.normalize(points)), 256)
    assert np.ptp(lit[..., 0]) > 60  # of 255: one side is bright, one dark
    plain = without_light(BALL, UVS, lit, WorldLight())
    assert np.abs(plain / 255 - albedo.numpy()).max() < 0.02
    assert np.abs(with_light(BALL, UVS, plain, WorldLight()).astype(int) - lit).max() <= 3, "and it comes on again"


def test_the_mini_presets_take_off_the_light_that_their_prior_was_trained_under():
    assert MINI.painted_light == TRAINING_LIGHT
