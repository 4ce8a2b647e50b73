"""Occupancy grids mark what is there and forget what is gone."""

import torch

from dreamlift.rendering.occupancy import OccupancyGrid, occupied_by_distance
from dreamlift.representations.field import grid_points
from dreamlift.representations.sdf_grid import SdfGrid, SdfGridSettings


class Ball:
    radius = 1.0

    def __init__(self, size):
        self.size = size

    def density(self, points):
        return (points.norm(dim=-1) < self.size).float() * 100


def centres(resolution):
    return grid_points(resolution, 1 - 1 / resolution).norm(dim=-1)


def test_cells_inside_a_ball_are_occupied_and_those_outside_are_not():
    grid = OccupancyGrid(16)
    grid.update(Ball(0.6), 0, 0.01, torch.Generator().manual_seed(0))
    assert grid.occupied[centres(16) < 0.5].all() and not grid.occupied[centres(16) > 0.75].any()


def test_only_every_16th_step_looks():
    grid = OccupancyGrid(8)
    grid.update(Ball(0.0), 1, 0.01)
    assert grid.occupied.all()


def test_what_is_gone_is_forgotten():
    grid, generator = OccupancyGrid(16), torch.Generator().manual_seed(0)
    grid.update(Ball(0.9), 0, 0.01, generator)
    for step in range(16, 16 * 120, 16):
        grid.update(Ball(0.3), step, 0.01, generator)
    assert grid.occupied[centres(16) < 0.2].all() and not grid.occupied[centres(16) > 0.6].any()


def test_a_distance_grids_cells_hold_all_of_its_density():
    field = SdfGrid(SdfGridSettings(start_radius=0.5), 24, 0, softness=0.05)
    occupied = occupied_by_distance(field, 16, 0.06)
    points = torch.rand(20000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    cell = ((points / 2 + 0.5) * 16).long().clamp(0, 15)
    outside = ~occupied[cell[:, 0], cell[:, 1], cell[:, 2]]
    assert 0.3 < outside.float().mean() < 0.95
    assert (field.density(points)[outside] * 0.06).max() < 1.2e-3  # the eikonal bound, with the grid's own slack
