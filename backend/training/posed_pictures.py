"""Pictures whose cameras are known: what the picture's pose is learnt from.

The same kind of pictures as the image prompts, recentred as every picture that comes in is, each with the pose that the
recentring left. They are drawn from seeds of their own, so image prompts need not be kept with their cameras. Knows
rendering and files; knows no models.
"""

from __future__ import annotations

import logging
import math
import random
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..priors.picture_pose import FILL, SIZE, Poses
from ..rendering.cameras import Cameras
from .image_prompts import random_camera, random_light, recentred, subject_box
from .objects import ASYMMETRIC, random_object
from .render import render
from .runner import run_each

log = logging.getLogger(__name__)

TRACED = 2 * SIZE  # rays along a side before the subject is cut out and reduced


def pose_of(cameras: Cameras, opacity: Tensor) -> Poses:
    """The pose of a picture once its subject is centred.

    Args:
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
    return Poses(*(torch.tensor([value]) for value in (*degrees, middle, half, distance)))


def ensure_posed(folder: Path, shards: int, count: int = 1000, processes: int = 2) -> list[Path]:
    """Files of `count` pictures with their poses, drawn where they are missing.

    Returns:
        `shards` files, each with `pictures` (N, 4, 64, 64) uint8, premultiplied; `azimuth`, `elevation`, `half`,
        `distance` (N,) and `middle` (N, 2) float32; `sided` (N,) bool: the object's four sides differ clearly.
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
    poses, sided = [], np.zeros(count, bool)
    for i in range(count):
        item, cameras, light = random_object(rng), random_camera(rng), random_light(rng)
        traced = render(item, cameras, TRACED, 1, light)[0]
        pictures[i] = (recentred(traced, SIZE, FILL) * 255).round().byte().numpy()
        poses.append(pose_of(cameras, traced[3]))
        sided[i] = item.kind in ASYMMETRIC
    columns = zip(*(astuple(pose) for pose in poses), strict=True)
    names = ("azimuth", "elevation", "middle", "half", "distance")
    arrays = {name: torch.cat(column).float().numpy() for name, column in zip(names, columns, strict=True)}
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        np.savez_compressed(file, pictures=pictures, sided=sided, **arrays)
    partial.rename(path)
    log.info("drew %s", path.name)
