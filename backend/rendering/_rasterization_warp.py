"""The z-buffer kernels of `rasterization`, in Warp: one source for CPU and CUDA. Twin: `_rasterization_torch`.

Knows camera-space vertices, triangles and a key buffer. Knows no cameras, worlds or textures.

Every pixel keeps one 64-bit key, (bits of the depth, face id), and `atomic_min` picks the winner: positive floats sort
like their bits, so the nearest triangle wins at full precision, and of equally near ones the lowest face id.

Formulas run in double and are not contracted into fused multiply-adds. So the twin computes the same bits on every
device, two triangles agree exactly about the edge they share, and the order of a triangle's corners does not matter.
"""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from .warp_bridge import as_array, launch

wp.set_module_options({"fuse_fp": False, "enable_backward": False})

NO_KEY = 0x7FFFFFFFFFFFFFFF  # its low half is the face id -1
MARGIN = wp.constant(wp.float64(1e-3))  # pixels; rounding of the box must not lose a pixel centre on its border
ZERO = wp.constant(wp.float64(0.0))
HALF = wp.constant(wp.float64(0.5))
ONE = wp.constant(wp.float64(1.0))


@wp.func
def corner(vertices: wp.array2d(dtype=wp.vec3), view: int, vertex: int) -> wp.vec3d:
    """A vertex in double."""
    p = vertices[view, vertex]
    return wp.vec3d(wp.float64(p[0]), wp.float64(p[1]), wp.float64(p[2]))


@wp.func
def direction(index: int, resolution: int, pixel: wp.float64) -> wp.float64:
    """Where the ray through a column's centre (x), or minus where one through a row's centre (y), meets z = 1."""
    return (wp.float64(index) - (HALF * wp.float64(resolution) - HALF)) * pixel


@wp.func
def to_pixels(slope: wp.float64, resolution: int, pixel: wp.float64) -> wp.float64:
    """The inverse of `direction`: centres of pixels are whole numbers."""
    return slope / pixel + (HALF * wp.float64(resolution) - HALF)


@wp.func
def pixel_size(tangent: float, resolution: int) -> wp.float64:
    """Side of a pixel at z = 1."""
    return wp.float64(2.0) * wp.float64(tangent) / wp.float64(resolution)


@wp.func
def widen(box: wp.vec4d, x: wp.float64, y: wp.float64, z: wp.float64) -> wp.vec4d:
    """The box (left, right, top, bottom; z = 1 plane, y down) with a point's projection in it."""
    closer = ONE / z
    u, v = x * closer, -y * closer
    return wp.vec4d(wp.min(box[0], u), wp.max(box[1], u), wp.min(box[2], v), wp.max(box[3], v))


@wp.func
def widen_by_edge(box: wp.vec4d, p: wp.vec3d, q: wp.vec3d, near: wp.float64) -> wp.vec4d:
    """The box with p, where that is in front of the near plane, and where the edge to q crosses that plane."""
    if p[2] >= near:
        box = widen(box, p[0], p[1], p[2])
    if (p[2] >= near) != (q[2] >= near):
        f = (near - p[2]) / (q[2] - p[2])
        box = widen(box, p[0] + f * (q[0] - p[0]), p[1] + f * (q[1] - p[1]), near)
    return box


@wp.func
def empty_box() -> wp.vec4d:
    """A box that holds nothing."""
    far = wp.float64(1.0e300)
    return wp.vec4d(far, -far, far, -far)


@wp.func
def pixel_box(box: wp.vec4d, resolution: int, pixel: wp.float64) -> wp.vec4d:
    """First and last column, first and last row; first > last where the box holds no pixel centre."""
    last, per_slope, middle = wp.float64(resolution - 1), ONE / pixel, HALF * wp.float64(resolution) - HALF
    return wp.vec4d(
        wp.max(ZERO, wp.ceil(box[0] * per_slope + middle - MARGIN)),
        wp.min(last, wp.floor(box[1] * per_slope + middle + MARGIN)),
        wp.max(ZERO, wp.ceil(box[2] * per_slope + middle - MARGIN)),
        wp.min(last, wp.floor(box[3] * per_slope + middle + MARGIN)),
    )


@wp.func
def volume(normal: wp.vec3d, x: wp.float64, y: wp.float64) -> wp.float64:
    """Of the ray (x, y, 1) with two corners, whose cross product is given; exactly minus that of them exchanged."""
    return normal[0] * x + (normal[1] * y + normal[2])


