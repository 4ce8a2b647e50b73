"""How well subjects are cut out without any weights: IoU with the truth on synthetic photos, a table and a sheet.

Procedural objects are traced with a random camera and light, laid at a random place and size over six kinds of
background with a soft shadow, blurred, given a sensor's noise and saved as JPEG. "cluttered" has other things in the
frame, which only a mask or a matting model can settle; it is in the table so that nobody is surprised.

    OMP_NUM_THREADS=1 python benchmarks/cutout.py [--photos 8] [--sheet docs/pictures/cut-outs.png] [--size 640]
"""

from __future__ import annotations

import argparse
import io
import json
import math
import platform
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from dreamlift.pipelines.context import RequestError
from dreamlift.preprocessing.sheet import on_chequers
from dreamlift.preprocessing.subject import Subject, subject
from dreamlift.rendering.cameras import orbit
from dreamlift.training.objects import COLOURS, random_object
from dreamlift.training.render import WorldLight, render

KINDS = ("plain", "gradient", "noisy", "textured", "two-tone", "cluttered")
TRACED = 200  # pixels of the object's own square


@dataclass(frozen=True)
class Photo:
    """One synthetic photo: its file, the true opacity (H, W) in [0, 1], and its background's kind."""

    data: bytes
    truth: np.ndarray
    kind: str


def thing(rng: random.Random, side: int) -> np.ndarray:
    """An object from somewhere in front: (side, side, 4) premultiplied, in [0, 1]."""
    light = WorldLight((rng.gauss(0, 1), rng.gauss(0, 1), 1.0), rng.uniform(0.55, 0.8), rng.uniform(0.2, 0.5))
    camera = orbit([rng.uniform(-90, 90)], rng.uniform(0, 30), 1.05 / math.sin(math.radians(17.5)), 35.0)
    traced = render(random_object(rng), camera, TRACED, 2, light)[0]
    scaled = torch.nn.functional.interpolate(traced[None], (side, side), mode="bilinear", antialias=True)[0]
    return scaled.permute(1, 2, 0).numpy()


def background(kind: str, rng: random.Random, height: int, width: int) -> np.ndarray:
    """(height, width, 3) in [0, 1]."""
    noise = np.random.default_rng(rng.randrange(2**32))
    base = np.array([rng.uniform(0.25, 0.95)] * 3) + noise.uniform(-0.08, 0.08, 3)
    other = np.clip(base + rng.choice((-1, 1)) * rng.uniform(0.15, 0.3) + noise.uniform(-0.05, 0.05, 3), 0.05, 1)
    y, x = np.mgrid[0:height, 0:width] / max(height, width) - 0.5
    turn = rng.uniform(0, 2 * math.pi)
    along = np.clip(0.5 + x * math.cos(turn) + y * math.sin(turn), 0, 1)[..., None]
    if kind == "plain":
        picture = np.broadcast_to(base, (height, width, 3))
    elif kind == "gradient":
        vignette = 1 - rng.uniform(0, 0.3) * (x**2 + y**2)[..., None] * 2
        picture = (base * along + other * (1 - along)) * vignette
    elif kind == "noisy":
        picture = base + noise.normal(0, rng.uniform(0.03, 0.09), (height, width, 3))
    elif kind == "textured":  # cloth, wood or concrete: smooth noise at two scales, or rings
        soft = ndimage.gaussian_filter(noise.normal(0, 1, (height, width)), (rng.uniform(1, 3), rng.uniform(3, 14)))
        wide = ndimage.gaussian_filter(noise.normal(0, 1, (height, width)), 20)
        waves = soft / soft.std() * 0.6 + wide / wide.std() * 0.4
        picture = base + (other - base) * (0.5 + 0.4 * waves[..., None])
    elif kind == "two-tone":  # a wall and a table
        horizon = rng.uniform(0.0, 0.3) + 0.1 * x * rng.uniform(-1, 1)
        edge = np.clip((y - horizon) * 60 + 0.5, 0, 1)[..., None]
        picture = base * (1 - edge) + other * edge
    else:
        picture = np.array(background("two-tone", rng, height, width))
        for _ in range(rng.randrange(4, 9)):  # boxes and books behind it
            h, w = int(height * rng.uniform(0.1, 0.35)), int(width * rng.uniform(0.06, 0.3))
            top, left = rng.randrange(height - h), rng.randrange(width - w)
            picture[top : top + h, left : left + w] = COLOURS[rng.choice(list(COLOURS))]
    return np.clip(picture, 0, 1)


