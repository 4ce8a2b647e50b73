"""The z-buffer in plain torch: the twin that `_rasterization_warp` is compared with, line for line the same formulas.

Every triangle lists the pixels of its box, all of them are tested at once, and a scatter keeps the nearest. It holds
all candidates in memory and is several times slower, so nothing but tests and benchmarks calls it.
"""

from __future__ import annotations

import torch
from torch import Tensor

NO_KEY = 0x7FFFFFFFFFFFFFFF


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
        faces: Indices into the vertices, either winding. (F, 3) integer.
        tangents: Of half the field of view, one a view. (N,) float32.
        resolution: Image height and width, pixels.
        near: Nothing nearer than this along z is drawn; triangles that cross it are cut by the pixel, not dropped.

    Returns:
        face ids (N, R, R) int32, -1 where nothing is; barycentrics (N, R, R, 3) with perspective, 0 where nothing is;
        depth along z (N, R, R), inf where nothing is.

    For a pixel's direction (x, y, 1) the corner a moves to a.xy - (x, y) a.z; the cross products of the moved corners
    are proportional to the barycentrics of the ray's hit, also where a corner is behind the camera, so no clipping is
    needed (homogeneous rasterisation, Olano and Greer 1997).
    """
    results = [_draw_one(v, faces.long(), t, resolution, near) for v, t in zip(vertices, tangents, strict=True)]
    if not results:
        shape = (0, resolution, resolution)
        return torch.full(shape, -1, dtype=torch.int32), torch.zeros(*shape, 3), torch.full(shape, torch.inf)
    face_ids, barycentrics, depths = zip(*results, strict=True)
    return torch.stack(face_ids), torch.stack(barycentrics), torch.stack(depths)


def _draw_one(vertices: Tensor, faces: Tensor, tangent: Tensor, resolution: int, near: float):
    corners = vertices[faces]  # (F, 3, 3)
    face, row, column = _candidates(corners, tangent, resolution, near)
    weights, depth = _weights(corners[face], row, column, tangent, resolution)
    total = weights.sum(-1)
    inside = ((weights >= 0).all(-1) | (weights <= 0).all(-1)) & (total != 0) & (depth >= near)
    face, pixel, depth = face[inside], (row * resolution + column)[inside], depth[inside]
    weights = weights[inside] / total[inside, None]
    key = depth.contiguous().view(torch.int32).long() << 32 | face
    keys = torch.full((resolution * resolution,), NO_KEY, device=vertices.device)
    keys.scatter_reduce_(0, pixel, key, "amin")
    won = keys[pixel] == key
    face_ids = torch.full((resolution * resolution,), -1, dtype=torch.int32, device=vertices.device)
    barycentrics = torch.zeros(resolution * resolution, 3, device=vertices.device)
    depths = torch.full((resolution * resolution,), torch.inf, device=vertices.device)
    face_ids[pixel[won]] = face[won].int()
    barycentrics[pixel[won]] = weights[won]
    depths[pixel[won]] = depth[won]
    return (
        face_ids.view(resolution, resolution),
        barycentrics.view(resolution, resolution, 3),
        depths.view(resolution, resolution),
    )


def _candidates(corners: Tensor, tangent: Tensor, resolution: int, near: float) -> tuple[Tensor, Tensor, Tensor]:
    """Every (face, row, column) whose pixel centre lies in the box around the projected face."""
    z = corners[..., 2]
    whole = (z < near).any(-1) & ~(z < near).all(-1)
    scale, shift = 0.5 * resolution / tangent, 0.5 * resolution - 0.5
    safe = torch.where(z >= near, z, torch.ones_like(z))
    screen = torch.stack([corners[..., 0] / safe, -corners[..., 1] / safe], -1) * scale + shift
    low = torch.ceil(screen.amin(1) - 1e-3).clamp(min=0, max=resolution)
    high = torch.floor(screen.amax(1) + 1e-3).clamp(min=-1, max=resolution - 1)
    low[whole], high[whole] = 0, resolution - 1
    extent = (high - low + 1).clamp(min=0).long()
    extent[(z < near).all(-1)] = 0
    count = extent[:, 0] * extent[:, 1]
    face = torch.repeat_interleave(torch.arange(len(corners), device=corners.device), count)
    rank = torch.arange(len(face), device=corners.device) - (count.cumsum(0) - count)[face]
    width = extent[face, 0]
    return face, low[face, 1].long() + rank // width.clamp(min=1), low[face, 0].long() + rank % width.clamp(min=1)


def _weights(corners: Tensor, row: Tensor, column: Tensor, tangent: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Unnormalised barycentrics (P, 3) and depth (P,) of the pixels' rays in their triangles."""
    x = ((column + 0.5) / resolution * 2 - 1) * tangent
    y = -((row + 0.5) / resolution * 2 - 1) * tangent
    z = corners[..., 2]
    moved = corners[..., :2] - torch.stack([x, y], -1)[:, None] * z[..., None]
    following = moved.roll(-1, dims=1)
    cross = moved[..., 0] * following[..., 1] - moved[..., 1] * following[..., 0]  # of (a, b), (b, c), (c, a)
    weights = cross.roll(-1, dims=1)  # corner a's weight is the area across from it
    return weights, (weights * z).sum(-1) / weights.sum(-1)
