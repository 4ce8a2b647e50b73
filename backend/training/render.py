"""Pictures of procedural objects: sphere tracing with one fixed light, the look that the mini models are trained on.

Knows signed distances and cameras. The light stays with the world, not with the camera: shading then tells the sides of
an object apart, which helps a small model to learn its camera.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..rendering.cameras import Cameras, camera_rays
from ..rendering.shading import WorldLight
from .objects import ProceduralObject

TRAINING_LIGHT = WorldLight()
BOUND = 1.02  # radius of the ball that holds every object
_STEPS, _HIT, _NORMAL_STEP = 30, 4e-3, 2e-3
_TETRAHEDRON = ((1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0))


def shade(albedo: Tensor, normals: Tensor, light: WorldLight = TRAINING_LIGHT) -> Tensor:
    """Colour under a light: albedo (N, 3) in [0, 1], unit normals (N, 3) -> (N, 3) in [0, 1]."""
    return (albedo * light.on(normals)).clamp(0, 1)


@torch.no_grad()
def render(
    item: ProceduralObject,
    cameras: Cameras,
    resolution: int = 64,
    supersample: int = 2,
    light: WorldLight = TRAINING_LIGHT,
) -> Tensor:
    """Trace an object.

    Args:
        item: What to draw.
        cameras: N cameras around it.
        resolution: Height and width of the pictures.
        supersample: Rays per pixel along each side; they are averaged.
        light: The one that the targets of training are lit by, or another.

    Returns:
        (N, 4, resolution, resolution) float32 in [0, 1]: colour premultiplied by alpha, and alpha.
    """
    side = resolution * supersample
    origins, directions = (t.reshape(-1, 3) for t in camera_rays(cameras, side))
    hit, points = _trace(item, origins, directions)
    image = torch.zeros(origins.shape[0], 4)
    image[hit, :3] = shade(item.color(points), _normals(item, points), light)
    image[hit, 3] = 1
    image = image.view(len(cameras), side, side, 4).permute(0, 3, 1, 2)
    return torch.nn.functional.avg_pool2d(image, supersample) if supersample > 1 else image.contiguous()


def _trace(item: ProceduralObject, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Ray indices that hit, and where."""
    middle = -(origins * directions).sum(-1)
    room = middle**2 - (origins * origins).sum(-1) + BOUND**2
    index = (room > 0).nonzero()[:, 0]
    depth, last = middle[index] - room[index].sqrt(), middle[index] + room[index].sqrt()
    o, d = origins[index].unbind(1), directions[index].unbind(1)
    hits, depths = [], []
    for step in range(_STEPS):
        distance = item.distance(tuple(a + depth * b for a, b in zip(o, d, strict=True)))
        depth = depth + distance
        if step % 4 == 3 or step == _STEPS - 1:  # dropping finished rays costs a copy, so not at every step
            done = distance < _HIT
            hits.append(index[done])
            depths.append(depth[done])
            going = ~done & (depth < last)
            index, depth, last = index[going], depth[going], last[going]
            o, d = tuple(a[going] for a in o), tuple(a[going] for a in d)
            if index.numel() == 0:
                break
    hit, depth = torch.cat(hits), torch.cat(depths)
    return hit, origins[hit] + depth[:, None] * directions[hit]


def _normals(item: ProceduralObject, points: Tensor) -> Tensor:
    normals = torch.zeros_like(points)
    for corner in _TETRAHEDRON:
        offset = torch.tensor(corner)
        normals += item.sdf(points + offset * _NORMAL_STEP)[:, None] * offset
    return torch.nn.functional.normalize(normals, dim=-1)


def over(image: Tensor, background: Tensor) -> Tensor:
    """Composite (N, 4, H, W) premultiplied over a background that broadcasts to (N, 3, H, W)."""
    return image[:, :3] + (1 - image[:, 3:]) * background
