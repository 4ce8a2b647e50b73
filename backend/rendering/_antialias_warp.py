"""The kernels of `antialias`, in Warp: one source for CPU and CUDA. Twin: `_antialias_torch`.

Knows camera-space edges, pairs of neighbouring pixels and their colours. Knows no cameras and no topology.

A pair is named by its axis (0: with the pixel to the right, 1: with the pixel below) and its first pixel. Like the
z-buffer it keeps one 64-bit key, (bits of the rest, edge id), where the rest is what is left from the silhouette to the
centre outside: the outermost one wins, which bounds all that is seen of the surfaces inside.
"""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from ._rasterization_warp import (
    HALF,
    NO_KEY,
    ONE,
    ZERO,
    corner,
    direction,
    empty_box,
    pixel_box,
    pixel_size,
    to_pixels,
    widen_by_edge,
)
from .warp_bridge import as_array, launch

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

GAP = wp.constant(wp.float64(1.0 - 1e-5))  # a surface is behind an edge where it is farther by this, relative


@wp.kernel
def mark_sides(
    vertices: wp.array2d(dtype=wp.vec3),  # (N, V) camera space
    faces: wp.array2d(dtype=wp.int32),  # (F, 3)
    face_edges: wp.array2d(dtype=wp.int32),  # (F, 3): edge of corners k and k + 1
    sides: wp.array2d(dtype=wp.int32),  # (N, E): bit 0 a face on the positive side, bit 1 one on the other
):
    view, face = wp.tid()
    a = corner(vertices, view, faces[face, 0])
    b = corner(vertices, view, faces[face, 1])
    c = corner(vertices, view, faces[face, 2])
    volume = wp.dot(wp.cross(a, b), c)
    if volume == ZERO or not wp.isfinite(volume):
        return
    for k in range(3):
        along = faces[face, k] < faces[face, (k + 1) % 3]  # does the face go round in the edge's direction?
        side = 1
        if along != (volume > ZERO):
            side = 2
        wp.atomic_or(sides, view, face_edges[face, k], side)


@wp.func
def normal_of(a: wp.vec3d, b: wp.vec3d) -> wp.vec3d:
    """Normal of the plane through the eye and an edge: rays on it fulfil n . (x, y, 1) = 0."""
    return wp.cross(a, b)


@wp.func
def place_of(n: wp.vec3d, axis: int, line: int, resolution: int, pixel: wp.float64) -> wp.float64:
    """Where an edge crosses the row (axis 0) or column (axis 1) `line`, in pixels along it."""
    if axis == 0:
        y = -direction(line, resolution, pixel)
        return to_pixels(-(n[1] * y + n[2]) / n[0], resolution, pixel)
    x = direction(line, resolution, pixel)
    return to_pixels((n[0] * x + n[2]) / n[1], resolution, pixel)


@wp.func
def consider(
    a: wp.vec3d,
    b: wp.vec3d,
    side: int,
    axis: int,
    line: int,
    pixel: wp.float64,
    near: wp.float64,
    view: int,
    edge: int,
    face_ids: wp.array3d(dtype=wp.int32),
    depths: wp.array3d(dtype=float),
    keys: wp.array4d(dtype=wp.int64),
):
    """Enter a silhouette edge for the pair of pixels on `line` between whose centres it passes, if it is seen there."""
    resolution = depths.shape[2]
    of_a = a[1] + direction(line, resolution, pixel) * a[2]
    of_b = b[1] + direction(line, resolution, pixel) * b[2]
    if axis == 1:
        of_a = a[0] - direction(line, resolution, pixel) * a[2]
        of_b = b[0] - direction(line, resolution, pixel) * b[2]
    if (of_a < ZERO) == (of_b < ZERO):
        return
    depth = a[2] + of_a / (of_a - of_b) * (b[2] - a[2])
    n = normal_of(a, b)
    place = place_of(n, axis, line, resolution, pixel)
    if not (depth >= near and place >= ZERO and place < wp.float64(resolution - 1)):
        return
    low = int(wp.floor(place))
    row, column, next_row, next_column = line, low, line, low + 1
    upwards = n[0] > ZERO  # is the positive side towards growing indices?
    if axis == 1:
        row, column, next_row, next_column = low, line, low + 1, line
        upwards = n[1] < ZERO
    first, second = wp.float64(depths[view, row, column]), wp.float64(depths[view, next_row, next_column])
    own, behind, rest = first, second, wp.float64(low + 1) - place
    seen = face_ids[view, row, column] >= 0
    if upwards == (side == 1):
        own, behind, rest = second, first, place - wp.float64(low)
        seen = face_ids[view, next_row, next_column] >= 0
    # The pixel inside sees a surface that this edge can belong to; the one outside sees something farther.
    if seen and own < behind and depth < behind * GAP and own - depth <= HALF * (behind - depth):
        key = (wp.int64(wp.cast(float(rest), wp.int32)) << wp.int64(32)) | wp.int64(edge)
        wp.atomic_min(keys, axis * face_ids.shape[0] + view, row, column, 0, key)


