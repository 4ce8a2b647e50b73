"""Solids that metrics compare: generated assets and true objects, brought to one convention.

The convention is that of finished assets: bounding box on the ground, centred on the z axis, longest side 1, front +x.
Knows assets and procedural objects. Knows no metric.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreamlift.assets.contact_sheet import sample_texture
from dreamlift.assets.finish import on_the_ground
from dreamlift.assets.surface import extract_surface
from dreamlift.assets.voxels import occupancy
from dreamlift.pipelines.context import Asset
from dreamlift.rendering.cameras import Cameras
from dreamlift.rendering.rasterization import Raster, interpolate
from dreamlift.training.boxes import box_of
from dreamlift.training.objects import ProceduralObject

TRUTH_GRID = 160  # samples a side of the true object's surface: a cell is 0.013 of the world's 2 units
VOLUME_GRID = 72
MARGIN = 0.06  # room around the unit box on the volume grid
VOLUME_LOW = (-0.5 - MARGIN, -0.5 - MARGIN, -MARGIN)
VOLUME_HIGH = (0.5 + MARGIN, 0.5 + MARGIN, 1.0 + MARGIN)


@dataclass(frozen=True)
class Model:
    """A coloured solid in the convention above.

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3) int32.
        albedo: Gives the sRGB of what a raster sees, (P, 3) for its P covered pixels in order.
        inside: (R, R, R) bool on the grid from `VOLUME_LOW` to `VOLUME_HIGH`, indexed [x, y, z].
    """

    vertices: np.ndarray
    faces: np.ndarray
    albedo: Callable[[Raster], Tensor]
    inside: np.ndarray


def model_of_asset(asset: Asset) -> Model:
    """The asset as its file shows it: texture and all. Its size in metres is undone."""
    vertices = on_the_ground(asset.vertices, 1.0)
    faces, uvs = torch.from_numpy(np.ascontiguousarray(asset.faces)), torch.from_numpy(np.ascontiguousarray(asset.uvs))

    def albedo(raster: Raster) -> Tensor:
        coordinates = interpolate(raster, faces, uvs)[raster.mask].numpy()
        return torch.from_numpy(sample_texture(asset.texture, coordinates).astype(np.float32))

    inside = occupancy(vertices, asset.faces, VOLUME_GRID, VOLUME_LOW, VOLUME_HIGH)
    return Model(vertices, asset.faces, albedo, inside)


def key_of(item: ProceduralObject) -> tuple:
    """What identifies a mean object; hashable, for caches."""
    return (item.kind, item.first, item.second, item.pattern, item.stacked)


def model_of_truth(key: tuple) -> Model:
    """The true object of a prompt, by `key_of`: mean proportions, colours without tints."""
    kind, first, second, pattern, stacked = key
    return model_of_object(ProceduralObject(kind, first, second, pattern, stacked))


def model_of_object(item: ProceduralObject) -> Model:
    """A procedural object, its surface from its signed distance, its volume asked of the distance itself."""
    shape = _shape_of(item.kind, item.stacked, item.proportions)
    faces = torch.from_numpy(shape.faces)

    def albedo(raster: Raster) -> Tensor:
        return item.color(interpolate(raster, faces, shape.original)[raster.mask])

    return Model(shape.vertices, shape.faces, albedo, shape.inside)


def camera_on_truth(cameras: Cameras, item: ProceduralObject) -> Cameras:
    """Cameras given in an object's own coordinates, so that they see the same of it in the convention above."""
    shape = _shape_of(item.kind, item.stacked, item.proportions)
    c2w = cameras.c2w.clone()
    c2w[:, :3, 3] = (c2w[:, :3, 3] - shape.shift) / shape.scale
    return Cameras(c2w, cameras.fovy)


@dataclass(frozen=True)
class _Shape:
    """What objects of all colours share; `original` are the vertices in the object's own coordinates.

    Those are `scale` times the convention's, plus `shift`.
    """

    vertices: np.ndarray
    faces: np.ndarray
    original: Tensor
    inside: np.ndarray
    scale: float
    shift: Tensor


@functools.lru_cache(maxsize=64)
def _shape_of(kind: str, stacked: tuple[str, str] | None, proportions: tuple[float, ...]) -> _Shape:
    item = ProceduralObject(kind, "red", "blue", stacked=stacked, proportions=proportions)
    surface = extract_surface(-item.sdf(_grid((-1.0,) * 3, (1.0,) * 3, TRUTH_GRID)).numpy())
    original = torch.from_numpy(surface.vertices)
    # Not the mesh's box alone: a grid cuts off the tips of eaves and cones, which made whole houses 1.7 % too large.
    low, high = box_of(item)
    low, high = torch.minimum(low, original.amin(0)), torch.maximum(high, original.amax(0))
    scale = float((high - low).max())
    shift = torch.stack([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    vertices = ((original - shift) / scale).numpy()
    inside = item.sdf(_grid(VOLUME_LOW, VOLUME_HIGH, VOLUME_GRID) * scale + shift).numpy() < 0
    return _Shape(vertices, surface.faces, original, inside, scale, shift)


def _grid(low: tuple[float, ...], high: tuple[float, ...], count: int) -> Tensor:
    axes = [torch.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
