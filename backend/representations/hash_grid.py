"""Multiresolution hash grid: points in the unit cube to features, as in Instant-NGP, defaults of systems.md 1.13.

Knows interpolation and its derivatives in the table, in the points, and the mixed second derivative that analytic
normals need. Knows no MLPs and no densities. One Warp source for CPU and CUDA; `_hash_grid_torch.hash_encode` is the
twin that the tests compare with, and whose level layout (`HashGridLayout`) this file shares.
"""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor, nn

from dreamlift.rendering.warp_bridge import as_array, launch

from ._hash_grid_torch import PRIME_Y, PRIME_Z, HashGridLayout, HashGridSettings

_PRIME_Y = wp.constant(wp.uint32(PRIME_Y))
_PRIME_Z = wp.constant(wp.uint32(PRIME_Z))


@wp.struct
class _Cell:
    """The cell of one point on one level: its lowest corner and where the point lies inside it."""

    x: wp.int32
    y: wp.int32
    z: wp.int32
    inside: wp.vec3


@wp.func
def _cell(point: wp.vec3, resolution: int) -> _Cell:
    # A point on the far face belongs to the last cell, so that its corner index stays within the level.
    scaled = point * float(resolution)
    cell = _Cell()
    cell.x = wp.clamp(int(wp.floor(scaled[0])), 0, resolution - 1)
    cell.y = wp.clamp(int(wp.floor(scaled[1])), 0, resolution - 1)
    cell.z = wp.clamp(int(wp.floor(scaled[2])), 0, resolution - 1)
    cell.inside = wp.vec3(scaled[0] - float(cell.x), scaled[1] - float(cell.y), scaled[2] - float(cell.z))
    return cell


@wp.func
def _row(x: int, y: int, z: int, resolution: int, dense: int, offset: int, mask: wp.uint32) -> int:
    if dense == 1:
        return offset + x + (resolution + 1) * (y + (resolution + 1) * z)
    hashed = wp.uint32(x) ^ (wp.uint32(y) * _PRIME_Y) ^ (wp.uint32(z) * _PRIME_Z)
    return offset + int(hashed & mask)


@wp.func
def _weight(bit: int, inside: float) -> float:
    return wp.where(bit == 1, inside, 1.0 - inside)


@wp.func
def _sign(bit: int) -> float:
    return float(bit) * 2.0 - 1.0


@wp.struct
class _Corner:
    """One of a cell's eight corners: its row in the table, its share of the value, and that share's slope inside."""

    row: wp.int32
    weight: wp.float32
    slope: wp.vec3


@wp.func
def _corner(number: int, cell: _Cell, level: wp.vec3i, mask: wp.uint32) -> _Corner:
    # The three bits of `number` say on which side of the cell the corner lies. What a kernel leaves unused costs it
    # nothing: the function is inlined and the compiler drops it (benchmarks/hash_grid.py).
    bx = number & 1
    by = (number >> 1) & 1
    bz = (number >> 2) & 1
    wx = _weight(bx, cell.inside[0])
    wy = _weight(by, cell.inside[1])
    wz = _weight(bz, cell.inside[2])
    corner = _Corner()
    corner.row = _row(cell.x + bx, cell.y + by, cell.z + bz, level[0], level[2], level[1], mask)
    corner.weight = wx * wy * wz
    corner.slope = wp.vec3(_sign(bx) * wy * wz, wx * _sign(by) * wz, wx * wy * _sign(bz))
    return corner


@wp.kernel
def _encode(
    points: wp.array(dtype=wp.vec3),
    table: wp.array(dtype=wp.vec2),
    levels: wp.array(dtype=wp.vec3i),
    mask: wp.uint32,
    features: wp.array2d(dtype=wp.vec2),
):
    i, level = wp.tid()
    cell = _cell(points[i], levels[level][0])
    total = wp.vec2(0.0, 0.0)
    for number in range(8):
        corner = _corner(number, cell, levels[level], mask)
        total += table[corner.row] * corner.weight
    features[i, level] = total


@wp.kernel
def _encode_backward(
    points: wp.array(dtype=wp.vec3),
    table: wp.array(dtype=wp.vec2),
    levels: wp.array(dtype=wp.vec3i),
    mask: wp.uint32,
    upstream: wp.array2d(dtype=wp.vec2),
    want_table: int,
    want_points: int,
    table_gradient: wp.array(dtype=wp.vec2),
    point_gradient: wp.array(dtype=wp.vec3),
):
    i, level = wp.tid()
    resolution = levels[level][0]
    cell = _cell(points[i], resolution)
    above = upstream[i, level]
    slope = wp.vec3(0.0, 0.0, 0.0)
    for number in range(8):
        corner = _corner(number, cell, levels[level], mask)
        if want_table == 1:
            wp.atomic_add(table_gradient, corner.row, above * corner.weight)
        if want_points == 1:
            slope += corner.slope * wp.dot(above, table[corner.row])
    if want_points == 1:
        wp.atomic_add(point_gradient, i, slope * float(resolution))