@wp.kernel
def cross_pairs(
    vertices: wp.array2d(dtype=wp.vec3),
    edges: wp.array2d(dtype=wp.int32),  # (E, 2)
    sides: wp.array2d(dtype=wp.int32),
    tangents: wp.array(dtype=float),
    near: wp.float64,
    face_ids: wp.array3d(dtype=wp.int32),
    depths: wp.array3d(dtype=float),
    keys: wp.array4d(dtype=wp.int64),  # (2 N, R, R, 1)
):
    view, edge = wp.tid()
    side = sides[view, edge]
    if side != 1 and side != 2:
        return  # faces on both sides: the surface goes on behind it; no faces: it is seen from the side
    a = corner(vertices, view, edges[edge, 0])
    b = corner(vertices, view, edges[edge, 1])
    if not wp.isfinite(wp.dot(a, a) + wp.dot(b, b)):
        return
    pixel = pixel_size(tangents[view], depths.shape[2])
    around = widen_by_edge(widen_by_edge(empty_box(), a, b, near), b, a, near)
    box = pixel_box(around, depths.shape[2], pixel)
    # Along its line an edge may pass between centres, so only the other axis has to hold one.
    if box[2] <= box[3]:
        for row in range(int(box[2]), int(box[3]) + 1):
            consider(a, b, side, 0, row, pixel, near, view, edge, face_ids, depths, keys)
    if box[0] <= box[1]:
        for column in range(int(box[0]), int(box[1]) + 1):
            consider(a, b, side, 1, column, pixel, near, view, edge, face_ids, depths, keys)


@wp.kernel
def measure_shifts(
    vertices: wp.array2d(dtype=wp.vec3),
    edges: wp.array2d(dtype=wp.int32),
    tangents: wp.array(dtype=float),
    resolution: int,
    edge_ids: wp.array(dtype=wp.int32),  # (2 * N * R * R,)
    shifts: wp.array(dtype=float),
):
    index = wp.tid()
    edge = edge_ids[index]
    if edge < 0:
        return
    pair = pair_of(index, resolution, tangents.shape[0])
    view = pair[1]
    n = normal_of(corner(vertices, view, edges[edge, 0]), corner(vertices, view, edges[edge, 1]))
    line, low, across = pair[2], pair[3], n[0]
    if pair[0] == 1:
        line, low, across = pair[3], pair[2], n[1]
    place = place_of(n, pair[0], line, resolution, pixel_size(tangents[view], resolution))
    weight = across * across / (n[0] * n[0] + n[1] * n[1])
    shifts[index] = float(weight * (place - wp.float64(low) - HALF))


@wp.func
def pair_of(index: int, resolution: int, views: int) -> wp.vec4i:
    """Axis, view, row and column of a pair's place in a flat list."""
    line = index / resolution
    picture = line / resolution
    return wp.vec4i(picture / views, picture % views, line % resolution, index % resolution)


