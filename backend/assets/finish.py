"""The last stage of every pipeline: a surface and its colours become a finished asset.

Knows the order of the steps and their settings; each step is a module beside this one. Knows no pipelines or files.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from dreamlift.assets.bake import ColorOf, baked
from dreamlift.assets.cleanup import smoothed
from dreamlift.assets.decimate import decimated, remeshed
from dreamlift.assets.topology import Surface, is_one_solid
from dreamlift.assets.unwrap import unwrapped
from dreamlift.pipelines.context import Asset, Provenance

logger = logging.getLogger(__name__)

Refine = Callable[[Surface, np.ndarray, np.ndarray], np.ndarray]
"""The finished mesh, its UVs (F, 3, 2) and its baked texture (S, S, 3) uint8 to a better texture of that shape."""


@dataclass(frozen=True)
class FinishSettings:
    """How the asset is made.

    Args:
        triangles: Target number of faces, at least 64; smaller meshes stay as they are.
        texture_size: Texels a side, a power of two from 64 to 8192.
        size_m: Longest side of the bounding box, metres.
        smooth: Pairs of Taubin steps before decimation; 0 keeps the grid's own surface.
        roughness: Of the material, 0 to 1.
        metallic: Of the material, 0 to 1.
        unwrap_seconds: Processor time that xatlas may take before the box projection takes over.
    """

    triangles: int = 8000
    texture_size: int = 1024
    size_m: float = 1.0
    smooth: int = 2
    roughness: float = 0.7
    metallic: float = 0.0
    unwrap_seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.texture_size not in {2**k for k in range(6, 14)}:
            raise ValueError(f"texture_size must be a power of two from 64 to 8192, got {self.texture_size}.")
        if not self.size_m > 0:
            raise ValueError(f"size_m must be positive, got {self.size_m}: it is the longest side in metres.")


def finish(
    surface: Surface,
    color_of: ColorOf,
    settings: FinishSettings,
    provenance: Provenance,
    refine: Refine | None = None,
) -> Asset:
    """Smooth, decimate, unwrap, bake, refine, and put the object on the ground at its real size.

    Args:
        surface: In the field's coordinates, inside [-1, 1]^3; from `extract_surface`. A mesh that is not one watertight
            solid is remeshed first.
        color_of: sRGB of the field at points of the surface; see `bake.ColorOf`.
        settings: Sizes and targets.
        provenance: Travels with the asset.
        refine: Makes the texture better; None keeps the baked one.

    Returns:
        One watertight solid with a texture, metres, z up, front +x, origin at the centre of its base.
    """
    if not is_one_solid(surface.vertices, surface.faces):
        logger.warning("the surface is not one watertight solid: remeshing it")
        surface = remeshed(surface)
    with _timed("smooth"):
        surface = smoothed(surface, settings.smooth)
    with _timed("decimate"):
        surface = decimated(surface, settings.triangles)
    with _timed("unwrap"):
        unwrapping = unwrapped(surface, settings.texture_size, time_limit=settings.unwrap_seconds)
    with _timed("bake"):
        texture = baked(surface, unwrapping.uvs, color_of, settings.texture_size)
    if refine is not None:
        with _timed("refine"):
            texture = refine(surface, unwrapping.uvs, texture)
    return Asset(
        vertices=on_the_ground(surface.vertices, settings.size_m),
        faces=surface.faces.astype(np.int32),
        uvs=unwrapping.uvs,
        texture=texture,
        provenance=provenance,
        roughness=settings.roughness,
        metallic=settings.metallic,
    )


def on_the_ground(vertices: np.ndarray, size: float) -> np.ndarray:
    """Move and scale so that the bounding box stands on z = 0, centred on the z axis, its longest side `size`."""
    low, high = vertices.min(axis=0).astype(np.float64), vertices.max(axis=0).astype(np.float64)
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    scale = size / max(float((high - low).max()), 1e-9)
    return ((vertices - origin) * scale).astype(np.float32)


@contextmanager
def _timed(step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    logger.info("finish: %s took %.2f s", step, time.perf_counter() - start)
