"""Pictures whose cameras and captions are known: what the picture's pose and its words are learnt from.

The same kind of pictures as the image prompts, framed as Match Picture frames a picture that comes in, each with the
pose that is left in its frame. They are drawn from seeds of their own, so image prompts need not be kept with their
cameras. Knows rendering, framing and files; knows no models.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import astuple, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..preprocessing.placing import frame_of, framed_rgba
from ..priors.picture_pose import FILL, SIZE, Poses, seen_small
from ..rendering.cameras import Cameras
from .boxes import box_of
from .image_prompts import random_camera, random_light
from .objects import ASYMMETRIC, ProceduralObject, random_object
from .prompts import describe
from .render import render
from .runner import run_each, whole_file

log = logging.getLogger(__name__)

TRACED = 2 * SIZE  # rays along a side before the subject is cut out and reduced
ASTRAY = 0.005  # share of its side by which a frame is off
SIDES = 4  # pictures of each object: its box takes three times as long to find as a picture to draw
ALIKE = 1e-4  # world units: distances that are so near are the same


def is_mirrored(item: ProceduralObject) -> bool:
    """Whether an object's left is as its right: its shape, that is; a pattern tells no pose."""
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    return bool((item.sdf(points) - item.sdf(points * torch.tensor([1.0, -1.0, 1.0]))).abs().max() < ALIKE)


def random_frame(rng: random.Random, rgba: np.ndarray) -> tuple[float, float, float]:
    """About the frame that a picture of this subject gets: a soft rim makes it a little larger, or moves it."""
    x, y, side = frame_of(rgba, FILL)
    by = ASTRAY * side
    return x + rng.uniform(-by, by), y + rng.uniform(-by, by), side * (1 + rng.uniform(0, 2 * ASTRAY))


def pose_of(box: tuple[Tensor, Tensor], cameras: Cameras, frame: tuple[float, float, float], pixels: int) -> Poses:
    """The pose of what a frame shows of a picture.

    Args:
        box: Of what it shows, as `box_of`.
        cameras: The one that took it.
        frame: Middle from the left and from the top, and side; pixels.
        pixels: Height and width of the picture.
    """
    place = cameras.c2w[0, :3, 3].double()
    distance = float(place.norm())
    azimuth, elevation = math.atan2(place[1], place[0]), math.asin(place[2] / distance)
    reach = distance * math.tan(math.radians(float(cameras.fovy[0])) / 2)  # world units from the middle to the edge
    x, y, side = (value / pixels for value in frame)
    middle, half = ((2 * x - 1) * reach, (1 - 2 * y) * reach), side * reach
    degrees = (math.degrees(azimuth), math.degrees(elevation))
    numbers = (torch.tensor([value]) for value in (*degrees, middle, half, distance))
    return Poses(*numbers, *(corner[None] for corner in box))


def described(item: ProceduralObject) -> tuple[str, tuple[tuple[float, float, float], ...]]:
    """What is seen of an object, in words, and the two colours that they name, the only one twice.

    A colour that the class's part has of itself is named, too: which part colours go without saying is for who reads
    hues.
    """
    if not item.second and item.part_colour != item.first:
        item = replace(item, second=item.part_colour)
    second = ("pattern" if item.pattern else "second") if item.second else "first"
    return describe(item), (item.rgb("first"), item.rgb(second))


def ensure_posed(folder: Path, shards: int, count: int = 1000, processes: int = 2) -> list[Path]:
    """Files of `count` pictures with their poses, drawn where they are missing.

    Returns:
        `shards` files, each with `pictures` (N, 4, 64, 64) uint8, premultiplied; `azimuth`, `elevation`, `half`,
        `distance` (N,), `middle` (N, 2), `low` and `high` (N, 3) float32; `sided` (N,) bool: the object's four sides
        differ clearly; `mirrored` (N,) bool: its left is as its right; `captions` (N,) text; `colours` (N, 2, 3)
        float32, the captions' colours without light, sRGB in [0, 1], the only one twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"described-{number:03d}.npz" for number in range(shards)]
    missing = [(path, number, count) for number, path in enumerate(paths) if not path.exists()]
    run_each(_draw, missing, processes)
    return paths


def arrays(paths: Sequence[Path], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Some arrays of the files of `ensure_posed`, joined, by name."""
    files = [np.load(path, allow_pickle=False) for path in paths]
    return {name: np.concatenate([file[name] for file in files]) for name in names}


def _draw(path: Path, number: int, count: int) -> None:
    torch.set_num_threads(1)
    rng, frames = random.Random(f"picture cameras {number}"), random.Random(f"picture frames {number}")
    pictures = np.empty((count, 4, SIZE, SIZE), np.uint8)
    poses, sided, mirrored = [], np.zeros(count, bool), np.zeros(count, bool)
    captions, colours = [], np.zeros((count, 2, 3), np.float32)
    for i in range(count):
        if i % SIDES == 0:
            item = random_object(rng)
            box, alike = box_of(item), is_mirrored(item)
        cameras, light = random_camera(rng), random_light(rng)
        traced = render(item, cameras, TRACED, 1, light)[0]  # one ray a pixel, so straight is as premultiplied
        rgba = (traced * 255).round().byte().permute(1, 2, 0).numpy()
        frame = random_frame(frames, rgba)
        cut_out = torch.from_numpy(framed_rgba(rgba, TRACED, frame).copy()).permute(2, 0, 1).float() / 255
        pictures[i] = (seen_small(cut_out) * 255).round().byte().numpy()
        poses.append(pose_of(box, cameras, frame, TRACED))
        sided[i], mirrored[i] = item.kind in ASYMMETRIC, alike
        caption, colours[i] = described(item)
        captions.append(caption)
    columns = zip(*(astuple(pose) for pose in poses), strict=True)
    names = (field.name for field in fields(Poses))
    posed = {name: torch.cat(column).float().numpy() for name, column in zip(names, columns, strict=True)}
    with whole_file(path) as file:
        told = {"sided": sided, "mirrored": mirrored, "captions": np.array(captions), "colours": colours}
        np.savez_compressed(file, pictures=pictures, **told, **posed)
    log.info("drew %s", path.name)
