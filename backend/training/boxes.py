"""The box along the axes that a procedural object fills.

Knows signed distances only.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from ..representations.field import grid_points
from .objects import ProceduralObject

BOXED = 32  # cells a side in which an object's box is first looked for
TIP = 0.005  # world units: how exactly a side of the box is known
_SIDES = [(axis, sign) for axis in range(3) for sign in (-1.0, 1.0)]
_HALVES = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))


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
