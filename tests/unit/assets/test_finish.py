"""Finishing: from a field to a solid, textured asset that stands on the ground; and the sheet that shows it."""

import functools
import logging

import numpy as np
import pytest
import torch

from dreamlift.assets.contact_sheet import contact_sheet, sample_texture
from dreamlift.assets.finish import FinishSettings, finish, on_the_ground
from dreamlift.assets.surface import extract_surface
from dreamlift.assets.topology import Surface, is_one_solid
from dreamlift.pipelines.context import Provenance

PROVENANCE = Provenance("mvdream", "mini", "a red and blue pill", "", 3, "none", "Apache-2.0", True, "0.1.0", 1.0)
AXES = np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij")
PILL = 0.3 - np.sqrt((AXES[0] - 0.1) ** 2 + AXES[1] ** 2 + (AXES[2] - np.clip(AXES[2], -0.3, 0.3)) ** 2)


def two_colours(points):
    """Red above, blue below."""
    red, blue = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.9])
    return torch.where(points[:, 2:] > 0, red, blue)


@functools.cache
def finished():
    return finish(extract_surface(PILL), two_colours, FinishSettings(1500, 256, size_m=2.0), PROVENANCE)


def test_the_asset_is_one_solid_of_the_size_asked_for_on_the_ground():
    asset = finished()
    assert is_one_solid(asset.vertices, asset.faces)
    assert 1000 < len(asset.faces) <= 1500
    low, high = asset.vertices.min(axis=0), asset.vertices.max(axis=0)
    assert high[2] - low[2] == pytest.approx(2.0, abs=1e-5)
    assert low[2] == pytest.approx(0, abs=1e-6)
    assert (low + high)[:2] == pytest.approx([0, 0], abs=1e-5)
    assert asset.provenance is PROVENANCE


def test_the_texture_has_the_fields_colours_where_they_belong():
    asset = finished()
    colours = sample_texture(asset.texture, asset.uvs.mean(axis=1))
    height = asset.vertices[asset.faces].mean(axis=1)[:, 2]
    assert (colours[height > 1.1, 0] > 0.8).all() and (colours[height < 0.9, 2] > 0.8).all()


def test_a_torn_surface_is_remeshed_first(caplog):
    whole = extract_surface(PILL)
    torn = Surface(whole.vertices, whole.faces[:-40])
    asset = finish(torn, two_colours, FinishSettings(1000, 64), PROVENANCE)
    assert is_one_solid(asset.vertices, asset.faces)
    assert "remeshing" in caplog.text


def test_every_step_logs_its_time(caplog):
    with caplog.at_level(logging.INFO, "dreamlift.assets.finish"):
        finish(extract_surface(PILL), two_colours, FinishSettings(500, 64), PROVENANCE)
    for step in ("smooth", "decimate", "unwrap", "bake"):
        assert f"finish: {step} took" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("texture_size", 1000), ("texture_size", 16), ("size_m", 0.0)])
def test_settings_that_cannot_be_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        FinishSettings(**{name: value})


def test_ground_and_size_of_a_flat_mesh():
    flat = on_the_ground(np.array([[1.0, 1, 5], [3, 1, 5], [3, 2, 5]]), 4.0)
    assert flat.tolist() == [[-2, -1, 0], [2, -1, 0], [2, 1, 0]]


def test_the_contact_sheet_shows_eight_sides_and_a_caption():
    sheet = contact_sheet(finished(), tile=64)
    assert sheet.dtype == np.uint8 and sheet.shape[1] == 256 and sheet.shape[0] > 128
    for row in range(2):
        for column in range(4):
            tile = sheet[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64].astype(int)
            middle, corner = tile[20, 32], tile[2, 2]
            assert middle[0] > middle[2] + 60, "the upper half is red"
            assert tile[44, 32, 2] > tile[44, 32, 0] + 60, "the lower half is blue"
            assert np.ptp(corner) < 20, "the background is neutral"
    assert np.ptp(sheet[130:]) > 150  # dark letters on a light strip


def test_texture_lookup_is_bilinear():
    texture = np.array([[[0] * 3, [100] * 3], [[0] * 3, [100] * 3]], np.uint8)
    found = sample_texture(texture, np.array([[0.25, 0.5], [0.5, 0.5], [0.75, 0.5], [1.0, 0.0]])) * 255
    assert found[:, 0].tolist() == pytest.approx([0, 50, 100, 100])
