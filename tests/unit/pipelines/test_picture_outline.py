"""A finished object's outline is brought to its picture's, box and other sides kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dreamlift.assets.surface import EmptySurface
from dreamlift.pipelines.field_asset import surface_of
from dreamlift.pipelines.field_settings import AssetSettings
from dreamlift.pipelines.picture_outline import Lattice, fit_outline, outline, turned
from dreamlift.rendering.antialias import mesh_edges
from dreamlift.rendering.picture_camera import PictureCamera
from dreamlift.rendering.rasterization import camera_space
from dreamlift.representations.field import grid_points
from dreamlift.representations.sdf_grid import SdfGrid, SdfGridSettings

GRID, SIZE = 48, 64
ASSET = AssetSettings(grid=64, end_depth=0.0)
CAMERA = PictureCamera(20.0, 10.0, 3.5, half=0.2)


def field_of(distances):
    """A grid whose colours tell the place that they were at."""
    field = SdfGrid(SdfGridSettings(), GRID, 0, 0.02)
    field.sdf.data.copy_(distances)
    field.colour.data.copy_(grid_points(GRID, 1.0))
    return field


def bottle(neck):
    """Round, upright, 1.2 high; its upper half as wide as the neck."""
    points = grid_points(GRID, 1.0)
    around, up = points[..., :2].norm(dim=-1), points[..., 2]

    def cylinder(radius, low, high):
        return torch.maximum(around - radius, torch.maximum(low - up, up - high))

    return torch.minimum(cylinder(0.4, -0.6, 0.0), cylinder(neck, -0.6, 0.6))


def seen(field, camera=CAMERA, size=SIZE):
    solid = surface_of(field, ASSET)
    vertices, faces = torch.from_numpy(solid.vertices), torch.from_numpy(solid.faces)
    return outline(vertices, faces, camera.cameras(), size, mesh_edges(faces))


def extents(field):
    vertices = torch.from_numpy(surface_of(field, ASSET).vertices)
    return torch.stack([vertices.amin(0), vertices.amax(0)])


def test_an_object_gets_the_outline_of_its_picture_and_keeps_its_box():
    true, field = field_of(bottle(0.22)), field_of(bottle(0.16))
    wanted, before = seen(true), seen(field)
    fit_outline(field, ASSET, wanted, CAMERA, extents(true))
    after = seen(field)
    assert (after - wanted).square().sum() < 0.1 * (before - wanted).square().sum()
    assert (extents(field) - extents(true)).abs().max() < 0.02
    quarter = replace(CAMERA, azimuth=CAMERA.azimuth + 90)
    beside = [(seen(each, quarter) - seen(true, quarter)).square().sum() for each in (field, field_of(bottle(0.16)))]
    assert beside[0] < 1.1 * beside[1], "hardly worse where the picture says nothing"


def test_colours_go_with_the_surface():
    true, field = field_of(bottle(0.3)), field_of(bottle(0.2))
    fit_outline(field, ASSET, seen(true), CAMERA, extents(true))
    right = torch.tensor([[-0.34, 0.94, 0.0]])  # as the camera sees it
    rim = right * 0.3 + torch.tensor([[0.0, 0.0, 0.3]])
    colour = torch.logit(field.query(rim).albedo.detach()) / 2
    assert float((colour * right).sum()) == pytest.approx(0.2, abs=0.04), "what was at the old rim"


def test_a_crop_that_was_read_too_large_moves_towards_the_one_under_which_the_box_fits():
    field = field_of(bottle(0.22))
    wanted, box = seen(field), extents(field)
    found = fit_outline(field, ASSET, wanted, replace(CAMERA, half=1.03 * CAMERA.half), box)
    assert found.half == pytest.approx(CAMERA.half, rel=0.026), "read 3 % too large"
    assert (extents(field) - box).abs().max() < 0.01


def test_picture_and_object_lie_on_one_another_under_the_camera_that_is_found():
    field, moved = field_of(bottle(0.22)), replace(CAMERA, middle=(0.004, -0.006), half=1.02 * CAMERA.half)
    wanted = seen(field)
    found = fit_outline(field, ASSET, wanted, moved, extents(field))
    apart = [(seen(field, camera) - wanted).square().sum() for camera in (found, moved)]
    assert apart[0] < 0.2 * apart[1]


def test_points_are_turned_as_the_camera_is():
    points = torch.rand(20, 3) - 0.5
    other = replace(CAMERA, azimuth=CAMERA.azimuth + 7, elevation=CAMERA.elevation - 4)
    here = camera_space(turned(points, CAMERA, torch.tensor([7.0, -4.0])), CAMERA.cameras())[0]
    torch.testing.assert_close(here, camera_space(points, other.cameras())[0], atol=1e-5, rtol=0)


def test_sources_are_where_the_deformation_comes_from():
    lattice = Lattice(5)
    lattice.nodes.data.copy_(0.04 * torch.randn(5, 5, 5, 3, generator=torch.Generator().manual_seed(0)))
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    there = points + lattice(points).detach()
    assert (there - points).norm(dim=-1).max() > 0.03
    torch.testing.assert_close(lattice.sources(there), points, atol=2e-3, rtol=0)


def test_moving_all_the_same_way_is_no_effort_and_stretching_is():
    lattice = Lattice()
    lattice.nodes.data += torch.tensor([0.1, -0.2, 0.3])
    assert lattice.effort().item() == pytest.approx(0.0, abs=1e-6)
    lattice.nodes.data *= 1 + torch.linspace(-1, 1, len(lattice.nodes)).view(-1, 1, 1, 1)
    assert lattice.effort().item() > 1.0


def test_a_field_of_nothing_is_left_as_it_is():
    field = field_of(torch.full((GRID,) * 3, 0.5))
    before = field.sdf.detach().clone()
    with pytest.raises(EmptySurface):
        fit_outline(field, ASSET, torch.ones(SIZE, SIZE), CAMERA, torch.tensor([[-0.5] * 3, [0.5] * 3]))
    assert torch.equal(field.sdf, before)
