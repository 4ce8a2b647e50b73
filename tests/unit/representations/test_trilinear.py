"""The Warp voxel interpolation against its torch twin."""

import pytest
import torch

from dreamlift.representations import _trilinear_torch as twin
from dreamlift.representations.trilinear import trilinear


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(1)
    grid = torch.randn(5, 6, 7, 4, generator=generator)
    points = torch.rand(400, 3, generator=generator) * 2 - 1
    points[0], points[1] = -1.0, 1.0
    return points, grid


def test_values_and_gradients_equal_the_twins(case):
    points, grid = case
    upstream = torch.randn(400, 4, generator=torch.Generator().manual_seed(2))
    results = []
    for interpolate in (trilinear, twin.trilinear):
        leaf = grid.clone().requires_grad_()
        values = interpolate(points, leaf)
        (values * upstream).sum().backward()
        results.append((values.detach(), leaf.grad))
    for ours, theirs in zip(*results, strict=True):
        # Worst seen 1e-6 in values of size 3, times 10.
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_corners_of_the_cube_are_the_corners_of_the_grid(case):
    points, grid = case
    values = trilinear(points[:2], grid)
    torch.testing.assert_close(values, torch.stack([grid[0, 0, 0], grid[-1, -1, -1]]))


def test_points_that_want_a_gradient_are_refused(case):
    points, grid = case
    with pytest.raises(ValueError, match="detach"):
        trilinear(points.clone().requires_grad_(), grid)
