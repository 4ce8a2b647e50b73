"""Latents of rendered views, encoded once and kept as float16 arrays beside the shards.

A U-Net step costs about as much as encoding its views, so encoding them anew every epoch would halve the speed. Each
variant holds every set over another random grey, and the trainer walks through the variants epoch by epoch.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..priors.mvdream import MVDreamPrior
from .dataset import ViewSets, load_shards
from .render import over
from .runner import random_background, whole_file

log = logging.getLogger(__name__)


@torch.no_grad()
def encode_sets(prior: MVDreamPrior, sets: ViewSets, resolution: int, seed: int) -> Tensor:
    """Latents over one random grey per set: (N, 4, C, resolution / 4, resolution / 4) float16."""
    grey = random_background(len(sets), torch.Generator().manual_seed(seed)).view(-1, 1, 1, 1, 1)
    parts = []
    for start in range(0, len(sets), 16):
        views = sets.views[start : start + 16].float() / 255
        shape = views.shape
        pictures = over(views.flatten(0, 1), grey[start : start + 16].expand(-1, shape[1], 1, 1, 1).flatten(0, 1))
        if resolution != shape[-1]:
            pictures = torch.nn.functional.avg_pool2d(pictures, shape[-1] // resolution)
        pictures = pictures.contiguous(memory_format=torch.channels_last).to(prior.device)
        parts.append(prior.encode_images(pictures).half().cpu().unflatten(0, shape[:2]))
    return torch.cat(parts)


def ensure_latents(prior: MVDreamPrior, shard: Path, resolution: int, variant: int) -> Path:
    """The latents file of a shard, encoded where it is missing."""
    path = shard.with_name(f"latents-{resolution}-{variant}-{shard.stem}.npy")
    if not path.exists():
        number = int(shard.stem.split("-")[-1])
        latents = encode_sets(prior, load_shards([shard]), resolution, seed=1000 * variant + number)
        with whole_file(path) as file:
            np.save(file, latents.contiguous().numpy())
        log.info("encoded %s", path.name)
    return path


def load_latents(paths: list[Path]) -> list[np.ndarray]:
    """The files as arrays that read from disk as they are used."""
    return [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]


def gather(arrays: list[np.ndarray], index: Tensor) -> Tensor:
    """Sets at `index` (B,) over all arrays: (B, 4, C, h, w) float32. Every array holds the same number of sets."""
    size = len(arrays[0])
    return torch.stack([torch.from_numpy(np.array(arrays[i // size][i % size])) for i in index.tolist()]).float()
