"""The box that an object fills, as its picture tells it: kept to while the object forms, and filled in the end.

A prior of 64 pixels tells how far a side reaches within one or two of them, and one eave that reaches two too far makes
a finished house 5 % too small, since the longest side gives an asset its size. What reads a picture's camera
(`priors.picture_pose`) reads the box within about a hundredth. So what grows out of it is pushed back at every step,
and what falls a little short is drawn out in the end, tips before cores: a duck gets its beak's length, not a longer
body. An addition of ours. Knows a box and an SDF grid; knows no picture and no prior.
"""

from __future__ import annotations

import functools
import logging

import torch
from torch import Tensor

from dreamlift.assets.surface import EmptySurface
from dreamlift.representations.sdf_grid import SdfGrid

from .field_asset import surface_of
from .field_settings import AssetSettings

log = logging.getLogger(__name__)

STEEP = 0.5  # by how much the distance grows with every unit outside the box: less than 1, so that it may lie
FARTHEST = 0.1  # world units that a side is drawn out at most; beyond, either the box or the object is wrong
ROUNDS, NEAR = 6, 0.004  # how often a surface is looked at, and world units within which it fills its box
BUMP = 0.01  # world units by which a side stands out before it is cut and not drawn in
SMALLEST = 0.1  # world units: a picture like no other may be read as a box of nothing, which would leave nothing
SHARE = 0.3  # of what lies between the middle and a side: drawn farther, a thin thing would fold


class ObjectBox:
    """A box along the axes.

    Args:
        corners: Lowest and highest, world units, (2, 3) in [-1, 1]; no side is taken for shorter than `SMALLEST`.
    """

    def __init__(self, corners: Tensor):
        low, high = corners.float().cpu()
        middle, half = (low + high) / 2, ((high - low) / 2).clamp_min(SMALLEST / 2)
        self.corners = torch.stack([middle - half, middle + half])
        self._outside: dict[int, Tensor] = {}

    def outside(self, resolution: int) -> Tensor:
        """How far outside the box points of a grid are, on the axis where that is most; negative inside. (R, R, R)."""
        if resolution not in self._outside:
            ticks = torch.linspace(-1, 1, resolution)
            low, high = self.corners[..., None]
            x, y, z = torch.maximum(low - ticks, ticks - high)
            self._outside = {resolution: torch.maximum(torch.maximum(x[:, None, None], y[:, None]), z)}
        return self._outside[resolution]

    def loss(self, field: SdfGrid) -> Tensor:
        """Mean squared distance by which a field's distances outside the box are too small; differentiable."""
        outside = self.outside(field.resolution).to(field.sdf)
        missing = (STEEP * outside - field.sdf).clamp_min(0) * (outside > 0)
        return missing.square().mean()

    @torch.no_grad()
    def fit(self, field: SdfGrid, asset: AssetSettings) -> None:
        """Cut off what stands out of the box and draw out what falls short of it, as far as `FARTHEST`.

        The surface is looked at again each time: once a side is drawn out, a bump that was none of it may be its end
        (`assets.ends`). The best of what was tried stays.

        Args:
            field: Changed in place.
            asset: How the object's surface will be taken from it.

        Raises:
            EmptySurface: Nothing of the object is inside the box; the field is as it was.
        """
        outside = self.outside(field.resolution).to(field.sdf)
        before = field.sdf.clone(), field.colour.clone()
        moved, best, kept = torch.zeros(2, 3), float("inf"), before
        for _ in range(ROUNDS):
            try:
                solid = surface_of(field, asset)
            except EmptySurface:
                _restore(field, before)
                raise
            vertices = torch.from_numpy(solid.vertices)
            own = torch.stack([vertices.amin(0), vertices.amax(0)])
            missing = self.corners - own
            log.info("the sides of the object's box are to be moved by %s", missing.tolist())
            if float(missing.abs().max()) < best:
                best, kept = float(missing.abs().max()), (field.sdf.clone(), field.colour.clone())
            if best < NEAR:
                break
            if max(float(missing[0].max()), -float(missing[1].min())) > BUMP:
                field.sdf.copy_(torch.maximum(field.sdf, outside))  # only then: a cut blunts a tip that ends there
                continue
            farthest = (SHARE * (own[1] - own[0]) / 2).clamp_max(FARTHEST)
            way = (moved + missing).clamp(-farthest, farthest) - moved
            moved += way
            field.resample(functools.partial(_sources, own, way))
        _restore(field, kept)


def _restore(field: SdfGrid, kept: tuple[Tensor, Tensor]) -> None:
    field.sdf.copy_(kept[0])
    field.colour.copy_(kept[1])


def _sources(own: Tensor, way: Tensor, points: Tensor) -> Tensor:
    """Where points (M, 3) come from if the lowest and highest ends (2, 3) of an object move by their way (2, 3).

    What is a share t of the way from the middle to an end moves by t^2 of the end's way; beyond the end, evenly on.
    """
    points = points.double()
    middle, half = own.double().mean(0), ((own[1] - own[0]).double() / 2).clamp_min(1e-6)
    beyond = points > middle
    t = (points - middle).abs() / half
    # The new place of t is t + w t^2 inside, and goes on from there with the same slope: 1 + w + (1 + 2 w)(t - 1).
    w = torch.where(beyond, way[1].double(), -way[0].double()) / half
    inner = 2 * t / (1 + (1 + 4 * w * t).clamp_min(0).sqrt())
    outer = 1 + (t - 1 - w) / (1 + 2 * w)
    share = torch.where(t <= 1 + w, inner, outer)
    return (middle + share * half * torch.where(beyond, 1.0, -1.0)).clamp(-1, 1).float()
