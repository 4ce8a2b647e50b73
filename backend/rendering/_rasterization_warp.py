"""The z-buffer kernels of `rasterization`, in Warp: one source for CPU and CUDA. Twin: `_rasterization_torch`.

Knows camera-space vertices, triangles and a key buffer. Knows no cameras, worlds or textures.

Every pixel keeps one 64-bit key, (bits of the depth, face id), and `atomic_min` picks the winner: positive floats sort
like their bits, so the nearest triangle wins at full precision, and of equally near ones the lowest face id.
"""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from .warp_bridge import initialise

NO_KEY = wp.constant(wp.int64(0x7FFFFFFFFFFFFFFF))


@wp.func
def edge(ax: float, ay: float, bx: float, by: float) -> float:
    """Twice the signed area of (pixel, a, b), corners given relative to the pixel."""
    return ax * by - ay * bx


@wp.kernel
def draw_triangles(
    vertices: wp.array2d(dtype=wp.vec3),  # (N, V) camera space: x right, y up, z forward
    faces: wp.array2d(dtype=wp.int32),  # (F, 3)
    tangents: wp.array(dtype=float),  # (N,) tangent of half the field of view
    resolution: int,
    near: float,
    keys: wp.array(dtype=wp.int64),  # (N * resolution * resolution,)
):
    view, face = wp.tid()
    a = vertices[view, faces[face, 0]]
    b = vertices[view, faces[face, 1]]
    c = vertices[view, faces[face, 2]]
    if a[2] < near and b[2] < near and c[2] < near:
        return
    tangent = tangents[view]
    size = float(resolution)
    left, right, top, bottom = 0.0, size - 1.0, 0.0, size - 1.0
    if a[2] >= near and b[2] >= near and c[2] >= near:  # else the projected box is unbounded: the whole image
        ax, bx, cx = a[0] / a[2], b[0] / b[2], c[0] / c[2]
        ay, by, cy = -a[1] / a[2], -b[1] / b[2], -c[1] / c[2]
        scale = 0.5 * size / tangent
        shift = 0.5 * size - 0.5
        left = wp.max(left, wp.ceil(wp.min(wp.min(ax, bx), cx) * scale + shift - 1.0e-3))
        right = wp.min(right, wp.floor(wp.max(wp.max(ax, bx), cx) * scale + shift + 1.0e-3))
        top = wp.max(top, wp.ceil(wp.min(wp.min(ay, by), cy) * scale + shift - 1.0e-3))
        bottom = wp.min(bottom, wp.floor(wp.max(wp.max(ay, by), cy) * scale + shift + 1.0e-3))
    if left > right or top > bottom:
        return
    for row in range(int(top), int(bottom) + 1):
        y = -((float(row) + 0.5) / size * 2.0 - 1.0) * tangent
        for column in range(int(left), int(right) + 1):
            x = ((float(column) + 0.5) / size * 2.0 - 1.0) * tangent
            px, py = a[0] - x * a[2], a[1] - y * a[2]
            qx, qy = b[0] - x * b[2], b[1] - y * b[2]
            rx, ry = c[0] - x * c[2], c[1] - y * c[2]
            u, v, w = edge(qx, qy, rx, ry), edge(rx, ry, px, py), edge(px, py, qx, qy)
            total = u + v + w
            inside = (u >= 0.0 and v >= 0.0 and w >= 0.0) or (u <= 0.0 and v <= 0.0 and w <= 0.0)
            if inside and total != 0.0:
                depth = (u * a[2] + v * b[2] + w * c[2]) / total
                if depth >= near:
                    key = (wp.int64(wp.cast(depth, wp.int32)) << wp.int64(32)) | wp.int64(face)
                    wp.atomic_min(keys, (view * resolution + row) * resolution + column, key)


@wp.kernel
def read_winners(
    vertices: wp.array2d(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    tangents: wp.array(dtype=float),
    resolution: int,
    keys: wp.array(dtype=wp.int64),
    face_ids: wp.array(dtype=wp.int32),
    barycentrics: wp.array(dtype=wp.vec3),
    depths: wp.array(dtype=float),
):
    pixel = wp.tid()
    key = keys[pixel]
    if key == NO_KEY:
        return
    face = wp.int32(key & wp.int64(4294967295))
    column = pixel % resolution
    row = (pixel / resolution) % resolution
    view = pixel / (resolution * resolution)
    tangent = tangents[view]
    x = ((float(column) + 0.5) / float(resolution) * 2.0 - 1.0) * tangent
    y = -((float(row) + 0.5) / float(resolution) * 2.0 - 1.0) * tangent
    a = vertices[view, faces[face, 0]]
    b = vertices[view, faces[face, 1]]
    c = vertices[view, faces[face, 2]]
    px, py = a[0] - x * a[2], a[1] - y * a[2]
    qx, qy = b[0] - x * b[2], b[1] - y * b[2]
    rx, ry = c[0] - x * c[2], c[1] - y * c[2]
    u, v, w = edge(qx, qy, rx, ry), edge(rx, ry, px, py), edge(px, py, qx, qy)
    total = u + v + w
    face_ids[pixel] = face
    barycentrics[pixel] = wp.vec3(u / total, v / total, w / total)
    depths[pixel] = (u * a[2] + v * b[2] + w * c[2]) / total


def draw(
    vertices: Tensor,  # (N, V, 3)
    faces: Tensor,  # (F, 3)
    tangents: Tensor,  # (N,)
    resolution: int,
    near: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Z-buffer of camera-space triangles. Arguments and results as in `_rasterization_torch.draw`."""
    views, device = len(vertices), vertices.device
    pixels = views * resolution * resolution
    keys = torch.full((pixels,), 0x7FFFFFFFFFFFFFFF, dtype=torch.int64, device=device)
    face_ids = torch.full((pixels,), -1, dtype=torch.int32, device=device)
    barycentrics = torch.zeros(pixels, 3, device=device)
    depths = torch.full((pixels,), torch.inf, device=device)
    if len(faces) and views:
        initialise()
        stream = wp.stream_from_torch(torch.cuda.current_stream(device)) if device.type == "cuda" else None
        place = wp.device_from_torch(device)
        geometry = [
            wp.from_torch(vertices.contiguous(), dtype=wp.vec3),
            wp.from_torch(faces.to(torch.int32).contiguous()),
            wp.from_torch(tangents.contiguous()),
            resolution,
        ]
        buffer = wp.from_torch(keys)
        results = [wp.from_torch(face_ids), wp.from_torch(barycentrics, dtype=wp.vec3), wp.from_torch(depths)]
        wp.launch(draw_triangles, (views, len(faces)), [*geometry, near, buffer], device=place, stream=stream)
        wp.launch(read_winners, pixels, [*geometry, buffer, *results], device=place, stream=stream)
    shape = (views, resolution, resolution)
    return face_ids.view(shape), barycentrics.view(*shape, 3), depths.view(shape)
