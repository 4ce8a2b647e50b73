"""The Warp hash grid against its torch twin: values, gradients, and the mixed second derivative."""

import pytest
import torch

from dreamlift.representations import _hash_grid_torch as twin
from dreamlift.representations.hash_grid import HashGrid, hash_encode

# 5 levels, of which the last two are hashed (17^3 and 25^3 corners do not fit into 2^12 rows).
SMALL = twin.HashGridSettings(levels=5, log2_table=12, base=4, growth=1.5)
# Worst difference seen on an EPYC core over 20 seeds: 2e-7 relative; times 50.
TOLERANCE = dict(rtol=1e-5, atol=1e-6)


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(3)
    layout = twin.HashGridLayout.of(SMALL)
    points = torch.rand(300, 3, generator=generator)
    points[0], points[1] = 0.0, 1.0  # the faces belong to the grid too
    table = torch.randn(layout.rows, 2, generator=generator)
    upstream = torch.randn(300, 10, generator=generator)
    return points, table, upstream, layout


def gradients(encode, points, table, upstream, layout):
    points, table = points.clone().requires_grad_(), table.clone().requires_grad_()
    features = encode(points, table, layout)
    (features * upstream).sum().backward()
    return features.detach(), points.grad, table.grad


def test_values_and_first_gradients_equal_the_twins(case):
    for ours, theirs in zip(gradients(hash_encode, *case), gradients(twin.hash_encode, *case), strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_a_loss_on_the_point_gradient_reaches_the_table_as_in_the_twin(case):
    def second(encode):
        points, table, upstream, layout = case
        points, table = points.clone().requires_grad_(), table.clone().requires_grad_()
        value = (encode(points, table, layout) * upstream).square().sum()
        (slope,) = torch.autograd.grad(value, points, create_graph=True)
        slope.square().sum().backward()
        return table.grad

    torch.testing.assert_close(second(hash_encode), second(twin.hash_encode), rtol=1e-4, atol=1e-1)


def test_the_published_layout_grows_from_16_to_4096_cells_in_16_levels():
    levels = twin.HashGridLayout.of(twin.HashGridSettings()).levels
    assert levels[0, 0] == 16 and levels[-1, 0] in (4095, 4096) and len(levels) == 16
    assert levels[0, 2] == 1 and levels[-1, 2] == 0


def test_levels_beyond_the_active_ones_are_silent(case):
    grid = HashGrid(SMALL)
    grid.active_levels = 2
    features = grid(case[0])
    assert features[:, :4].abs().sum() > 0 and features[:, 4:].abs().sum() == 0


def test_a_wrong_shape_is_named(case):
    points, table, _, layout = case
    with pytest.raises(ValueError, match="points must be"):
        hash_encode(points[:, :2], table, layout)
    with pytest.raises(ValueError, match="table must be"):
        hash_encode(points, table[:5], layout)
