"""The Janus problem: does what belongs to one side of an object appear on another side too?

Knows the views and volumes of an asset and of the true object. Only asymmetric classes have an answer. No network is
asked (evaluation.md, section 7, lists what others use); the truth is known here, so it is compared with. Three signs
are looked for on the sides at 90, 180 and 270 degrees, and any one of them makes an asset a Janus:

- the side looks more like the true front than like the true side (silhouette, depth and colour);
- at least half of the volume that a copy of the true object, turned by that angle, would add is there;
- where front and side differ in colour, most of the side has the front's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from dreamlift.evaluation.measures import lab
from dreamlift.evaluation.models import Model
from dreamlift.evaluation.views import BACK, FRONT, LEFT, RIGHT, Views

SIDES = {90: LEFT, 180: BACK, 270: RIGHT}
DEPTH_REACH = 0.2  # as in `measures.shape_agreement`
COLOUR_REACH = 60.0  # CIE Lab distance from which two pixels have nothing in common
LOOKS_MARGIN = 0.05  # how much more like the front a side must look
COPY_SHARE = 0.5  # of the added volume of a turned copy
COPY_LEAST = 0.01  # of the true volume: below it the turned copy adds nothing worth looking for
COPY_TOLERANCE = 2  # cells around the true object that do not count as the copy's
COLOUR_STEP = 30.0  # CIE Lab distance from which front and side differ in colour
COLOUR_SHARE = 0.5
COLOUR_LEAST = 0.015  # of the side's silhouette


@dataclass(frozen=True)
class JanusSigns:
    """The three signs, each the largest over the three sides; positive `looks`, 1.0 and 1.0 are a full Janus.

    Args:
        looks: Likeness to the true front less likeness to the true side.
        copy: Share of the turned copy's added volume that is there.
        colour: Share of the differing pixels that have the front's colour.
    """

    looks: float
    copy: float
    colour: float

    @property
    def is_janus(self) -> bool:
        """Whether any sign is beyond its threshold."""
        return self.looks > LOOKS_MARGIN or self.copy >= COPY_SHARE or self.colour > COLOUR_SHARE


def janus_signs(asset: Model, asset_views: Views, truth: Model, truth_views: Views) -> JanusSigns:
    """Look for the front's features on the other sides of an asset."""
    looks, colour = [], []
    for side in SIDES.values():
        front_like = _likeness(asset_views, side, truth_views, FRONT)
        looks.append(front_like - _likeness(asset_views, side, truth_views, side))
        colour.append(_colour_share(asset_views, truth_views, side))
    copies = [_copy_share(asset.inside, truth.inside, angle) for angle in SIDES]
    return JanusSigns(max(looks), max(copies), max(colour))


def _likeness(one: Views, i: int, other: Views, k: int) -> float:
    """1 where view i of one equals view k of the other, 0 where they have nothing in common."""
    both = one.mask[i] & other.mask[k]
    either = (one.mask[i] | other.mask[k]).sum().clamp(min=1)
    depth = (1 - (one.depth[i] - other.depth[k]).abs() / DEPTH_REACH).clamp(min=0)[both]
    difference = np.linalg.norm(lab(one.colour[i][both]) - lab(other.colour[k][both]), axis=1)
    colour = torch.from_numpy(1 - difference / COLOUR_REACH).clamp(min=0)
    return float((depth * colour).sum() / either)


def _copy_share(asset: np.ndarray, truth: np.ndarray, angle: int) -> float:
    """Of what a copy of the truth, turned about its axis, would add: the share that is there; 0 if it adds nothing."""
    copy = np.rot90(truth, angle // 90, axes=(0, 1))
    own = ndimage.binary_dilation(truth, iterations=COPY_TOLERANCE)
    added = copy & ~own
    if np.count_nonzero(added) < COPY_LEAST * np.count_nonzero(truth):
        return 0.0
    return float(np.count_nonzero(asset & added) / np.count_nonzero(added))


def _colour_share(asset: Views, truth: Views, side: int) -> float:
    """Where front and side of the truth differ in colour: share of the asset's side that is nearer to the front's."""
    common = asset.mask[side] & truth.mask[side] & truth.mask[FRONT]
    if not common.any():
        return 0.0
    front, own = lab(truth.colour[FRONT][common]), lab(truth.colour[side][common])
    differing = np.linalg.norm(front - own, axis=1) > COLOUR_STEP
    if np.count_nonzero(differing) < COLOUR_LEAST * _count(truth.mask[side]):
        return 0.0
    found = lab(asset.colour[side][common])[differing]
    to_front = np.linalg.norm(found - front[differing], axis=1)
    to_own = np.linalg.norm(found - own[differing], axis=1)
    return float(np.mean(to_front < to_own))


def _count(mask: Tensor) -> int:
    return int(mask.sum())
