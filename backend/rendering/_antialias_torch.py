"""Antialiasing in plain torch: the twin that `_antialias_warp` and `_blending_warp` are compared with.

The same formulas over lists of crossings instead of threads. Nothing but tests and benchmarks calls it; gradients are
autograd's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._rasterization_torch import NO_KEY, directions, pixel_size, projected_box, whole_pixels

GAP = 1 - 1e-5  # as in the kernels


def shifts(
    vertices: Tensor,  # (N, V, 3)
    faces: Tensor,  # (F, 3)
    edges: Tensor,  # (E, 2)
    face_edges: Tensor,  # (F, 3)
    tangents: Tensor,  # (N,)
    seen: tuple[Tensor, Tensor],
    near: float,
) -> tuple[Tensor, Tensor]:
    """Which silhouette edge passes between the centres of two neighbouring pixels, and where.

    Args:
        vertices: Camera space, x right, y up, z forward. (N, V, 3) float32.
        faces: (F, 3) integer.
        edges: Lower vertex first. (E, 2) integer.
        face_edges: Which edge lies between corners k and k + 1. (F, 3) integer.
        tangents: Of half the field of view. (N,) float32.
        seen: Face ids (N, R, R) int32 and depth (N, R, R) float32.
        near: The near plane's distance.

    Returns:
        edge ids (2, N, R, R) int32, axis 0 for the pair of a pixel and the one to its right, axis 1 for the one below;
        -1 where no silhouette is seen between them. Shifts (2, N, R, R) float32: how far from the middle of the pair
        the edge crosses the line of their centres, in pixels towards the second, in [-0.5, 0.5], times the square of
        the cosine between that line and the edge's normal; 0 where there is none. Differentiable in the vertices,
        that factor held constant.

    With n = a x b of an edge's ends the plane of the eye and the edge is n . (x, y, 1) = 0; the edge crosses the row y
    at x = -(n_y y + n_z) / n_x. Crossings of rows and of columns are samples of the same outline: of a piece with the
    normal n a row meets |n_x| a unit length, each moving by v . n / |n_x|. Weighted by n_x^2 and n_y^2 both sum to the
    whole v . n, without the jumps of a hard choice between them and without division by a small number.
    """
    results = [
        _shifts_of_view(vertices[k], faces.long(), edges.long(), face_edges.long(), tangents[k], ids, depth, near)
        for k, (ids, depth) in enumerate(zip(*seen, strict=True))
    ]
    edge_ids, moved = zip(*results, strict=True)
    return torch.stack(edge_ids, 1), torch.stack(moved, 1)


def _shifts_of_view(vertices, faces, edges, face_edges, tangent, face_ids, depth, near):
    vertices, tangent, size = vertices.double(), tangent.double(), depth.shape[-1]
    with torch.no_grad():
        sides = _sides(vertices, faces, len(edges), face_edges)
        ends = vertices[edges]
        chosen = ((sides == 1) | (sides == 2)) & ends.square().sum((-2, -1)).isfinite()
        chosen = chosen.nonzero()[:, 0]
    edge_ids, results = [], []
    for axis in (0, 1):
        with torch.no_grad():
            edge, line = _lines(vertices[edges[chosen]], axis, tangent, size, near)
            edge = chosen[edge]
            keys = _keys(vertices[edges[edge]], sides[edge], edge, axis, line, tangent, (face_ids, depth), near)
            ids = torch.where(keys == NO_KEY, -1, keys & 0xFFFFFFFF).int()
            pixel = (ids >= 0).nonzero()[:, 0]
            line, low = (pixel // size, pixel % size) if axis == 0 else (pixel % size, pixel // size)
        a, b = vertices[edges[ids[pixel].long()]].unbind(1)
        n = torch.linalg.cross(a, b)
        weight = (n[:, axis].square() / (n[:, 0].square() + n[:, 1].square())).detach()
        shift = weight * (_place(n, axis, line, tangent, size) - low - 0.5)
        moved = torch.zeros(size * size, device=depth.device).index_put((pixel,), shift.float())
        edge_ids.append(ids.view(size, size))
        results.append(moved.view(size, size))
    return torch.stack(edge_ids), torch.stack(results)


def _sides(vertices: Tensor, faces: Tensor, count: int, face_edges: Tensor) -> Tensor:
    """(E,): 1 where all faces of an edge lie on its positive side, 2 on the other, 3 on both, 0 where none has one."""
    a, b, c = vertices[faces].unbind(1)
    volume = (torch.linalg.cross(a, b) * c).sum(-1)
    volume = torch.where(volume.isfinite(), volume, 0.0)
    along = faces < faces.roll(-1, dims=1)
    positive = (along == (volume > 0)[:, None]) & (volume != 0)[:, None]
    negative = (along != (volume > 0)[:, None]) & (volume != 0)[:, None]
    sides = torch.zeros(2, count, dtype=torch.int64, device=faces.device)
    sides[0].scatter_reduce_(0, face_edges.reshape(-1), positive.long().reshape(-1), "amax")
    sides[1].scatter_reduce_(0, face_edges.reshape(-1), negative.long().reshape(-1), "amax")
    return sides[0] + 2 * sides[1]


def _lines(ends: Tensor, axis: int, tangent: Tensor, size: int, near: float) -> tuple[Tensor, Tensor]:
    """Every (edge, row) or (edge, column) whose centre line lies in the edge's box."""
    low, high = projected_box(ends, near)[2 - 2 * axis : 4 - 2 * axis]
    low, high = whole_pixels(low, high, tangent, size)
    count = (high - low + 1).clamp(min=0).long()
    edge = torch.repeat_interleave(torch.arange(len(ends), device=ends.device), count)
    rank = torch.arange(len(edge), device=ends.device) - (count.cumsum(0) - count)[edge]
    return edge, low[edge].long() + rank