@wp.kernel
def spread_gradients(
    vertices: wp.array2d(dtype=wp.vec3),
    edges: wp.array2d(dtype=wp.int32),
    tangents: wp.array(dtype=float),
    resolution: int,
    edge_ids: wp.array(dtype=wp.int32),
    given: wp.array(dtype=float),
    gradients: wp.array2d(dtype=wp.vec3),
):
    index = wp.tid()
    edge = edge_ids[index]
    if edge < 0:
        return
    pair = pair_of(index, resolution, tangents.shape[0])
    view = pair[1]
    pixel = pixel_size(tangents[view], resolution)
    a = corner(vertices, view, edges[edge, 0])
    b = corner(vertices, view, edges[edge, 1])
    n = normal_of(a, b)
    per_slope = wp.float64(given[index]) / pixel / (n[0] * n[0] + n[1] * n[1])
    of_normal = wp.vec3d(ZERO, ZERO, ZERO)
    if pair[0] == 0:
        y = -direction(pair[2], resolution, pixel)
        x = -(n[1] * y + n[2]) / n[0]
        of_normal = -per_slope * n[0] * wp.vec3d(x, y, ONE)
    else:
        x = direction(pair[3], resolution, pixel)
        y = -(n[0] * x + n[2]) / n[1]
        of_normal = per_slope * n[1] * wp.vec3d(x, y, ONE)
    to_a, to_b = wp.cross(b, of_normal), wp.cross(of_normal, a)
    wp.atomic_add(gradients, view, edges[edge, 0], wp.vec3(float(to_a[0]), float(to_a[1]), float(to_a[2])))
    wp.atomic_add(gradients, view, edges[edge, 1], wp.vec3(float(to_b[0]), float(to_b[1]), float(to_b[2])))


def shifts(
    vertices: Tensor,  # (N, V, 3)
    faces: Tensor,  # (F, 3)
    edges: Tensor,  # (E, 2)
    face_edges: Tensor,  # (F, 3)
    tangents: Tensor,  # (N,)
    seen: tuple[Tensor, Tensor],
    near: float,
) -> tuple[Tensor, Tensor]:
    """Silhouettes between pixel centres. Arguments, results and gradients as in `_antialias_torch.shifts`."""
    face_ids, depths = seen
    (views, size, _), device = face_ids.shape, vertices.device
    faces, edges, face_edges = (x.to(torch.int32).contiguous() for x in (faces, edges, face_edges))
    keys = torch.full((2 * views, size, size, 1), NO_KEY, dtype=torch.int64, device=device)
    if len(faces):
        sides = torch.zeros(views, len(edges), dtype=torch.int32, device=device)
        points, side_array = as_array(vertices, wp.vec3), as_array(sides, wp.int32)
        inputs = [points, as_array(faces, wp.int32), as_array(face_edges, wp.int32), side_array]
        launch(mark_sides, (views, len(faces)), inputs, device)
        inputs = [points, as_array(edges, wp.int32), side_array, as_array(tangents, wp.float32), near]
        inputs += [as_array(face_ids, wp.int32), as_array(depths, wp.float32), as_array(keys, wp.int64)]
        launch(cross_pairs, (views, len(edges)), inputs, device)
    edge_ids = keys.view(torch.int32)[..., 0].reshape(2, views, size, size)  # the low halves, as in the z-buffer
    return edge_ids, _Shifts.apply(vertices, edges, tangents, edge_ids)


class _Shifts(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices: Tensor, edges: Tensor, tangents: Tensor, edge_ids: Tensor) -> Tensor:
        ctx.save_for_backward(vertices, edges, tangents, edge_ids)
        result = torch.zeros(edge_ids.shape, device=vertices.device)
        inputs = [*_crossings(vertices, edges, tangents, edge_ids), as_array(result.view(-1), wp.float32)]
        launch(measure_shifts, edge_ids.numel(), inputs, vertices.device)
        return result

    @staticmethod
    def backward(ctx, given: Tensor):
        vertices, _, _, edge_ids = ctx.saved_tensors
        gradients = torch.zeros_like(vertices, memory_format=torch.contiguous_format)
        inputs = [
            *_crossings(*ctx.saved_tensors),
            as_array(given.reshape(-1), wp.float32),
            as_array(gradients, wp.vec3),
        ]
        launch(spread_gradients, edge_ids.numel(), inputs, vertices.device)
        return gradients, None, None, None


def _crossings(vertices: Tensor, edges: Tensor, tangents: Tensor, edge_ids: Tensor) -> list:
    arrays = [as_array(vertices, wp.vec3), as_array(edges, wp.int32), as_array(tangents, wp.float32)]
    return [*arrays, edge_ids.shape[-1], as_array(edge_ids.view(-1), wp.int32)]