@wp.kernel
def _slope_backward(
    points: wp.array(dtype=wp.vec3),
    table: wp.array(dtype=wp.vec2),
    levels: wp.array(dtype=wp.vec3i),
    mask: wp.uint32,
    upstream: wp.array2d(dtype=wp.vec2),
    above_slope: wp.array(dtype=wp.vec3),
    table_gradient: wp.array(dtype=wp.vec2),
    upstream_gradient: wp.array2d(dtype=wp.vec2),
):
    # The point gradient is sum_k <upstream, table_k> dw_k/dx: linear in both, so one pass gives both derivatives.
    i, level = wp.tid()
    resolution = levels[level][0]
    cell = _cell(points[i], resolution)
    above = upstream[i, level]
    direction = above_slope[i] * float(resolution)
    total = wp.vec2(0.0, 0.0)
    for number in range(8):
        corner = _corner(number, cell, levels[level], mask)
        rate = wp.dot(direction, corner.slope)
        total += table[corner.row] * rate
        wp.atomic_add(table_gradient, corner.row, above * rate)
    upstream_gradient[i, level] = total


def _launch(kernel, layout: HashGridLayout, points: Tensor, table: Tensor, *rest) -> None:
    levels = layout.levels.to(points.device)
    first = [as_array(points, wp.vec3), as_array(table, wp.vec2), as_array(levels, wp.vec3i)]
    launch(kernel, (len(points), len(levels)), [*first, layout.settings.table_size - 1, *rest], points.device)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(context, points, table, layout):
        features = torch.empty(len(points), len(layout.levels), 2, device=points.device)
        _launch(_encode, layout, points, table, as_array(features, wp.vec2))
        context.save_for_backward(points, table)
        context.layout = layout
        return features.flatten(1)

    @staticmethod
    def backward(context, upstream):
        points, table = context.saved_tensors
        wants = (context.needs_input_grad[0], context.needs_input_grad[1])
        point_gradient, table_gradient = _EncodeBackward.apply(points, table, upstream, context.layout, wants)
        return point_gradient if wants[0] else None, table_gradient if wants[1] else None, None


class _EncodeBackward(torch.autograd.Function):
    """The first derivative as a function of its own, so that a loss on normals reaches the table."""

    @staticmethod
    def forward(context, points, table, upstream, layout, wants):
        context.set_materialize_grads(False)
        context.save_for_backward(points, table, upstream)
        context.layout = layout
        point_gradient, table_gradient = torch.zeros_like(points), torch.zeros_like(table)
        rows = upstream.contiguous().view(len(points), -1, 2)
        _launch(
            *(_encode_backward, layout, points, table, as_array(rows, wp.vec2)),
            *(int(wants[1]), int(wants[0]), as_array(table_gradient, wp.vec2), as_array(point_gradient, wp.vec3)),
        )
        return point_gradient, table_gradient

    @staticmethod
    def backward(context, above_points, above_table):
        if above_table is not None:
            raise NotImplementedError(
                "The hash grid has no second derivative in its table; differentiate a gradient in the points instead."
            )
        if above_points is None:
            return None, None, None, None, None
        points, table, upstream = context.saved_tensors
        table_gradient = torch.zeros_like(table)
        rows = upstream.contiguous().view(len(points), -1, 2)
        upstream_gradient = torch.zeros_like(rows)
        _launch(
            *(_slope_backward, context.layout, points, table, as_array(rows, wp.vec2), as_array(above_points, wp.vec3)),
            *(as_array(table_gradient, wp.vec2), as_array(upstream_gradient, wp.vec2)),
        )
        return None, table_gradient, upstream_gradient.flatten(1), None, None


def hash_encode(
    points: Tensor,  # (M, 3)
    table: Tensor,  # (T, 2)
    layout: HashGridLayout,
) -> Tensor:
    """Features of points on every level, level by level.

    Args:
        points: In [0, 1]^3; outside, the outermost cell's interpolation continues linearly. (M, 3) float32.
        table: All levels' entries one after the other. (layout.rows, 2) float32.
        layout: Which rows belong to which level.

    Returns:
        (M, 2 * levels) float32. Differentiable in the table and the points, and once more through
        the point gradient: into the table and the gradient's own input, but not into the points a second time.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be (M, 3), not {tuple(points.shape)}.")
    if tuple(table.shape) != (layout.rows, 2):
        raise ValueError(f"table must be {(layout.rows, 2)} for this layout, not {tuple(table.shape)}.")
    return _Encode.apply(points.contiguous(), table, layout)


class HashGrid(nn.Module):
    """A hash grid with its table.

    Args:
        settings: Levels, sizes and growth; the default is the published one.
        seed: Of the table's start, U(-1e-4, 1e-4) [systems.md 1.13].
    """

    def __init__(self, settings: HashGridSettings | None = None, seed: int = 0):
        super().__init__()
        self.layout = HashGridLayout.of(settings or HashGridSettings())
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter((torch.rand(self.layout.rows, 2, generator=generator) * 2 - 1) * 1e-4)
        self.active_levels = self.layout.settings.levels

    @property
    def features(self) -> int:
        """Width of the output."""
        return 2 * self.layout.settings.levels

    def forward(self, points: Tensor) -> Tensor:
        """Features (M, features) of points (M, 3) in [0, 1]^3; levels from `active_levels` on are zero."""
        features = hash_encode(points, self.table, self.layout)
        if self.active_levels < self.layout.settings.levels:
            features = features * (torch.arange(self.features, device=points.device) < 2 * self.active_levels)
        return features