def _place(n: Tensor, axis: int, line: Tensor, tangent: Tensor, size: int) -> Tensor:
    """Where edges cross their rows or columns, in pixels along them."""
    along = directions(line, tangent, size)
    slope = -(n[:, 1] * -along + n[:, 2]) / n[:, 0] if axis == 0 else (n[:, 0] * along + n[:, 2]) / n[:, 1]
    return slope / pixel_size(tangent, size) + (0.5 * size - 0.5)


def _keys(ends, sides, edge, axis, line, tangent, seen, near) -> Tensor:
    """(R * R,) int64: of the crossings that are seen the outermost: bits of the rest to the centre outside, edge."""
    face_ids, depths = (x.reshape(-1) for x in seen)
    size = seen[1].shape[-1]
    a, b = ends.unbind(1)
    along = directions(line, tangent, size)
    of_a, of_b = (p[:, 1] + along * p[:, 2] if axis == 0 else p[:, 0] - along * p[:, 2] for p in (a, b))
    depth = a[:, 2] + of_a / (of_a - of_b) * (b[:, 2] - a[:, 2])
    n = torch.linalg.cross(a, b)
    place = _place(n, axis, line, tangent, size)
    there = ((of_a < 0) != (of_b < 0)) & (depth >= near) & (place >= 0) & (place < size - 1)
    low = torch.where(there, place.floor(), 0.0).long()
    first = line * size + low if axis == 0 else low * size + line
    second = first + (1 if axis == 0 else size)
    upwards = n[:, 0] > 0 if axis == 0 else n[:, 1] < 0
    second_is_own = upwards == (sides == 1)
    last = size * size - 1
    own_pixel = torch.where(second_is_own, second, first).clamp(max=last)
    own = depths[own_pixel].double()
    behind = depths[torch.where(second_is_own, first, second).clamp(max=last)].double()
    there &= (face_ids[own_pixel] >= 0) & (own < behind)
    there &= (depth < behind * GAP) & (own - depth <= 0.5 * (behind - depth))
    rest = torch.where(second_is_own, place - low, low + 1 - place)
    key = rest[there].float().view(torch.int32).long() << 32 | edge[there]
    keys = torch.full((size * size,), NO_KEY, device=depths.device)
    return keys.scatter_reduce_(0, first[there], key, "amin")


def blend(
    colours: Tensor,  # (N, R, R, C)
    edge_ids: Tensor,  # (2, N, R, R)
    shifts: Tensor,  # (2, N, R, R)
) -> Tensor:
    """Mix pixels over the outlines between them.

    Args:
        colours: (N, R, R, C) float32.
        edge_ids: -1 where there is no outline. (2, N, R, R) int32.
        shifts: From `shifts`. (2, N, R, R) float32.

    Returns:
        (N, R, R, C): an outline past the middle of its pair lets the first pixel's colour into the second by that
        share, one before it the second's into the first. Differentiable in colours and shifts.
    """
    result = colours
    for axis in (0, 1):
        view, row, column = (edge_ids[axis] >= 0).nonzero(as_tuple=True)
        next_row, next_column = row + axis, column + 1 - axis
        shift = shifts[axis, view, row, column]
        step = colours[view, row, column] - colours[view, next_row, next_column]
        forward = shift >= 0
        taker = torch.where(forward, next_row, row), torch.where(forward, next_column, column)
        result = result.index_put((view, *taker), shift[:, None] * step, accumulate=True)
    return result
