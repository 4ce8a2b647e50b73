"""From a grid of values to one watertight surface.

Knows a scalar field on [-1, 1]^3, positive inside. Knows no field's kind, colours or textures. `topology` judges what
comes out; `cleanup` makes it light.

An optimised field is not clean: it has floaters, hollow shells and parts that should touch but miss each other by a
cell. They are mended here, on the grid, where it is easy: a grid's level set is always closed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from dreamlift.assets.cleanup import largest_component, repaired
from dreamlift.assets.ends import cut_flat_ends
from dreamlift.assets.topology import Surface, is_one_solid, is_watertight, used_vertices

__all__ = ["EmptySurface", "Surface", "SurfaceSettings", "extract_surface"]

logger = logging.getLogger(__name__)


class EmptySurface(ValueError):
    """The field is nowhere above the level: there is no object to extract."""


@dataclass(frozen=True)
class SurfaceSettings:
    """What counts as a part of the object.

    Args:
        floater_share: A component below this share of the volume is a floater and vanishes (mini.md: the largest
            component alone cost a rocket its nose, 2 % did not).
        bridge_gap: Widest gap that is bridged, world units; components farther off are dropped ...
        bridge_share: ... unless they hold this share of the volume: those are never dropped.
        neck_cells: A bridge is at least about this thick, grid cells.
        end_depth: How deep behind each of the six sides `cut_flat_ends` looks for the full section, world units; 0
            leaves bumps on flat sides as they are.
    """

    floater_share: float = 0.02
    bridge_gap: float = 0.25
    bridge_share: float = 0.10
    neck_cells: float = 3.0
    end_depth: float = 0.0


def extract_surface(
    values: np.ndarray,  # (R, R, R)
    level: float = 0.0,
    settings: SurfaceSettings = SurfaceSettings(),  # noqa: B008 (frozen)
) -> Surface:
    """The level set of a grid as one connected watertight mesh, outward-facing, without inner shells.

    Args:
        values: Indexed [x, y, z]; samples at the corners of cells, the first at -1 and the last at +1 on each axis;
            larger is more inside (a negated signed distance, a density). (R, R, R) float, R at least 4.
        level: The surface is where values cross it.
        settings: What counts as a part.

    Returns:
        One solid inside [-1, 1]^3.

    Raises:
        EmptySurface: Nothing is above the level.
        ValueError: The grid is not a cube or holds numbers that are not finite.
    """
    values = _checked(values)
    values = _closed_at_the_border(values, level)
    parts = _significant_parts(values > level, 2.0 / (len(values) - 1), settings)
    values = np.where(parts > 0, values, np.minimum(values, _just_below(values, level)))
    values = _bridged(values, level, parts, settings)
    values = _without_cavities(values, level)
    if settings.end_depth > 0:
        values = cut_flat_ends(values, level, _slope_at_surface(values, level), settings.end_depth)
    return _largest_solid(_march(values, level))


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float32)
    if values.ndim != 3 or len(set(values.shape)) != 1 or len(values) < 4:
        raise ValueError(f"values must be a cube of at least 4 samples a side, got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(
            f"values hold {int((~np.isfinite(values)).sum())} numbers that are not finite: the field diverged."
        )
    return values


def _just_below(values: np.ndarray, level: float) -> np.float32:
    return np.float32(level - 1e-3 * max(float(np.ptp(values)), 1e-6))


def _closed_at_the_border(values: np.ndarray, level: float) -> np.ndarray:
    """An object that leaves the box is cut flat just inside it, so that the surface is closed and stays in the box."""
    if not (values > level).any():
        raise EmptySurface(f"no value of the grid is above {level:g} (largest: {float(values.max()):g}).")
    closed = np.minimum(values, _just_below(values, level))
    inner = (slice(1, -1),) * 3
    closed[inner] = values[inner]
    if not (closed > level).any():
        raise EmptySurface(f"only the border of the grid is above {level:g}: the object lies outside the box.")
    return closed


def _significant_parts(inside: np.ndarray, cell: float, settings: SurfaceSettings) -> np.ndarray:
    """Label the components worth keeping 1, 2, ... by falling volume; everything else is 0."""
    labels, count = ndimage.label(inside)
    volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-volumes, kind="stable")
    main_distance = None
    kept = np.zeros_like(labels)
    number = 0
    for index in order:
        share = volumes[index] / volumes.sum()
        part = labels == index + 1
        if number:
            if share < settings.floater_share:
                break
            if main_distance is None:
                main_distance = ndimage.distance_transform_edt(kept == 0) * cell
            gap = float(main_distance[part].min())
            if share < settings.bridge_share and gap > settings.bridge_gap:
                logger.info("dropped a part of %.1f %% of the volume, %.2f away from the rest", 100 * share, gap)
                continue
            main_distance = None
        number += 1
        kept[part] = number
    return kept


def _bridged(values: np.ndarray, level: float, parts: np.ndarray, settings: SurfaceSettings) -> np.ndarray:
    """Join the parts, nearest first, each by a smooth neck where it is nearest to the rest.

    The neck is the smooth union of both parts' distances (polynomial smooth minimum, Quilez): it adds volume only where
    both are near.
    """
    joined = parts == 1
    waiting = set(range(2, int(parts.max()) + 1))
    if not waiting:
        return values
    slope = _slope_at_surface(values, level)
    while waiting:
        distance, nearest = ndimage.distance_transform_edt(~joined, return_indices=True)
        number = min(waiting, key=lambda n: float(distance[parts == n].min()))
        other = ndimage.distance_transform_edt(parts != number)
        gap = float(distance[parts == number].min())
        logger.info("bridged a gap of %.1f cells", gap - 1)
        neck = -_smooth_minimum(distance - 0.5, other - 0.5, 2 * gap + settings.neck_cells)
        middle = _middle_of_the_gap(distance, nearest, parts == number)
        bridge = (neck > 0) & (values <= level) & _around(middle, distance + other, gap, settings.neck_cells)
        bridge[[0, -1]] = bridge[:, [0, -1]] = bridge[:, :, [0, -1]] = False
        values = np.where(bridge, np.maximum(values, level + (slope * neck).astype(np.float32)), values)
        joined |= bridge | (parts == number)
        waiting.remove(number)
    return values


def _smooth_minimum(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    return np.minimum(a, b) - np.maximum(k - np.abs(a - b), 0) ** 2 / (4 * k)


def _middle_of_the_gap(distance: np.ndarray, nearest: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Half-way along one shortest way, in cells. Parallel plates have many: the one in their middle is taken."""
    ends = np.argwhere(part & (distance <= distance[part].min() + 0.25))
    end = ends[np.argmin(((ends - ends.mean(axis=0)) ** 2).sum(axis=1))]
    return (end + nearest[:, end[0], end[1], end[2]]) / 2


