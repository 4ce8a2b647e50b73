"""The z-buffer in plain torch: the twin that `_rasterization_warp` is compared with, line for line the same formulas.

Every triangle lists the pixels of its box, all of them are tested at once, and a scatter keeps the nearest. It holds
all candidates in memory and is several times slower, so nothing but tests and benchmarks calls it. Gradients are
autograd's.
"""

from __future__ import annotations

import torch
from torch import Tensor

NO_KEY = 0x7FFFFFFFFFFFFFFF
MARGIN = 1e-3  # pixels, as in the kernels


def draw(
    vertices: Tensor,  # (N, V, 3)
    faces: Tensor,  # (F, 3)
    tangents: Tensor,  # (N,)
    resolution: int,
    near: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Z-buffer of camera-space triangles.

    Args:
        vertices: x right, y up, z forward (positive in front). (N, V, 3) float32.
        faces: Indices into the vertices, either winding; one with a corner that is not finite is not drawn.
            (F, 3) integer.
        tangents: Of half the field of view, one a view. (N,) float32.
        resolution: Image height and width, pixels.
        near: Nothing nearer than this along z is drawn; triangles that cross it are cut by the pixel, not dropped.

    Returns:
        face ids (N, R, R) int32, -1 where nothing is; barycentrics (N, R, R, 3) with perspective, 0 where nothing is;
        depth along z (N, R, R), inf where nothing is. The last two are differentiable in the vertices.

    A pixel's ray d = (x, y, 1) and two corners span the volume d . (b x c). The three volumes of a triangle are
    proportional to the barycentrics of the ray's hit, also where a corner is behind the camera, so no triangle has to
    be clipped (homogeneous rasterisation, Olano and Greer 1997). Only the box is that of the clipped triangle.
    """
    results = [_draw_one(v, faces.long(), t, resolution, near) for v, t in zip(vertices, tangents, strict=True)]
    if not results:
        shape = (0, resolution, resolution)
        return torch.full(shape, -1, dtype=torch.int32), torch.zeros(*shape, 3), torch.full(shape, torch.inf)
    face_ids, barycentrics, depths = zip(*results, strict=True)
    return torch.stack(face_ids), torch.stack(barycentrics), torch.stack(depths)


def _draw_one(vertices: Tensor, faces: Tensor, tangent: Tensor, resolution: int, near: float):
    corners = vertices.double()[faces]  # (F, 3, 3)
    tangent = tangent.double()
    with torch.no_grad():
        face, row, column = _candidates(corners, tangent, resolution, near)
        u, v, w = _volumes(corners[face], row, column, tangent, resolution)
        weights = torch.stack([u, v, w], -1)
        depth = _depth(corners[face], u, v, w)
        inside = ((weights >= 0).all(-1) | (weights <= 0).all(-1)) & (u + v + w != 0) & (depth >= near)
        face, row, column, pixel = face[inside], row[inside], column[inside], (row * resolution + column)[inside]
        key = depth[inside].float().view(torch.int32).long() << 32 | face
        keys = torch.full((resolution * resolution,), NO_KEY, device=vertices.device)
        keys.scatter_reduce_(0, pixel, key, "amin")
        won = keys[pixel] == key
        face, row, column, pixel = face[won], row[won], column[won], pixel[won]
    u, v, w = _volumes(corners[face], row, column, tangent, resolution)
    total = u + v + w
    square = (resolution, resolution)
    face_ids = torch.full((resolution * resolution,), -1, dtype=torch.int32, device=vertices.device)
    face_ids[pixel] = face.int()
    barycentrics = torch.zeros(resolution * resolution, 3, device=vertices.device)
    barycentrics = barycentrics.index_put((pixel,), torch.stack([u / total, v / total, w / total], -1).float())
    depths = torch.full((resolution * resolution,), torch.inf, device=vertices.device)
    depths = depths.index_put((pixel,), _depth(corners[face], u, v, w).float())
    return face_ids.view(square), barycentrics.view(*square, 3), depths.view(square)


def _candidates(corners: Tensor, tangent: Tensor, resolution: int, near: float) -> tuple[Tensor, Tensor, Tensor]:
    """Every (face, row, column) whose pixel centre lies in the box around the projected face."""
    x_low, x_high, y_low, y_high = projected_box(corners, near)
    low, high = whole_pixels(torch.stack([x_low, y_low], -1), torch.stack([x_high, y_high], -1), tangent, resolution)
    finite = corners.square().sum((-2, -1)).isfinite()
    extent = torch.where(finite[:, None], (high - low + 1).clamp(min=0), 0.0).long()
    count = extent[:, 0] * extent[:, 1]
    face = torch.repeat_interleave(torch.arange(len(corners), device=corners.device), count)
    rank = torch.arange(len(face), device=corners.device) - (count.cumsum(0) - count)[face]
    width = extent[face, 0].clamp(min=1)
    return face, low[face, 1].long() + rank // width, low[face, 0].long() + rank % width


def projected_box(corners: Tensor, near: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Left, right, top and bottom, each (F,), of polygons (F, K, 3) cut at the near plane; z = 1 plane, y down."""
    following = corners.roll(-1, dims=1)
    front, next_front = corners[..., 2] >= near, following[..., 2] >= near
    f = (near - corners[..., 2]) / (following[..., 2] - corners[..., 2])
    cut = corners[..., :2] + f[..., None] * (following[..., :2] - corners[..., :2])
    points = torch.cat([corners[..., :2] * (1 / corners[..., 2:]), cut * (1 / near)], 1)
    there = torch.cat([front, front != next_front], 1)
    low, high = torch.full_like(points[..., 0], 1e300), torch.full_like(points[..., 0], -1e300)
    x, y = points[..., 0], -points[..., 1]
    return (
        torch.where(there, x, low).amin(1),
        torch.where(there, x, high).amax(1),
        torch.where(there, y, low).amin(1),
        torch.where(there, y, high).amax(1),
    )


def whole_pixels(low: Tensor, high: Tensor, tangent: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """First and last pixel whose centre lies between two places on the plane z = 1."""
    per_slope, middle = 1 / pixel_size(tangent, resolution), 0.5 * resolution - 0.5
    low = torch.ceil(low * per_slope + middle - MARGIN).clamp(min=0, max=resolution)
    return low, torch.floor(high * per_slope + middle + MARGIN).clamp(min=-1, max=resolution - 1)


def pixel_size(tangent: Tensor, resolution: int) -> Tensor:
    """Side of a pixel at z = 1."""
    return 2 * tangent / resolution


def directions(index: Tensor, tangent: Tensor, resolution: int) -> Tensor:
    """Where rays through columns' centres (x), or minus where those through rows' centres (y), meet z = 1."""
    return (index.double() - (0.5 * resolution - 0.5)) * pixel_size(tangent, resolution)


def _volumes(corners: Tensor, row: Tensor, column: Tensor, tangent: Tensor, resolution: int) -> tuple[Tensor, ...]:
    """Unnormalised barycentrics, each (P,), of the pixels' rays in their triangles."""
    x, y = directions(column, tangent, resolution), -directions(row, tangent, resolution)
    normals = torch.linalg.cross(corners[:, [1, 2, 0]], corners[:, [2, 0, 1]])
    return tuple(normals[:, k, 0] * x + (normals[:, k, 1] * y + normals[:, k, 2]) for k in range(3))


def _depth(corners: Tensor, u: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """Depth (P,) of the hits."""
    return (u * corners[:, 0, 2] + v * corners[:, 1, 2] + w * corners[:, 2, 2]) / (u + v + w)


def weigh(
    face_ids: Tensor,  # (N, R, R)
    barycentrics: Tensor,  # (N, R, R, 3)
    corners: Tensor,  # (F, 3)
    values: Tensor,  # (M, C)
) -> Tensor:
    """The twin of `_interpolation_warp.weigh`."""
    seen = face_ids >= 0
    picked = values[corners[face_ids[seen].long()].long()]
    result = values.new_zeros(*face_ids.shape, values.shape[-1])
    return result.index_put((seen,), (picked * barycentrics[seen][..., None]).sum(-2))
