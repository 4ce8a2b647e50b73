"""Sets of four orthogonal views of procedural objects, rendered once and kept as plain NumPy shards.

A shard is a folder-free `.npz` without pickles: views (N, 4, 4, 64, 64) uint8 premultiplied RGBA, poses (N, 2) float32
(azimuth of the first view, elevation; degrees), meta: one JSON line an object (prompt, class, colours).
Knows objects and rendering; knows no models.
"""

from __future__ import annotations

import json
import logging
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..rendering.cameras import Cameras, orbit, orthogonal_views
from .objects import ProceduralObject, random_object
from .prompts import describe
from .render import render
from .runner import run_each, whole_file

log = logging.getLogger(__name__)

VIEWS = 4
RESOLUTION = 64
FOVY = 40.0  # degrees
DISTANCE = 2.7  # world units
ELEVATION = (-25.0, 45.0)
"""Degrees. MVDream's own range is 0 to 30 [systems.md 6.3], which shows a prior no underside: what hangs below a rim is
then hidden from every camera, and distillation leaves the belly of its starting ball under cones, cubes and tables.
"""


@dataclass(frozen=True)
class ViewSets:
    """Rendered objects.

    Args:
        views: (N, 4, 4, 64, 64) uint8, premultiplied RGBA.
        poses: (N, 2) float32, degrees: azimuth of the first view, elevation.
        meta: N dictionaries with "prompt", "kind" and "first".
    """

    views: Tensor
    poses: Tensor
    meta: list[dict]

    def __len__(self) -> int:
        return len(self.meta)

    def cameras(self, index: Tensor, turn: float = 0.0) -> Cameras:
        """Cameras of the sets at `index` (B,), view fastest: 4 B of them, all turned by `turn` degrees."""
        poses = self.poses[index]
        azimuth = poses[:, :1] + turn + torch.arange(VIEWS) * (360.0 / VIEWS)
        elevation = poses[:, 1:].expand(-1, VIEWS)
        return orbit(azimuth.reshape(-1), elevation.reshape(-1), DISTANCE, FOVY)

    def subset(self, index: list[int]) -> ViewSets:
        """The sets at these places."""
        return ViewSets(self.views[index], self.poses[index], [self.meta[i] for i in index])


def render_set(item: ProceduralObject, azimuth: float, elevation: float) -> Tensor:
    """Four orthogonal views of one object: (4, 4, 64, 64) uint8, premultiplied RGBA."""
    cameras = orthogonal_views(azimuth, elevation, DISTANCE, FOVY, VIEWS)
    return (render(item, cameras, RESOLUTION) * 255).round().byte()


def render_shard(path: Path, count: int, seed: int) -> None:
    """Draw and render `count` random objects into one file; nothing is done where the file is there already."""
    if path.exists():
        return
    torch.set_num_threads(1)
    rng = random.Random(seed)
    views, poses, meta = np.empty((count, VIEWS, 4, RESOLUTION, RESOLUTION), np.uint8), [], []
    for i in range(count):
        item, azimuth, elevation = random_object(rng), rng.uniform(0, 360), rng.uniform(*ELEVATION)
        views[i] = render_set(item, azimuth, elevation).numpy()
        poses.append((azimuth, elevation))
        meta.append(json.dumps({"prompt": describe(item, rng), "kind": item.kind, "first": item.first}))
    with whole_file(path) as file:
        np.savez(file, views=views, poses=np.array(poses, np.float32), meta=np.array(meta))
    log.info("rendered %d sets into %s", count, path)


def ensure_shards(folder: Path, shards: int, sets: int = 1000, processes: int = 2) -> list[Path]:
    """Shard files of the training data, rendered where they are missing; the seed of a shard is its number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"sets-{number:03d}.npz" for number in range(shards)]
    missing = [(path, sets, number) for number, path in enumerate(paths) if not path.exists()]
    run_each(render_shard, missing, processes)
    return paths


def load_shards(paths: list[Path]) -> ViewSets:
    """All sets of these files, in order."""
    views, poses, meta = [], [], []
    for path in paths:
        with np.load(path, allow_pickle=False) as data:
            views.append(torch.from_numpy(data["views"]))
            poses.append(torch.from_numpy(data["poses"]))
            meta += [json.loads(line) for line in data["meta"]]
    return ViewSets(torch.cat(views), torch.cat(poses), meta)