def _around(middle: np.ndarray, way: np.ndarray, gap: float, neck: float) -> np.ndarray:
    """Cells inside an ellipsoid between two parts, as thick as a neck; `way` is the sum of both distances."""
    radius = neck + 0.15 * gap
    longer = np.sqrt(gap**2 + 4 * radius**2) - gap  # extra length of a way along the ellipsoid's surface
    x, y, z = np.ogrid[tuple(slice(0, n) for n in way.shape)]
    near = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2 <= (0.5 * gap + radius) ** 2
    return (way <= gap + longer) & near


def _slope_at_surface(values: np.ndarray, level: float) -> float:
    """How fast the field falls across its surface, per cell: what makes a bridge as steep as the rest."""
    inside = values > level
    shell = inside & ~ndimage.binary_erosion(inside)
    steps = values[shell] - ndimage.minimum_filter(values, size=3)[shell]
    return max(float(np.median(steps)), 1e-6)


def _without_cavities(values: np.ndarray, level: float) -> np.ndarray:
    """Flood from the border; what is outside and yet not reached is a cavity, and is filled."""
    inside = values > level
    cavity = ndimage.binary_fill_holes(inside) & ~inside
    return np.where(cavity, 2 * np.float32(level) - values + (level - _just_below(values, level)), values)


def _march(values: np.ndarray, level: float) -> Surface:
    # A sample exactly on the level would put several vertices into one place; a thousandth of the range is invisible.
    tiny = np.float32(1e-5 * max(float(np.ptp(values)), 1e-6))
    near = np.abs(values - np.float32(level)) < tiny
    values = np.where(near, np.where(values > level, level + tiny, level - tiny).astype(np.float32), values)
    vertices, faces, _, _ = marching_cubes(values, level, gradient_direction="ascent", allow_degenerate=True)
    vertices = np.clip(vertices * (2.0 / (len(values) - 1)) - 1.0, -1.0, 1.0)
    return Surface(vertices.astype(np.float32), faces.astype(np.int32))


def _largest_solid(surface: Surface) -> Surface:
    if not is_watertight(surface.faces):
        surface = repaired(surface)
    surface = largest_component(surface)
    if not is_one_solid(surface.vertices, surface.faces):
        logger.warning("the extracted surface is not one watertight solid")
    return used_vertices(surface.vertices, surface.faces)
