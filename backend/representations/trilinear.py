"""Trilinear interpolation of a voxel grid with four channels, forward and backward.

Knows grids and points. Knows no densities. One Warp source for CPU and CUDA; `_trilinear_torch` is the twin that the
tests compare with. On one CPU core the kernel replaces torch's `grid_sample`, whose channel-first layout reads eight
distant cache lines a channel (`benchmarks/hash_grid.py` prints both).
"""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from dreamlift.rendering.warp_bridge import as_array, launch


@wp.struct
class _Voxel:
    x: wp.int32
    y: wp.int32
    z: wp.int32
    inside: wp.vec3


@wp.func
def _voxel(point: wp.vec3, sx: int, sy: int, sz: int) -> _Voxel:
    scaled = wp.vec3(
        (point[0] * 0.5 + 0.5) * float(sx - 1),
        (point[1] * 0.5 + 0.5) * float(sy - 1),
        (point[2] * 0.5 + 0.5) * float(sz - 1),
    )
    voxel = _Voxel()
    voxel.x = wp.clamp(int(wp.floor(scaled[0])), 0, sx - 2)
    voxel.y = wp.clamp(int(wp.floor(scaled[1])), 0, sy - 2)
    voxel.z = wp.clamp(int(wp.floor(scaled[2])), 0, sz - 2)
    voxel.inside = wp.vec3(scaled[0] - float(voxel.x), scaled[1] - float(voxel.y), scaled[2] - float(voxel.z))
    return voxel


@wp.kernel
def _interpolate(points: wp.array(dtype=wp.vec3), grid: wp.array3d(dtype=wp.vec4), values: wp.array(dtype=wp.vec4)):
    i = wp.tid()
    v = _voxel(points[i], grid.shape[0], grid.shape[1], grid.shape[2])
    a = v.inside[2]
    p = grid[v.x, v.y, v.z] * (1.0 - a) + grid[v.x, v.y, v.z + 1] * a
    q = grid[v.x, v.y + 1, v.z] * (1.0 - a) + grid[v.x, v.y + 1, v.z + 1] * a
    r = grid[v.x + 1, v.y, v.z] * (1.0 - a) + grid[v.x + 1, v.y, v.z + 1] * a
    s = grid[v.x + 1, v.y + 1, v.z] * (1.0 - a) + grid[v.x + 1, v.y + 1, v.z + 1] * a
    b = v.inside[1]
    c = v.inside[0]
    values[i] = (p * (1.0 - b) + q * b) * (1.0 - c) + (r * (1.0 - b) + s * b) * c


@wp.kernel
def _interpolate_backward(
    points: wp.array(dtype=wp.vec3),
    upstream: wp.array(dtype=wp.vec4),
    grid_gradient: wp.array3d(dtype=wp.vec4),
):
    i = wp.tid()
    v = _voxel(points[i], grid_gradient.shape[0], grid_gradient.shape[1], grid_gradient.shape[2])
    above = upstream[i]
    for corner in range(8):
        bx = corner & 1
        by = (corner >> 1) & 1
        bz = (corner >> 2) & 1
        weight = (
            wp.where(bx == 1, v.inside[0], 1.0 - v.inside[0])
            * wp.where(by == 1, v.inside[1], 1.0 - v.inside[1])
            * wp.where(bz == 1, v.inside[2], 1.0 - v.inside[2])
        )
        wp.atomic_add(grid_gradient, v.x + bx, v.y + by, v.z + bz, above * weight)


class _Trilinear(torch.autograd.Function):
    @staticmethod
    def forward(context, points, grid):
        values = torch.empty(len(points), 4, device=points.device)
        arrays = [as_array(points, wp.vec3), as_array(grid, wp.vec4), as_array(values, wp.vec4)]
        launch(_interpolate, len(points), arrays, points.device)
        context.save_for_backward(points)
        context.shape = grid.shape
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, upstream):
        (points,) = context.saved_tensors
        gradient = torch.zeros(context.shape, device=points.device)
        arrays = [as_array(points, wp.vec3), as_array(upstream, wp.vec4), as_array(gradient, wp.vec4)]
        launch(_interpolate_backward, len(points), arrays, points.device)
        return None, gradient


def trilinear(
    points: Tensor,  # (M, 3)
    grid: Tensor,  # (X, Y, Z, 4)
) -> Tensor:
    """Interpolate a grid that spans [-1, 1]^3, its outermost values on the faces.

    Args:
        points: In [-1, 1]^3; outside, the outermost voxel's interpolation continues linearly. (M, 3) float32.
        grid: Values at grid points, at least two along each axis. (X, Y, Z, 4) float32.

    Returns:
        (M, 4) float32. Differentiable once in `grid`, not in `points`.
    """
    if grid.ndim != 4 or grid.shape[3] != 4 or min(grid.shape[:3]) < 2:
        raise ValueError(f"grid must be (X, Y, Z, 4) with at least two points an axis, not {tuple(grid.shape)}.")
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be (M, 3), not {tuple(points.shape)}.")
    if points.requires_grad:
        raise ValueError("trilinear has no gradient in its points; detach them.")
    return _Trilinear.apply(points.contiguous(), grid.contiguous())
