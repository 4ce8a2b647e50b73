"""Flat ends of a solid, cut where most of them ends.

An optimised surface is uneven by a few hundredths, and the box around it follows the highest bump of each side: by that
box an object gets its size and stands on the ground, and a table of 1.27 with bumps of 0.06 came out 9 % too small.
Where a side is flat but for bumps, the area of its sections rises steeply; there it is cut where half of the section
begins, which is where a flat face lies whose edge is blurred. Round and pointed sides rise slowly and stay as they are.
Knows a grid of values; knows no meshes.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

LOW, HALF, HIGH = 0.2, 0.5, 0.8  # of the section's area at the depth that is looked at
# Of that depth: within it a flat side's section rises from `LOW` to `HIGH`. A ball's needs 0.6, a cone's rim 0.52.
STEEP = 0.45
# A chimney is not a bump: what holds more than `TIP` of the section and stands out by more than `BUMP` stays.
TIP, BUMP = 0.03, 0.55  # of the area, and of the depth
_LEAST = 0.05  # of a cell's face: less is no section


def cut_flat_ends(values: np.ndarray, level: float, slope: float, depth: float) -> np.ndarray:
    """Cut the flat ones among the six sides of a solid.

    Args:
        values: On [-1, 1]^3, indexed [x, y, z], larger is more inside. (R, R, R) float32.
        level: The solid is where values are above it; it does not touch the border of the grid.
        slope: How much values change across the surface, per cell: what a cut is as steep as.
        depth: How far behind a side's foremost point its full section is looked for, in [-1, 1]'s units; at most half
            of the solid.

    Returns:
        Values that are nowhere larger. (R, R, R) float32.
    """
    count = len(values)
    cell = 2.0 / (count - 1)
    inside = values > level
    share = np.clip(0.5 + (values - level) / slope, 0, 1)  # of every cell that is inside
    share[~ndimage.binary_dilation(inside)] = 0  # a floater that was pressed below the level is no part of a section
    for axis in range(3):
        areas = share.sum(axis=tuple(other for other in range(3) if other != axis))
        place = np.arange(count).reshape([-1 if other == axis else 1 for other in range(3)])
        for sections, beyond in ((areas, place), (areas[::-1], count - 1 - place)):
            end = _flat_end(sections, depth / cell)
            if end is not None:
                values = np.minimum(values, (level + slope * (beyond - end)).astype(np.float32))
    return values


def _flat_end(sections: np.ndarray, depth: float) -> float | None:
    """Where a flat side begins, in cells from the border of the grid; None where the side is not flat.

    Args:
        sections: Areas of the slices from the border inwards, cells' faces. (R,).
        depth: Cells.
    """
    covered = np.flatnonzero(sections > _LEAST)
    if not len(covered):
        return None
    depth = min(depth, (covered[-1] - covered[0]) / 2)
    full = np.interp(covered[0] + depth, np.arange(len(sections)), sections)
    tip, low, half, high = (_reaches(sections, share * full) for share in (TIP, LOW, HALF, HIGH))
    return half if high - low <= STEEP * depth and half - tip <= BUMP * depth else None


def _reaches(sections: np.ndarray, area: float) -> float:
    """The first place, between slices, at which the sections are as large as an area."""
    after = int(np.argmax(sections >= area))
    if after == 0:
        return 0.0
    below, above = sections[after - 1], sections[after]
    return after - 1 + (area - below) / (above - below)