def photo(kind: str, seed: int, size: int = 640) -> Photo:
    """A photo that follows from its seed.

    Args:
        kind: One of `KINDS`.
        seed: Of everything in it.
        size: Longer side, pixels.
    """
    rng = random.Random(seed)
    width, height = rng.choice(((size, size), (size, size * 3 // 4), (size * 3 // 4, size)))
    side = int(min(width, height) * rng.uniform(0.55, 0.95))
    image = thing(rng, side)
    top = rng.randrange(int((height - side) * 0.5), height - side + 1)
    left = rng.randrange(width - side + 1)
    layer = np.zeros((height, width, 4))
    layer[top : top + side, left : left + side] = image
    alpha = layer[..., 3:]
    picture = background(kind, rng, height, width) * (1 - shadow(alpha[..., 0], rng)[..., None])
    picture = layer[..., :3] + (1 - alpha) * picture
    picture = ndimage.gaussian_filter(picture, (0.6, 0.6, 0))
    picture += np.random.default_rng(seed).normal(0, rng.uniform(0.002, 0.012), picture.shape)
    file = io.BytesIO()
    Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8)).save(file, "JPEG", quality=88)
    return Photo(file.getvalue(), alpha[..., 0], kind)


def shadow(alpha: np.ndarray, rng: random.Random) -> np.ndarray:
    """What a window leaves on the table below a thing: (H, W) share of the light that is missing."""
    rows, columns = np.nonzero(alpha > 0.5)
    bottom, middle = np.quantile(rows, 0.98), columns.mean()
    wide = (columns.max() - columns.min()) * rng.uniform(0.35, 0.6) + 1
    y, x = np.mgrid[0 : alpha.shape[0], 0 : alpha.shape[1]]
    flat = wide * rng.uniform(0.15, 0.3)
    reach = ((x - middle - wide * rng.uniform(-0.4, 0.4)) / wide) ** 2 + ((y - bottom) / flat) ** 2
    return rng.uniform(0.0, 0.35) * np.exp(-reach * 1.5)


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Of two opacities, cut at one half."""
    a, b = found > 0.5, truth > 0.5
    return float((a & b).sum() / max((a | b).sum(), 1))


@dataclass(frozen=True)
class Outcome:
    """What became of one photo: its IoU, or the error's code; by which method; seconds."""

    photo: Photo
    score: float | None
    method: str
    seconds: float
    found: Subject | None


def measure(one: Photo) -> Outcome:
    """Cut one photo out and compare."""
    started = time.perf_counter()
    try:
        found = subject(one.data)
    except RequestError as error:
        return Outcome(one, None, error.code, time.perf_counter() - started, None)
    seconds = time.perf_counter() - started
    return Outcome(one, iou(found.rgba[..., 3] / 255, one.truth), found.method, seconds, found)


def table(outcomes: list[Outcome]) -> str:
    """One row a kind of background, as markdown."""
    lines = [
        "| background | photos | median IoU | worst IoU | at least 0.9 | by plane | by grabcut | refused | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in (*KINDS, "all but cluttered"):
        wanted = {kind} if kind in KINDS else set(KINDS[:-1])
        rows = [one for one in outcomes if one.photo.kind in wanted]
        scores = sorted(one.score for one in rows if one.score is not None)
        refused = [one.method for one in rows if one.score is None]
        by = [sum(one.method == method for one in rows) for method in ("plane", "grabcut")]
        good = sum(score >= 0.9 for score in scores)
        shown = (f"{np.median(scores):.3f}", f"{scores[0]:.3f}") if scores else ("", "")
        seconds = np.median([one.seconds for one in rows])
        lines.append(
            f"| {kind} | {len(rows)} | {shown[0]} | {shown[1]} | {good} | {by[0]} | {by[1]} "
            f"| {len(refused)} | {seconds:.2f} |"
        )
    return "\n".join(lines)


def sheet(outcomes: list[Outcome], columns: int, tile: int = 150) -> Image.Image:
    """Photos above what was cut out of them; a red field where the picture was refused."""
    rows = []
    for kind in KINDS:
        chosen = [one for one in outcomes if one.photo.kind == kind][:columns]
        photos = [Image.open(io.BytesIO(one.photo.data)).convert("RGBA") for one in chosen]
        rows.append(np.hstack([on_chequers(np.asarray(image), tile) for image in photos]))
        rows.append(np.hstack([on_chequers(cut_shown(one), tile) for one in chosen]))
    return Image.fromarray(np.vstack(rows))


def cut_shown(outcome: Outcome) -> np.ndarray:
    """The cut-out, or red."""
    if outcome.found is not None:
        return outcome.found.rgba
    return np.full((*outcome.photo.truth.shape, 4), (200, 30, 30, 255), np.uint8)


def main() -> None:
    """Measure and print; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=8, help="of every kind of background")
    parser.add_argument("--size", type=int, default=640, help="longer side of a photo")
    parser.add_argument("--seed", type=int, default=0, help="of the first photo")
    parser.add_argument("--sheet", type=Path, help="also write a picture of photos and cut-outs")
    args = parser.parse_args()
    outcomes = []
    for number, kind in enumerate(KINDS):
        for index in range(args.photos):
            one = measure(photo(kind, args.seed + 1000 * number + index, args.size))
            outcomes.append(one)
            score = "" if one.score is None else f"{one.score:.3f}"
            print(f"{kind:9} {index} {one.method:16} {score} {one.seconds:.2f} s")
    print(table(outcomes))
    if args.sheet:
        sheet(outcomes, min(args.photos, 8)).save(args.sheet, optimize=True)
    scores = [one.score or 0.0 for one in outcomes if one.photo.kind != KINDS[-1]]
    mean = round(float(np.mean(scores)), 4)
    print(json.dumps({"photos": len(outcomes), "mean_iou_uncluttered": mean, "machine": platform.machine()}))


if __name__ == "__main__":
    main()
