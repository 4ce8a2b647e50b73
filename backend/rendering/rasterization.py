"""Rasterisation: which triangle every pixel sees, and where in it.

Knows visibility and interpolation of vertex attributes, in camera views and in UV space. Knows no shading, textures or
meshes' meaning. One Warp source draws on CPU and CUDA (`_rasterization_warp`); `_rasterization_torch` is its twin.
Visibility is not differentiable; `interpolate` is, in the attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamlift.rendering import _rasterization_warp
from dreamlift.rendering.cameras import Cameras, view_matrices

NEAR = 1e-2  # world units; objects live in [-1, 1]^3 and cameras outside it


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
    draw=_rasterization_warp.draw,
) -> Raster:
    """Draw a triangle mesh into N square images. Both sides of a triangle are seen.

    Args:
        vertices: World units. (V, 3) float32, on the device that draws.
        faces: Indices into the vertices. (F, 3) integer, same device.
        cameras: N cameras; moved to the vertices' device.
        resolution: Height and width in pixels, at least 1.
        near: Distance along the camera's axis before which nothing is drawn; triangles across it are cut there.
        draw: The implementation; tests pass the torch twin.

    Returns:
        What each pixel centre sees. On equal depth the lowest face wins.

    Raises:
        ValueError: Shapes, devices or indices disagree.
    """
    _check(vertices, faces, resolution)
    cameras = cameras.to(vertices.device)
    matrices = view_matrices(cameras)
    seen = torch.einsum("nij,vj->nvi", matrices[:, :3, :3], vertices.detach().float()) + matrices[:, None, :3, 3]
    seen = seen * seen.new_tensor([1.0, 1.0, -1.0])  # OpenGL cameras look along -z; the kernels want depth positive
    tangents = torch.tan(torch.deg2rad(cameras.fovy) / 2)
    return Raster(*draw(seen, faces, tangents, resolution, near))


def rasterize_uv(
    uvs: Tensor,  # (F, 3, 2)
    resolution: int,
    *,
    draw=_rasterization_warp.draw,
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
) -> Tensor:
    """Attributes at what the pixels see.

    Args:
        raster: From `rasterize` or `rasterize_uv`.
        faces: The faces that were drawn. (F, 3) integer; ignored for attributes per corner.
        attributes: Per vertex (V, C) or per corner (F, 3, C), float.

    Returns:
        (N, R, R, C); 0 where nothing is seen. Differentiable in the attributes.
    """
    corners = attributes if attributes.ndim == 3 else None
    result = attributes.new_zeros(*raster.face_ids.shape, attributes.shape[-1])
    mask = raster.mask
    ids = raster.face_ids[mask].long()
    values = corners[ids] if corners is not None else attributes[faces.long()[ids]]
    result[mask] = (values * raster.barycentrics[mask][..., None].to(values.dtype)).sum(-2)
    return result


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
