"""nvdiffrast in the place of our own kernels, on CUDA, for whoever chose it with `DREAMLIFT_RASTERIZER=nvdiffrast`.

Knows nvdiffrast's conventions: clip space, rows from the bottom, face ids from 1. It is never installed or imported
unasked: its licence forbids commercial use (docs/licences.md). Visibility and antialiasing are its own; barycentrics,
depth and their gradients stay ours, so that everything else sees no difference.
"""

from __future__ import annotations

import functools
import importlib
import os
from types import ModuleType

import torch
from torch import Tensor

from . import _rasterization_warp

NEAR = 1e-2  # antialiasing looks at x, y and w alone
VARIABLE = "DREAMLIFT_RASTERIZER"
CHOICES = ("", "warp", "nvdiffrast")


def is_chosen(device: torch.device) -> bool:
    """Whether the environment asks for nvdiffrast and the device is one that it can use.

    Raises:
        ValueError: The variable names something else.
    """
    choice = os.environ.get(VARIABLE, "").strip().lower()
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE} is {choice!r}: set it to warp (the default) or nvdiffrast.")
    return choice == "nvdiffrast" and device.type == "cuda"


def load() -> ModuleType:
    """nvdiffrast.torch.

    Raises:
        ImportError: It is not installed or does not load.
    """
    try:
        return importlib.import_module("nvdiffrast.torch")
    except ImportError as error:
        remedy = "Install it if its licence allows your use (docs/licences.md), or unset the variable."
        raise ImportError(f"{VARIABLE}=nvdiffrast, but it cannot be imported: {error}. {remedy}") from error


def draw(
    vertices: Tensor,  # (N, V, 3)
    faces: Tensor,  # (F, 3)
    tangents: Tensor,  # (N,)
    resolution: int,
    near: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Z-buffer of camera-space triangles. Arguments, results and gradients as in `_rasterization_torch.draw`.

    nvdiffrast decides by its own rounding which of two faces owns a pixel centre on their edge.
    """
    clip = _clip_space(vertices.detach(), tangents, near)
    raster, _ = load().rasterize(_context(vertices.device), clip, _triangles(faces), (resolution, resolution))
    face_ids = raster[..., 3].flip(1).int() - 1
    return face_ids, *_rasterization_warp.locate(vertices, faces, tangents, face_ids)


def antialias(
    colour: Tensor,  # (N, R, R, C)
    barycentrics: Tensor,  # (N, R, R, 3)
    visible: tuple[Tensor, Tensor],
    vertices: Tensor,  # (N, V, 3)
    faces: Tensor,  # (F, 3)
    tangents: Tensor,  # (N,)
) -> Tensor:
    """nvdiffrast's antialiasing of a picture.

    Args:
        colour: (N, R, R, C) float32.
        barycentrics: Of the raster. (N, R, R, 3).
        visible: Its face ids (N, R, R) int32 and depth (N, R, R) float32.
        vertices: Camera space, x right, y up, z forward. (N, V, 3) float32.
        faces: (F, 3) integer.
        tangents: Of half the field of view. (N,) float32.

    Returns:
        (N, R, R, C), differentiable in the colour and the vertices.
    """
    face_ids, depth = visible
    seen = face_ids >= 0
    over_w = torch.where(seen, 1 - 1 / depth, 1.0)  # any value that grows with the depth: only its order matters
    shares = barycentrics.detach() * seen[..., None]
    raster = torch.cat([shares[..., :2], torch.stack([over_w, face_ids + 1.0], -1)], -1)
    clip = _clip_space(vertices, tangents, NEAR)
    flipped = load().antialias(colour.flip(1).contiguous(), raster.flip(1).contiguous(), clip, _triangles(faces))
    return flipped.flip(1)


def _clip_space(vertices: Tensor, tangents: Tensor, near: float) -> Tensor:
    """(N, V, 4) OpenGL clip space; the far plane lies behind everything."""
    x, y, z = vertices.unbind(-1)
    far = max(2 * float(z.detach().max()), 2 * near)
    depth = ((far + near) * z - 2 * far * near) / (far - near)
    return torch.stack([x / tangents[:, None], y / tangents[:, None], depth, z], -1)


def _triangles(faces: Tensor) -> Tensor:
    return faces.to(torch.int32).contiguous()


@functools.cache
def _context(device: torch.device):
    return load().RasterizeCudaContext(device=device)
