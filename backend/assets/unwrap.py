"""UVs: every face gets its place in the texture.

Knows vertices and faces. xatlas does it, in a process that can be stopped; where it takes too long or fails, a box
projection of our own does. Unwrap after decimation: 100,000 faces take xatlas half a minute (stack.md, section 6).
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

from dreamlift.assets.normals import face_normals
from dreamlift.assets.topology import Surface, face_components

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unwrapping:
    """UVs per corner (F, 3, 2) float32 in [0, 1], origin bottom left, and what made them: "xatlas" or "box"."""

    uvs: np.ndarray
    method: str


BUSY_FACTOR = 8.0  # a process on a full machine may wait this many times as long as it computes


def unwrapped(surface: Surface, resolution: int = 1024, padding: int = 4, time_limit: float = 20.0) -> Unwrapping:
    """Give every face corner a texture coordinate; charts do not touch.

    Args:
        surface: Any mesh with at least one face.
        resolution: Texels a side of the texture this is for; decides how wide the padding is.
        padding: Texels between charts.
        time_limit: Seconds that xatlas may compute before the box projection takes over: processor time where the
            system can limit that, and `BUSY_FACTOR` times as much on the clock.
    """
    uvs = _by_xatlas(surface, resolution, padding, time_limit)
    if uvs is not None:
        return Unwrapping(uvs, "xatlas")
    logger.warning("no UVs from xatlas for %d faces: box projection", len(surface.faces))
    return Unwrapping(box_projection(surface, resolution, padding), "box")


def _by_xatlas(surface: Surface, resolution: int, padding: int, time_limit: float) -> np.ndarray | None:
    job = io.BytesIO()
    settings = {"resolution": resolution, "padding": padding, "seconds": time_limit}
    np.savez(job, vertices=surface.vertices, faces=surface.faces, **settings)
    command = [sys.executable, "-m", "dreamlift.assets._xatlas_process"]
    try:
        limit = time_limit * BUSY_FACTOR
        done = subprocess.run(command, input=job.getvalue(), capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        logger.warning("xatlas took longer than %.1f s for %d faces", limit, len(surface.faces))
        return None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        logger.warning("xatlas failed: %s", reason[-1] if reason else f"exit {done.returncode}")
        return None
    with np.load(io.BytesIO(done.stdout)) as data:
        uvs = data["uvs"]
    if uvs.shape != (*surface.faces.shape, 2) or not np.isfinite(uvs).all():
        logger.warning("xatlas returned UVs of shape %s for %d faces", uvs.shape, len(surface.faces))
        return None
    return np.clip(uvs, 0.0, 1.0)


def box_projection(surface: Surface, resolution: int = 1024, padding: int = 4) -> np.ndarray:
    """Connected faces that look along the same axis become one chart, projected along it; charts lie on shelves.

    Charts never overlap each other. A chart overlaps itself only where one connected sheet folds over itself without
    turning away from its axis, which closed objects of a grid hardly have.

    Returns:
        (F, 3, 2) float32 in [0, 1], origin bottom left.
    """
    normals, _ = face_normals(surface.vertices, surface.faces)
    axis = np.abs(normals).argmax(axis=1)
    side = axis * 2 + (np.take_along_axis(normals, axis[:, None], axis=1)[:, 0] < 0)
    chart = _charts(surface.faces, side)
    plane = np.array([[1, 2], [0, 2], [0, 1]])[axis]  # the two axes that stay
    corners = surface.vertices[surface.faces]  # (F, 3, 3)
    flat = np.take_along_axis(corners, np.repeat(plane[:, None], 3, axis=1), axis=2).astype(np.float64)
    count = int(chart.max()) + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    for corner in range(3):
        np.minimum.at(low, chart, flat[:, corner])
        np.maximum.at(high, chart, flat[:, corner])
    extent = high - low
    scale, origin = _packed(extent, padding / resolution)
    return ((flat - low[chart][:, None]) * scale + origin[chart][:, None]).astype(np.float32)


def _charts(faces: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Number the connected groups of faces on the same side: components after the sides are pulled apart."""
    _, apart = np.unique(faces.ravel().astype(np.int64) * 6 + np.repeat(side, 3), return_inverse=True)
    return face_components(apart.reshape(-1, 3))


def _packed(extent: np.ndarray, gap: float) -> tuple[float, np.ndarray]:
    """Largest common scale at which all charts fit the unit square on shelves, and each chart's corner."""
    order = np.argsort(-extent[:, 1], kind="stable")
    low, high = 0.0, 1.0 / max(float(extent.max()), 1e-9)
    best = None
    for _ in range(30):
        scale = (low + high) / 2
        origin = _shelves(extent * scale + gap, order)
        if origin is None:
            high = scale
        else:
            low, best = scale, (scale, origin + gap / 2)
    if best is None:  # more charts than texels: they share the gap
        return _packed(extent, gap / 4)
    return best


def _shelves(sizes: np.ndarray, order: np.ndarray) -> np.ndarray | None:
    """Lower left corners of boxes put side by side, tallest first, on shelves; None where they do not fit."""
    origin = np.zeros_like(sizes)
    x = y = shelf = 0.0
    for index in order:
        width, height = sizes[index]
        if x + width > 1:
            x, y, shelf = 0.0, y + shelf, 0.0
        if width > 1 or y + height > 1:
            return None
        origin[index] = x, y
        x, shelf = x + width, max(shelf, height)
    return origin
