"""Pictures whose cameras are known: what the picture's pose is learnt from.

The same kind of pictures as the image prompts, recentred as every picture that comes in is, each with the pose that the
recentring left. They are drawn from seeds of their own, so image prompts need not be kept with their cameras. Knows
rendering and files; knows no models.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..priors.picture_pose import FILL, SIZE, Poses
from ..rendering.cameras import Cameras
from ..representations.field import grid_points
from .image_prompts import random_camera, random_light, recentred, subject_box
from .objects import ASYMMETRIC, ProceduralObject, random_object
from .render import render
from .runner import run_each, whole_file

log = logging.getLogger(__name__)

TRACED = 2 * SIZE  # rays along a side before the subject is cut out and reduced
BOXED = 32  # cells a side in which an object's box is first looked for
TIP = 0.005  # world units: how exactly a side of the box is known
_SIDES = [(axis, sign) for axis in range(3) for sign in (-1.0, 1.0)]
_HALVES = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))
ALIKE = 1e-4  # world units: distances that are so near are the same


def box_of(item: ProceduralObject) -> tuple[Tensor, Tensor]:
    """Lowest and highest corner of an object's box within `TIP`, world units, each (3,).

    Each side is searched by halving cells: those that hold some of the object and may reach farther than what is known
    to be inside. A regular grid misses the edge of an eave.
    """
    points = grid_points(BOXED, 1.0).view(-1, 3)
    cell = 2 / (BOXED - 1)
    distances = item.sdf(points)
    touching = distances < cell * math.sqrt(3) / 2  # a distance never grows faster than the way
    sides = [_farthest(item, points[touching], distances[touching], cell, axis, sign) for axis, sign in _SIDES]
    return torch.tensor(sides[::2]), torch.tensor(sides[1::2])


def _farthest(item: ProceduralObject, centres: Tensor, distances: Tensor, cell: float, axis: int, sign: float) -> float:
    """The coordinate of the object's point that lies farthest along an axis, to one side."""
    while True:
        along = sign * centres[:, axis]
        inside = distances < 0
        farthest = float(along[inside].max()) if inside.any() else float(along.min())
        if cell <= TIP:
            return sign * farthest
        near = along + cell / 2 > farthest
        centres = (centres[near][:, None] + _HALVES * cell / 4).reshape(-1, 3)
        cell /= 2
        distances = item.sdf(centres)
        touching = distances < cell * math.sqrt(3) / 2
        centres, distances = centres[touching], distances[touching]


def is_mirrored(item: ProceduralObject) -> bool:
    """Whether an object's left is as its right: its shape, that is; a pattern tells no pose."""
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    return bool((item.sdf(points) - item.sdf(points * torch.tensor([1.0, -1.0, 1.0]))).abs().max() < ALIKE)


def pose_of(item: ProceduralObject, cameras: Cameras, opacity: Tensor) -> Poses:
    """The pose of a picture once its subject is centred.

    Args:
        item: What it shows.
        cameras: The one that took it.
        opacity: What it saw, (H, H) in [0, 1], not empty.
    """
    place = cameras.c2w[0, :3, 3].double()
    distance = float(place.norm())
    azimuth, elevation = math.atan2(place[1], place[0]), math.asin(place[2] / distance)
    reach = distance * math.tan(math.radians(float(cameras.fovy[0])) / 2)  # world units from the middle to the edge
    top, bottom, left, right = subject_box(opacity)
    middle = ((left + right) / len(opacity) - 1) * reach, (1 - (top + bottom) / len(opacity)) * reach
    half = max(right - left, bottom - top) / len(opacity) * reach / FILL
    degrees = (math.degrees(azimuth), math.degrees(elevation))
    numbers = (torch.tensor([value]) for value in (*degrees, middle, half, distance))
    return Poses(*numbers, *(corner[None] for corner in box_of(item)))


def ensure_posed(folder: Path, shards: int, count: int = 1000, processes: int = 2) -> list[Path]:
    """Files of `count` pictures with their poses, drawn where they are missing.

    Returns:
        `shards` files, each with `pictures` (N, 4, 64, 64) uint8, premultiplied; `azimuth`, `elevation`, `half`,
        `distance` (N,), `middle` (N, 2), `low` and `high` (N, 3) float32; `sided` (N,) bool: the object's four sides
        differ clearly; `mirrored` (N,) bool: its left is as its right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"posed-{number:03d}.npz" for number in range(shards)]
    missing = [(path, number, count) for number, path in enumerate(paths) if not path.exists()]
    run_each(_draw, missing, processes)
    return paths


def _draw(path: Path, number: int, count: int) -> None:
    torch.set_num_threads(1)
    rng = random.Random(f"picture cameras {number}")
    pictures = np.empty((count, 4, SIZE, SIZE), np.uint8)
    poses, sided, mirrored = [], np.zeros(count, bool), np.zeros(count, bool)
    for i in range(count):
        item, cameras, light = random_object(rng), random_camera(rng), random_light(rng)
        traced = render(item, cameras, TRACED, 1, light)[0]
        pictures[i] = (recentred(traced, SIZE, FILL) * 255).round().byte().numpy()
        poses.append(pose_of(item, cameras, traced[3]))
        sided[i], mirrored[i] = item.kind in ASYMMETRIC, is_mirrored(item)
    columns = zip(*(astuple(pose) for pose in poses), strict=True)
    names = (field.name for field in fields(Poses))
    arrays = {name: torch.cat(column).float().numpy() for name, column in zip(names, columns, strict=True)}
    with whole_file(path) as file:
        np.savez_compressed(file, pictures=pictures, sided=sided, mirrored=mirrored, **arrays)
    log.info("drew %s", path.name)
