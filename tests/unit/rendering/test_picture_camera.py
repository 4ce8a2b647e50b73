"""From where a picture was taken is found on the thing itself, on a rough one, and not on another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.measure import marching_cubes

from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.picture_camera import AZIMUTHS, ColouredMesh, find_camera
from dreamlift.rendering.rasterization import rasterize
from dreamlift.training.image_prompts import recentred
from dreamlift.training.objects import ProceduralObject
from dreamlift.training.render import render

DISTANCE = 3.5


def mesh_of(item: ProceduralObject) -> ColouredMesh:
    """Its surface with its own colours."""
    ticks = torch.linspace(-1, 1, 48)
    grid = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).view(-1, 3)
    values = -item.sdf(grid).view(48, 48, 48).numpy()
    corners, faces, _, _ = marching_cubes(np.pad(values, 1, constant_values=-1.0), 0.0)
    vertices = torch.from_numpy(((corners - 1) / 47 * 2 - 1).astype(np.float32))
    return ColouredMesh(vertices, torch.from_numpy(faces.astype(np.int32)), item.color(vertices).float())


def picture_of(item: ProceduralObject, azimuth: float, elevation: float) -> torch.Tensor:
    """Cut out and recentred, straight colour."""
    whole = recentred(render(item, orbit([azimuth], elevation, DISTANCE, 35.0), 128, 1)[0], 64)
    return torch.cat([whole[:3] / whole[3:].clamp_min(1e-4), whole[3:]]).clamp(0, 1)


@pytest.mark.parametrize(("kind", "azimuth"), [("chair", -35.0), ("car", 50.0), ("house", 25.0), ("mug", 40.0)])
def test_the_side_is_found_on_a_thing_of_other_proportions(kind, azimuth):
    mine = ProceduralObject(kind, "blue", "white", proportions=(0.2, 0.8, 0.5, 0.5))
    found = find_camera(mesh_of(ProceduralObject(kind, "blue", "white")), picture_of(mine, azimuth, 12.0), DISTANCE)
    assert found.azimuth == pytest.approx(azimuth, abs=10)
    assert found.elevation == pytest.approx(12.0, abs=10)
    assert found.likeness > 0.8


def test_the_crop_is_found_too():
    item = ProceduralObject("chair", "blue", None)
    mesh, picture = mesh_of(item), picture_of(item, 30.0, 15.0)
    seen = find_camera(mesh, picture, DISTANCE).cameras()
    drawn = rasterize(mesh.vertices, mesh.faces, seen, 64).mask[0]
    wanted = picture[3] > 0.5
    assert float((drawn & wanted).sum() / (drawn | wanted).sum()) > 0.9


def test_a_look_again_starts_where_the_last_ended_and_is_no_worse():
    mesh = mesh_of(ProceduralObject("car", "blue", None))
    picture = picture_of(ProceduralObject("car", "blue", None), 20.0, 10.0)
    first = find_camera(mesh, picture, DISTANCE)
    again = find_camera(mesh, picture, DISTANCE, first)
    assert again.likeness >= first.likeness and again.azimuth == pytest.approx(first.azimuth, abs=3)


def test_another_thing_is_less_alike():
    picture = picture_of(ProceduralObject("chair", "blue", None), 30.0, 10.0)
    own, other = (
        find_camera(mesh_of(ProceduralObject(*what)), picture, DISTANCE)
        for what in (("chair", "blue", None), ("ball", "red", None))
    )
    assert other.likeness < 0.5 < own.likeness


def test_a_thing_that_is_the_same_all_around_is_seen_from_in_front():
    item = ProceduralObject("cone", "blue", None)
    found = find_camera(mesh_of(item), picture_of(item, 0.0, 10.0), DISTANCE)
    assert abs(found.azimuth) <= 15


def test_a_wire_that_fills_no_pixel_by_half_is_no_error():
    picture = torch.zeros(4, 64, 64)
    picture[:, 6:58, 31] = 0.7
    found = find_camera(mesh_of(ProceduralObject("cylinder", "blue", None)), picture, DISTANCE)
    assert -1 < found.likeness < 1


def test_what_the_mesh_cannot_tell_something_else_may():
    """A mug whose handle did not grow looks alike from all sides; who expects a handle knows better."""
    picture = picture_of(ProceduralObject("cylinder", "blue", None), 0.0, 10.0)
    mesh = mesh_of(ProceduralObject("cylinder", "blue", None))
    expected = [0.001 if azimuth == 50 else 0.02 for azimuth in AZIMUTHS]
    assert find_camera(mesh, picture, DISTANCE).azimuth == pytest.approx(0, abs=12)
    assert find_camera(mesh, picture, DISTANCE, differences=expected).azimuth == pytest.approx(50, abs=12)
