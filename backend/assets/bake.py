"""From a colour field to a texture.

Knows UVs, the texels they cover, a function of position, and how to take a known light off. Knows no fields or files.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from dreamlift.assets.normals import corner_normals
from dreamlift.assets.topology import Surface
from dreamlift.rendering.rasterization import interpolate, rasterize_uv
from dreamlift.rendering.shading import WorldLight

ColorOf = Callable[[Tensor], Tensor]
"""Points (P, 3) float32 in [-1, 1]^3, on the CPU, to sRGB colours (P, 3) float in [0, 1], on any device."""

CHUNK = 1 << 17  # points asked for at once: bounds the field's memory, large enough to keep it busy


def baked(surface: Surface, uvs: np.ndarray, color_of: ColorOf, size: int) -> np.ndarray:
    """Ask the field for the colour of every texel that a face owns, and spread the charts' edges over the rest.

    Args:
        surface: Mesh in the field's coordinates.
        uvs: (F, 3, 2) float32 in [0, 1], origin bottom left.
        color_of: See `ColorOf`.
        size: Texels a side.

    Returns:
        (size, size, 3) uint8 sRGB; row 0 is the top (v = 1). Texels of no face have the colour of the nearest that has
        one, so that filtering and mipmaps never mix in a background.
    """
    raster = rasterize_uv(torch.from_numpy(np.ascontiguousarray(uvs)), size)
    corners = torch.from_numpy(surface.vertices[surface.faces])
    faces = torch.from_numpy(surface.faces)
    mask = raster.mask[0].numpy()
    points = interpolate(raster, faces, corners)[0][raster.mask[0]]
    texture = np.full((size, size, 3), 128, np.uint8)
    if not len(points):
        return texture
    texture[mask] = _as_bytes(_colors(points, color_of))
    return padded(texture, mask)


def _colors(points: Tensor, color_of: ColorOf) -> np.ndarray:
    with torch.no_grad():
        chunks = [color_of(chunk).detach().float().cpu() for chunk in points.split(CHUNK)]
    colors = torch.cat(chunks)
    if colors.shape != points.shape:
        raise ValueError(f"color_of gave {tuple(colors.shape)} for {tuple(points.shape)} points: it must give (P, 3).")
    return colors.numpy()


def _as_bytes(colors: np.ndarray) -> np.ndarray:
    return np.round(np.clip(np.nan_to_num(colors), 0.0, 1.0) * 255).astype(np.uint8)


def without_light(surface: Surface, uvs: np.ndarray, texture: np.ndarray, light: WorldLight) -> np.ndarray:
    """Take off a light that is painted into a texture, so that the lights of a scene do not add to it.

    Args:
        surface: Mesh in the coordinates that the light is in.
        uvs: (F, 3, 2) float32 in [0, 1].
        texture: Albedo times the light. (S, S, 3) uint8 sRGB, multiplied as the numbers stand.
        light: Must be brighter than 0 on every side.

    Returns:
        (S, S, 3) uint8, padded; what was brighter than white would be is white.
    """
    mask, brightness = _light_on(surface, uvs, texture.shape[0], light)
    plain = texture.copy()
    plain[mask] = _as_bytes(texture[mask] / 255 / brightness)
    return padded(plain, mask)


def with_light(surface: Surface, uvs: np.ndarray, texture: np.ndarray, light: WorldLight) -> np.ndarray:
    """Paint a light onto a texture, the inverse of `without_light`; arguments and result as there."""
    mask, brightness = _light_on(surface, uvs, texture.shape[0], light)
    painted = texture.copy()
    painted[mask] = _as_bytes(texture[mask] / 255 * brightness)
    return padded(painted, mask)


def _light_on(surface: Surface, uvs: np.ndarray, size: int, light: WorldLight) -> tuple[np.ndarray, np.ndarray]:
    """Which texels the mesh owns (S, S), and how brightly they are lit (P, 1)."""
    raster = rasterize_uv(torch.from_numpy(np.ascontiguousarray(uvs)), size)
    normals = torch.from_numpy(corner_normals(surface.vertices, surface.faces))
    mask = raster.mask[0]
    towards = interpolate(raster, torch.from_numpy(surface.faces), normals)[0][mask]
    return mask.numpy(), light.on(torch.nn.functional.normalize(towards, dim=-1)).numpy()


def padded(texture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill the texels outside the mask with the nearest one inside. (S, S, 3) uint8 in and out."""
    if mask.all() or not mask.any():
        return texture
    rows, columns = ndimage.distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return texture[rows, columns]