@wp.kernel
def draw_triangles(
    vertices: wp.array2d(dtype=wp.vec3),  # (N, V) camera space: x right, y up, z forward
    faces: wp.array2d(dtype=wp.int32),  # (F, 3)
    tangents: wp.array(dtype=float),  # (N,) tangent of half the field of view
    resolution: int,
    near: wp.float64,
    keys: wp.array(dtype=wp.int64),  # (N * resolution * resolution,)
):
    view, face = wp.tid()
    a = corner(vertices, view, faces[face, 0])
    b = corner(vertices, view, faces[face, 1])
    c = corner(vertices, view, faces[face, 2])
    if not wp.isfinite(wp.dot(a, a) + wp.dot(b, b) + wp.dot(c, c)):
        return
    pixel = pixel_size(tangents[view], resolution)
    around = widen_by_edge(empty_box(), a, b, near)
    around = widen_by_edge(around, b, c, near)
    around = widen_by_edge(around, c, a, near)
    box = pixel_box(around, resolution, pixel)
    if box[0] > box[1] or box[2] > box[3]:
        return
    of_a, of_b, of_c = wp.cross(b, c), wp.cross(c, a), wp.cross(a, b)
    for row in range(int(box[2]), int(box[3]) + 1):
        y = -direction(row, resolution, pixel)
        for column in range(int(box[0]), int(box[1]) + 1):
            x = direction(column, resolution, pixel)
            u, v, w = volume(of_a, x, y), volume(of_b, x, y), volume(of_c, x, y)
            inside = (u >= ZERO and v >= ZERO and w >= ZERO) or (u <= ZERO and v <= ZERO and w <= ZERO)
            total = u + v + w
            if inside and total != ZERO:
                depth = (u * a[2] + v * b[2] + w * c[2]) / total
                if depth >= near:
                    key = (wp.int64(wp.cast(float(depth), wp.int32)) << wp.int64(32)) | wp.int64(face)
                    wp.atomic_min(keys, (view * resolution + row) * resolution + column, key)


