"""Image prompts: one picture of every training object, taken as a user's picture would be, not as the targets are.

The paper takes a front view that was rendered with other settings [systems.md 5.3]: azimuth -90 to 90 degrees, another
lens and another light. The subject is recentred, as every picture that comes in is. Knows shards and rendering; knows
no models.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..rendering.cameras import Cameras, orbit
from .dataset import RESOLUTION
from .objects import ProceduralObject, random_object
from .prompts import describe
from .render import WorldLight, render
from .runner import run_each, whole_file

log = logging.getLogger(__name__)

AZIMUTH, ELEVATION, FOVY = (-90.0, 90.0), (-5.0, 35.0), (20.0, 50.0)  # degrees
FILL = 0.8  # of the square's side that the subject's longer side takes
_REACH = 1.05  # world units that the picture shows from its centre; the recentring undoes it
_TRACED = 2 * RESOLUTION  # rays along a side before the subject is cut out and reduced


def random_camera(rng: random.Random) -> Cameras:
    """A camera as somebody might have taken the picture: in front, any lens."""
    fovy = rng.uniform(*FOVY)
    distance = _REACH / math.sin(math.radians(fovy) / 2)
    return orbit([rng.uniform(*AZIMUTH)], rng.uniform(*ELEVATION), distance, fovy)


def random_light(rng: random.Random) -> WorldLight:
    """A light from the upper half, stronger or weaker than the targets' own."""
    direction = (rng.gauss(0, 1), rng.gauss(0, 1), abs(rng.gauss(0, 1)) + 0.2)
    return WorldLight(direction, rng.uniform(0.60, 0.85), rng.uniform(0.15, 0.45), rng.uniform(0.0, 0.2))


def subject_box(opacity: Tensor) -> tuple[int, int, int, int] | None:
    """Where something is seen in (H, W): top, bottom, left and right, ends exclusive; None where nothing is."""
    rows, columns = (opacity > 0.02).nonzero(as_tuple=True)
    if not len(rows):
        return None
    return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1


def recentred(image: Tensor, size: int, fill: float = FILL) -> Tensor:
    """The subject in the middle of a square.

    Args:
        image: Premultiplied colour and alpha. (4, H, W) float in [0, 1].
        size: Of the square.
        fill: Share of the side that the longer side of the subject's box takes.

    Returns:
        (4, size, size), premultiplied; empty where the picture is.
    """
    square = image.new_zeros(4, size, size)
    found = subject_box(image[3])
    if found is None:
        return square
    top, bottom, left, right = found
    box = image[:, top:bottom, left:right]
    scale = fill * size / max(box.shape[1:])
    height, width = (max(1, round(side * scale)) for side in box.shape[1:])
    small = torch.nn.functional.interpolate(box[None], (height, width), mode="bilinear", antialias=True)[0]
    top, left = (size - height) // 2, (size - width) // 2
    square[:, top : top + height, left : left + width] = small
    return square


def objects_of(seed: int, count: int) -> Iterator[tuple[ProceduralObject, float]]:
    """The objects of a shard again, from its seed, each with the azimuth of its first view: a shard keeps no shapes."""
    rng = random.Random(seed)
    for _ in range(count):
        item, azimuth = random_object(rng), rng.uniform(0, 360)
        rng.random()  # the elevation
        describe(item, rng)
        yield item, azimuth


def prompt_path(shard: Path) -> Path:
    """Where the image prompts of a shard are."""
    return shard.with_name(f"prompts-{shard.stem}.npy")


def render_prompts(shard: Path) -> None:
    """Draw the image prompts of a shard: (N, 4, 64, 64) uint8, premultiplied RGBA; nothing where they are there.

    Raises:
        ValueError: The shard was not made by this version of `random_object`: its objects cannot be drawn again.
    """
    path = prompt_path(shard)
    if path.exists():
        return
    torch.set_num_threads(1)
    with np.load(shard, allow_pickle=False) as data:
        poses = data["poses"]
    number = int(shard.stem.split("-")[-1])
    rng = random.Random(f"image prompts of {number}")
    pictures = np.empty((len(poses), 4, RESOLUTION, RESOLUTION), np.uint8)
    for i, (item, azimuth) in enumerate(objects_of(number, len(poses))):
        if abs(azimuth - poses[i, 0]) > 1e-3:
            raise ValueError(f"{shard} holds other objects than its number draws now; render the shards anew.")
        traced = render(item, random_camera(rng), _TRACED, 1, random_light(rng))[0]
        pictures[i] = (recentred(traced, RESOLUTION) * 255).round().byte().numpy()
    with whole_file(path) as file:
        np.save(file, pictures)
    log.info("rendered %s", path.name)


def ensure_prompts(shards: list[Path], processes: int = 2) -> list[Path]:
    """Image prompts of these shards, drawn where they are missing."""
    missing = [(shard,) for shard in shards if not prompt_path(shard).exists()]
    run_each(render_prompts, missing, processes)
    return [prompt_path(shard) for shard in shards]
