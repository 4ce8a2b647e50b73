"""Does a multi-view prior use its camera on objects it never saw? The sets for `training.camera_use` to measure on.

Knows which pairs are held out, and renders them. The losses and their ratio are defined in `training/camera_use.py`.
"""

from __future__ import annotations

import random

import torch

from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.training.camera_use import CameraUse, camera_use
from dreamlift.training.dataset import ELEVATION, ViewSets, render_set
from dreamlift.training.latents import encode_sets
from dreamlift.training.objects import ASYMMETRIC, HELD_OUT, ProceduralObject
from dreamlift.training.prompts import describe

TIMESTEPS = (700, 900)  # high noise: there the camera decides what is seen (mini.md)


def unseen_sets(each: int = 8, seed: int = 0) -> ViewSets:
    """Four views of `each` objects of every asymmetric class in its held-out colours, all proportions and turns."""
    rng = random.Random(seed)
    pairs = sorted(pair for pair in HELD_OUT if pair[0] in ASYMMETRIC)
    views, poses, meta = [], [], []
    for kind, first in pairs * each:
        item = ProceduralObject(kind, first, proportions=tuple(rng.random() for _ in range(4)))
        azimuth, elevation = rng.uniform(0, 360), rng.uniform(*ELEVATION)
        views.append(render_set(item, azimuth, elevation))
        poses.append((azimuth, elevation))
        meta.append({"prompt": describe(item), "kind": kind, "first": first})
    return ViewSets(torch.stack(views), torch.tensor(poses, dtype=torch.float32), meta)


def camera_use_on_unseen(prior: MVDreamPrior, each: int = 8, seed: int = 0) -> list[CameraUse]:
    """The prior's loss with cameras turned by 90 degrees over its loss with the right ones, at each of `TIMESTEPS`."""
    sets = unseen_sets(each, seed)
    latents = encode_sets(prior, sets, prior.image_size, seed=seed)
    return [camera_use(prior, sets, latents, t, limit=len(sets), seed=seed + 1) for t in TIMESTEPS]