@wp.kernel
def locate_hits(
    vertices: wp.array2d(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    tangents: wp.array(dtype=float),
    resolution: int,
    face_ids: wp.array(dtype=wp.int32),  # (P,), P = N * resolution * resolution
    barycentrics: wp.array(dtype=wp.vec3),
    depths: wp.array(dtype=float),
):
    index = wp.tid()
    face = face_ids[index]
    if face < 0:
        return
    line = index / resolution
    view = line / resolution
    pixel = pixel_size(tangents[view], resolution)
    x, y = direction(index % resolution, resolution, pixel), -direction(line % resolution, resolution, pixel)
    a = corner(vertices, view, faces[face, 0])
    b = corner(vertices, view, faces[face, 1])
    c = corner(vertices, view, faces[face, 2])
    u, v, w = volume(wp.cross(b, c), x, y), volume(wp.cross(c, a), x, y), volume(wp.cross(a, b), x, y)
    total = u + v + w
    barycentrics[index] = wp.vec3(float(u / total), float(v / total), float(w / total))
    depths[index] = float((u * a[2] + v * b[2] + w * c[2]) / total)


@wp.func
def add_to_corner(gradients: wp.array2d(dtype=wp.vec3), view: int, vertex: int, given: wp.vec3d, deep: wp.float64):
    """Add a corner's gradient, and what its depth gets beside."""
    wp.atomic_add(gradients, view, vertex, wp.vec3(float(given[0]), float(given[1]), float(given[2] + deep)))


@wp.kernel
def spread_gradients(
    vertices: wp.array2d(dtype=wp.vec3),
    faces: wp.array2d(dtype=wp.int32),
    tangents: wp.array(dtype=float),
    resolution: int,
    face_ids: wp.array(dtype=wp.int32),
    of_barycentrics: wp.array(dtype=wp.vec3),
    of_depths: wp.array(dtype=float),
    gradients: wp.array2d(dtype=wp.vec3),  # (N, V)
):
    index = wp.tid()
    face = face_ids[index]
    if face < 0:
        return
    line = index / resolution
    view = line / resolution
    pixel = pixel_size(tangents[view], resolution)
    x, y = direction(index % resolution, resolution, pixel), -direction(line % resolution, resolution, pixel)
    a = corner(vertices, view, faces[face, 0])
    b = corner(vertices, view, faces[face, 1])
    c = corner(vertices, view, faces[face, 2])
    u, v, w = volume(wp.cross(b, c), x, y), volume(wp.cross(c, a), x, y), volume(wp.cross(a, b), x, y)
    total = u + v + w
    share = wp.vec3d(u / total, v / total, w / total)
    given = of_barycentrics[index]
    deep = wp.float64(of_depths[index])
    wanted = wp.vec3d(wp.float64(given[0]), wp.float64(given[1]), wp.float64(given[2])) + deep * wp.vec3d(
        a[2], b[2], c[2]
    )
    volumes = (wanted - wp.vec3d(ONE, ONE, ONE) * wp.dot(wanted, share)) / total
    ray = wp.vec3d(x, y, ONE)
    to_a = volumes[1] * wp.cross(ray, c) + volumes[2] * wp.cross(b, ray)
    to_b = volumes[2] * wp.cross(ray, a) + volumes[0] * wp.cross(c, ray)
    to_c = volumes[0] * wp.cross(ray, b) + volumes[1] * wp.cross(a, ray)
    add_to_corner(gradients, view, faces[face, 0], to_a, deep * share[0])
    add_to_corner(gradients, view, faces[face, 1], to_b, deep * share[1])
    add_to_corner(gradients, view, faces[face, 2], to_c, deep * share[2])


def draw(
    vertices: Tensor,  # (N, V, 3)
    faces: Tensor,  # (F, 3)
    tangents: Tensor,  # (N,)
    resolution: int,
    near: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Z-buffer of camera-space triangles. Arguments, results and gradients as in `_rasterization_torch.draw`."""
    device = vertices.device
    faces = faces.to(torch.int32).contiguous()
    keys = torch.full((len(vertices), resolution, resolution), NO_KEY, dtype=torch.int64, device=device)
    if len(faces):
        inputs = [as_array(vertices, wp.vec3), as_array(faces, wp.int32), as_array(tangents, wp.float32)]
        inputs += [resolution, near, as_array(keys.view(-1), wp.int64)]
        launch(draw_triangles, (len(vertices), len(faces)), inputs, device)
    face_ids = keys.view(torch.int32)[..., 0::2].contiguous()  # the low halves, on little-endian machines
    return face_ids, *locate(vertices, faces, tangents, face_ids)


def locate(
    vertices: Tensor,  # (N, V, 3)
    faces: Tensor,  # (F, 3)
    tangents: Tensor,  # (N,)
    face_ids: Tensor,  # (N, R, R)
) -> tuple[Tensor, Tensor]:
    """Where in its face each pixel's ray hits, for faces that are known: barycentrics and depth, as `draw` has them."""
    return _Locate.apply(vertices, faces.to(torch.int32), tangents, face_ids.contiguous())


class _Locate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices: Tensor, faces: Tensor, tangents: Tensor, face_ids: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(vertices, faces, tangents, face_ids)
        barycentrics = torch.zeros(*face_ids.shape, 3, device=vertices.device)
        depths = torch.full(face_ids.shape, torch.inf, device=vertices.device)
        results = [as_array(barycentrics.view(-1, 3), wp.vec3), as_array(depths.view(-1), wp.float32)]
        inputs = [*_geometry(vertices, faces, tangents, face_ids), *results]
        launch(locate_hits, face_ids.numel(), inputs, vertices.device)
        return barycentrics, depths

    @staticmethod
    def backward(ctx, of_barycentrics: Tensor, of_depths: Tensor):
        vertices, _, _, face_ids = ctx.saved_tensors
        gradients = torch.zeros_like(vertices, memory_format=torch.contiguous_format)
        given = [as_array(of_barycentrics.reshape(-1, 3), wp.vec3), as_array(of_depths.reshape(-1), wp.float32)]
        inputs = [*_geometry(*ctx.saved_tensors), *given, as_array(gradients, wp.vec3)]
        launch(spread_gradients, face_ids.numel(), inputs, vertices.device)
        return gradients, None, None, None


def _geometry(vertices: Tensor, faces: Tensor, tangents: Tensor, face_ids: Tensor) -> list:
    arrays = [as_array(vertices, wp.vec3), as_array(faces, wp.int32), as_array(tangents, wp.float32)]
    return [*arrays, face_ids.shape[-1], as_array(face_ids.view(-1), wp.int32)]
