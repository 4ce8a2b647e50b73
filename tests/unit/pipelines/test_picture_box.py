"""An object is kept inside the box that its picture tells, and fills it in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dreamlift.assets.surface import EmptySurface
from dreamlift.pipelines.field_asset import surface_of
from dreamlift.pipelines.field_settings import AssetSettings
from dreamlift.pipelines.picture_box import FARTHEST, ObjectBox
from dreamlift.representations.field import grid_points
from dreamlift.representations.sdf_grid import SdfGrid, SdfGridSettings

GRID = 48
ASSET = AssetSettings(grid=96, end_depth=0.0)


def field_of(distances):
    """A grid whose colours tell the place that they were at."""
    field = SdfGrid(SdfGridSettings(), GRID, 0, 0.02)
    field.sdf.data.copy_(distances)
    field.colour.data.copy_(grid_points(GRID, 1.0))
    return field


def ellipsoid(*radii):
    points = grid_points(GRID, 1.0)
    radii = torch.tensor(radii)
    return ((points / radii).norm(dim=-1) - 1) * radii.min()


def extents(field):
    vertices = surface_of(field, ASSET).vertices
    return torch.from_numpy(vertices).amin(0), torch.from_numpy(vertices).amax(0)


def corners(*sides):
    return torch.tensor(sides).view(2, 3)


def test_outside_is_the_way_to_the_box():
    box = ObjectBox(corners(-0.5, -0.25, -0.5, 0.5, 0.25, 0.75))
    outside = box.outside(9)  # points at quarters
    assert outside[8, 4, 4] == pytest.approx(0.5) and outside[4, 8, 4] == pytest.approx(0.75)
    assert outside[4, 4, 8] == pytest.approx(0.25) and outside[4, 4, 4] == pytest.approx(-0.25)
    assert outside[8, 8, 4] == pytest.approx(0.75), "along the axis where it is most"


def test_what_stands_out_is_pushed_back_and_what_does_not_is_left_alone():
    box = ObjectBox(corners(-0.5, -0.5, -0.5, 0.5, 0.5, 0.5))
    inside = field_of(ellipsoid(0.4, 0.4, 0.4))
    assert box.loss(inside) == 0.0
    field = field_of(ellipsoid(0.7, 0.4, 0.4))
    step = torch.optim.Adam([field.sdf], 0.01)
    before = box.loss(field).item()
    for _ in range(60):
        step.zero_grad()
        box.loss(field).backward()
        step.step()
    assert box.loss(field).item() < 0.02 * before
    low, high = extents(field)
    assert high[0] < 0.53 and low[0] > -0.53
    assert high[1] == pytest.approx(0.4, abs=0.01), "the sides that were right"


def test_an_object_fills_its_box():
    box = ObjectBox(corners(-0.53, -0.45, -0.38, 0.5, 0.42, 0.4))
    field = field_of(ellipsoid(0.5, 0.42, 0.4))
    box.fit(field, ASSET)
    low, high = extents(field)
    assert torch.stack([low, high]) == pytest.approx(box.corners, abs=0.006)


def test_a_tip_is_drawn_out_and_the_core_stays():
    box = ObjectBox(corners(-0.5, -0.4, -0.4, 0.54, 0.4, 0.4))
    field = field_of(ellipsoid(0.5, 0.4, 0.4))
    box.fit(field, ASSET)
    came_from = field.query(torch.tensor([[0.54, 0.0, 0.0], [0.1, 0.0, 0.0], [-0.5, 0.0, 0.0]])).albedo.logit() / 2
    assert came_from[:, 0].tolist() == pytest.approx([0.5, 0.1, -0.5], abs=0.004)


def test_the_colours_go_along_and_nothing_folds():
    sides = 0.3 + torch.rand(2, 3, generator=torch.Generator().manual_seed(1)) * 0.1
    box = ObjectBox(torch.stack([-sides[0], sides[1]]))
    field = field_of(ellipsoid(0.36, 0.33, 0.08))
    box.fit(field, ASSET)
    for axis in range(3):
        line = field.colour.detach()[..., axis].movedim(axis, 0)[:, GRID // 2, GRID // 2]
        assert (line.diff() > 0).all()


def test_no_side_is_drawn_farther_than_it_may():
    box = ObjectBox(corners(-0.9, -0.4, -0.4, 0.9, 0.4, 0.4))
    field = field_of(ellipsoid(0.5, 0.4, 0.4))
    box.fit(field, ASSET)
    low, high = extents(field)
    assert high[0] == pytest.approx(0.5 + FARTHEST, abs=0.006) and low[0] == pytest.approx(-0.5 - FARTHEST, abs=0.006)


def test_nothing_in_the_box_is_said():
    field = field_of((grid_points(GRID, 1.0) - torch.tensor([0.8, 0.8, 0.8])).norm(dim=-1) - 0.1)
    before = field.sdf.detach().clone()
    with pytest.raises(EmptySurface):
        ObjectBox(corners(-0.5, -0.5, -0.5, 0.5, 0.5, 0.5)).fit(field, ASSET)
    assert torch.equal(field.sdf, before), "and the object is left as it was"


def test_a_box_of_nothing_is_a_small_one():
    box = ObjectBox(corners(0.3, -0.5, 0.2, 0.1, 0.5, 0.2))
    assert torch.allclose(box.corners, corners(0.15, -0.5, 0.15, 0.25, 0.5, 0.25))


def test_an_object_fills_its_box_though_what_counts_as_a_bump_changes():
    """A blunt end with a bump: cut off at first, not cut any more once it is drawn out."""
    points = grid_points(GRID, 1.0)
    slab = (points.abs() - torch.tensor([0.4, 0.4, 0.3])).amax(-1)
    bump = (points - torch.tensor([0.42, 0.0, 0.0])).norm(dim=-1) - 0.1
    field = field_of(torch.minimum(slab, bump))
    box, asset = ObjectBox(corners(-0.43, -0.4, -0.3, 0.47, 0.4, 0.3)), replace(ASSET, end_depth=0.12)
    box.fit(field, asset)
    vertices = surface_of(field, asset).vertices
    assert vertices[:, 0].max() == pytest.approx(0.47, abs=0.006)
    assert vertices[:, 0].min() == pytest.approx(-0.43, abs=0.006)
