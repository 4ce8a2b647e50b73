"""Rasterisation: which triangle every pixel sees, and where in it; differentiable in the vertices.

Knows visibility and interpolation of vertex attributes, in camera views and in UV space. Knows no shading, textures or
meshes' meaning. One Warp source draws on CPU and CUDA (`_rasterization_warp`, `_interpolation_warp`);
`_rasterization_torch` is their twin. Where the user chose it, nvdiffrast finds the visible faces (`_nvdiffrast`).

    raster = rasterize(vertices, faces, cameras, 256)
    colour = interpolate(raster, faces, colours)
    image = antialias(colour, raster, vertices, faces, cameras)  # antialias.py

Gradients reach the vertices on two ways: through the barycentrics and the depth, where a face stays visible, and
through `antialias`, where an outline moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamlift.rendering import _interpolation_warp, _nvdiffrast, _rasterization_warp
from dreamlift.rendering.cameras import Cameras, view_matrices

NEAR = 1e-2  # world units; objects live in [-1, 1]^3 and cameras outside it

Draw = Callable[[Tensor, Tensor, Tensor, int, float], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Raster:
    """What every pixel sees; row 0 is the top of the image.

    Args:
        face_ids: (N, R, R) int32, -1 where nothing is seen.
        barycentrics: (N, R, R, 3) float32, weights of the face's corners with perspective; 0 where nothing is seen.
        depth: (N, R, R) float32, world units along the camera's axis (not along the ray); inf where nothing is seen.
    """

    face_ids: Tensor
    barycentrics: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """(N, R, R) bool: True where a face is seen."""
        return self.face_ids >= 0


def rasterize(
    vertices: Tensor,  # (V, 3)
    faces: Tensor,  # (F, 3)
    cameras: Cameras,
    resolution: int,
    *,
    near: float = NEAR,
    draw: Draw | None = None,
) -> Raster:
    """Draw a triangle mesh into N square images. Both sides of a triangle are seen.

    Args:
        vertices: World units. (V, 3) float, on the device that draws. A face with a corner that is not finite is not
            drawn.
        faces: Indices into the vertices. (F, 3) integer, same device.
        cameras: N cameras; moved to the vertices' device.
        resolution: Height and width in pixels, at least 1.
        near: Distance along the camera's axis before which nothing is drawn, positive; triangles across it are cut
            there.
        draw: The implementation; None takes the Warp kernels, or nvdiffrast where the user chose it; tests pass the
            torch twin.

    Returns:
        What each pixel centre sees. On equal depth the lowest face wins. Barycentrics and depth are differentiable in
        the vertices; which face is seen is not, see `antialias`.

    Raises:
        ValueError: Shapes, devices or indices disagree.
    """
    _check(vertices, faces, resolution)
    if not near > 0:
        raise ValueError(f"near must be positive, got {near}.")
    seen, tangents = camera_space(vertices, cameras)
    return Raster(*(draw or _chosen_draw(vertices.device))(seen, faces, tangents, resolution, near))


def camera_space(vertices: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Where cameras see points.

    Args:
        vertices: World units. (V, 3) float.
        cameras: N cameras; moved to the vertices' device.

    Returns:
        Points with x right, y up, z forward (positive in front), (N, V, 3) float32, differentiable in the vertices;
        tangents of half the field of view, (N,) float32.

    Computed in double and rounded once, so that every device sees the same float32 numbers.
    """
    cameras = cameras.to(torch.float64).to(vertices.device)
    matrices = view_matrices(cameras)
    matrices = matrices[:, :3] * matrices.new_tensor([1.0, 1.0, -1.0])[:, None]  # OpenGL cameras look along -z
    seen = torch.einsum("nij,vj->nvi", matrices[..., :3], vertices.double()) + matrices[:, None, :, 3]
    if cameras.shift is not None:  # sheared, so that the image's middle lies on the axis
        seen = torch.cat([seen[..., :2] - cameras.shift[:, None] * seen[..., 2:], seen[..., 2:]], dim=-1)
    return seen.float(), torch.tan(torch.deg2rad(cameras.fovy) / 2).float()


def rasterize_uv(
    uvs: Tensor,  # (F, 3, 2)
    resolution: int,
    *,
    draw: Draw = _rasterization_warp.draw,
) -> Raster:
    """Draw faces into texture space: which face owns each texel.

    Args:
        uvs: Per corner, in [0, 1], origin bottom left. (F, 3, 2) float32.
        resolution: Height and width of the texture, texels.
        draw: The implementation; tests pass the torch twin.

    Returns:
        A raster with N = 1; row 0 is the top (v = 1), the barycentrics are affine, depth is 1 where a face is.
        Where charts overlap the lowest face wins.

    Texture space is a camera with a tangent of 1 in front of the plane z = 1.
    """
    if uvs.ndim != 3 or uvs.shape[1:] != (3, 2):
        raise ValueError(f"uvs must be (F, 3, 2), got {tuple(uvs.shape)}: pass one coordinate per face corner.")
    corners = torch.cat([uvs.reshape(-1, 2).float() * 2 - 1, uvs.new_ones(uvs.shape[0] * 3, 1)], -1)
    faces = torch.arange(len(corners), device=uvs.device, dtype=torch.int32).view(-1, 3)
    return Raster(*draw(corners[None], faces, uvs.new_ones(1), resolution, NEAR))


def interpolate(
    raster: Raster,
    faces: Tensor,  # (F, 3)
    attributes: Tensor,  # (V, C) or (F, 3, C)
    *,
    weigh: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = _interpolation_warp.weigh,
) -> Tensor:
    """Attributes at what the pixels see.

    Args:
        raster: From `rasterize` or `rasterize_uv`.
        faces: The faces that were drawn. (F, 3) integer; ignored for attributes per corner.
        attributes: Per vertex (V, C) or per corner (F, 3, C), float; computed in float32.
        weigh: The implementation; tests pass the torch twin.

    Returns:
        (N, R, R, C) of the attributes' type; 0 where nothing is seen. Differentiable in the attributes and, through
        the raster's barycentrics, in the vertices.
    """
    if attributes.ndim == 3:
        faces = torch.arange(attributes.shape[0] * 3, device=attributes.device).view(-1, 3)
    values = attributes.reshape(-1, attributes.shape[-1]).float()
    return weigh(raster.face_ids.int(), raster.barycentrics, faces.int(), values).to(attributes.dtype)


def _chosen_draw(device: torch.device) -> Draw:
    return _nvdiffrast.draw if _nvdiffrast.is_chosen(device) else _rasterization_warp.draw


def _check(vertices: Tensor, faces: Tensor, resolution: int) -> None:
    if vertices.ndim != 2 or vertices.shape[-1] != 3:
        raise ValueError(f"vertices must be (V, 3), got {tuple(vertices.shape)}.")
    if faces.ndim != 2 or faces.shape[-1] != 3:
        raise ValueError(f"faces must be (F, 3), got {tuple(faces.shape)}: triangulate the mesh first.")
    if faces.device != vertices.device:
        raise ValueError(f"faces are on {faces.device}, vertices on {vertices.device}: move one of them.")
    if resolution < 1:
        raise ValueError(f"resolution must be at least 1 pixel, got {resolution}.")
    if len(faces) and (int(faces.min()) < 0 or int(faces.max()) >= len(vertices)):
        raise ValueError(f"faces name vertices {int(faces.min())} to {int(faces.max())} of {len(vertices)}.")
