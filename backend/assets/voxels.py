"""From a closed mesh to a grid of inside and outside.

Knows triangles and grids. Columns of rays along z cross the faces; the sum of the crossings' directions is the winding
number, so overlapping pieces count once and small cracks spoil one column only.
"""

from __future__ import annotations

import numpy as np


def occupancy(
    vertices: np.ndarray,  # (V, 3)
    faces: np.ndarray,  # (F, 3)
    resolution: int,
    low: tuple[float, float, float] = (-1.0, -1.0, -1.0),
    high: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Which points of a regular grid lie inside the mesh.

    Args:
        vertices: World units. (V, 3) float.
        faces: Counter-clockwise seen from outside. (F, 3) integer.
        resolution: Samples a side, at least 2.
        low: First sample on each axis.
        high: Last sample on each axis.

    Returns:
        (R, R, R) bool indexed [x, y, z].
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    # A hair off the lattice: a mesh that was made on the same lattice has vertices and edges exactly on its columns.
    nudge = np.array([1.2345e-4, 2.3456e-4, 0.0])
    corners = (np.asarray(vertices, np.float64)[faces] - low) / (high - low) * (resolution - 1) - nudge
    x, y, weights, face = _columns(corners, resolution)
    height = (weights * corners[face, :, 2]).sum(axis=1)
    direction = np.sign(_double_area(corners))[face]
    # Crossing at height h changes the winding of every sample above it.
    first = np.clip(np.ceil(height), 0, resolution).astype(np.int64)
    change = np.zeros((resolution, resolution, resolution + 1), np.int32)
    np.add.at(change, (x, y, first), -direction.astype(np.int32))
    return change.cumsum(axis=2)[:, :, :resolution] != 0


def _double_area(corners: np.ndarray) -> np.ndarray:
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _columns(corners: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every (x, y) column that crosses a face, with the crossing's barycentric weights and the face."""
    low = np.maximum(np.ceil(corners[..., :2].min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(corners[..., :2].max(axis=1)), resolution - 1).astype(np.int64)
    extent = np.maximum(high - low + 1, 0)
    count = extent[:, 0] * extent[:, 1]
    face = np.repeat(np.arange(len(corners)), count)
    rank = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    x = low[face, 0] + rank // np.maximum(extent[face, 1], 1)
    y = low[face, 1] + rank % np.maximum(extent[face, 1], 1)
    moved = corners[face][..., :2] - np.stack([x, y], axis=-1)[:, None]
    following = np.roll(moved, -1, axis=1)
    cross = moved[..., 0] * following[..., 1] - moved[..., 1] * following[..., 0]
    weights = np.roll(cross, -1, axis=1)
    inside = (weights > 0).all(axis=1) | (weights < 0).all(axis=1)
    weights = weights[inside] / weights[inside].sum(axis=1, keepdims=True)
    return x[inside], y[inside], weights, face[inside]
