"""Fewer triangles, the same object: quadric decimation, checked, and a voxel remesh for meshes that are beyond repair.

Knows vertices and faces. A decimator may do nothing, or tear the surface: both are looked for after every attempt.
"""

from __future__ import annotations

import logging

import fast_simplification
import numpy as np
from scipy import ndimage

from dreamlift.assets.cleanup import largest_component, repaired
from dreamlift.assets.surface import EmptySurface, extract_surface
from dreamlift.assets.topology import Surface, is_one_solid, used_vertices
from dreamlift.assets.voxels import occupancy

logger = logging.getLogger(__name__)


def decimated(surface: Surface, triangles: int) -> Surface:
    """At most about `triangles` faces, still one watertight solid if the input was one.

    Args:
        surface: One solid.
        triangles: Target number of faces, at least 64. A mesh with fewer is returned as it is.

    Returns:
        The decimated mesh; where quadrics tear it, a remesh on a coarser grid; at the very last the input.
    """
    if triangles < 64:
        raise ValueError(f"triangles must be at least 64, got {triangles}: fewer hold no shape.")
    if len(surface.faces) <= triangles:
        return surface
    for target, aggressiveness in ((triangles, 7.0), (triangles, 3.0), (2 * triangles, 5.0)):
        result = _attempt(surface, target, aggressiveness)
        if len(result.faces) >= len(surface.faces):
            logger.info("decimation to %d at aggressiveness %g left all faces", target, aggressiveness)
        elif not is_one_solid(result.vertices, result.faces):
            logger.info("decimation to %d at aggressiveness %g tore the surface", target, aggressiveness)
        else:
            return result
    return _coarser(surface, triangles)


def _coarser(surface: Surface, triangles: int) -> Surface:
    """The way out when quadrics fail: a grid so coarse that its level set has about the target's faces."""
    edge = surface.vertices[surface.faces[:, 1]] - surface.vertices[surface.faces[:, 0]]
    length = float(np.median(np.linalg.norm(edge, axis=1))) * np.sqrt(len(surface.faces) / triangles)
    try:
        result = remeshed(surface, int(np.clip(2 / max(length, 1e-6), 24, 192)))
    except EmptySurface:
        result = surface
    if len(result.faces) < len(surface.faces) and is_one_solid(result.vertices, result.faces):
        logger.info("remeshed to %d faces", len(result.faces))
        return result
    logger.warning("nothing kept the surface closed at %d faces; it stays at %d", triangles, len(surface.faces))
    return surface


def _attempt(surface: Surface, triangles: int, aggressiveness: float) -> Surface:
    vertices, faces = fast_simplification.simplify(
        surface.vertices.astype(np.float32), surface.faces, target_count=triangles, agg=aggressiveness
    )
    result = used_vertices(vertices, faces)
    if len(result.faces) and not is_one_solid(result.vertices, result.faces):
        result = largest_component(repaired(result))
    return result


def remeshed(surface: Surface, resolution: int = 96) -> Surface:
    """One watertight solid around whatever the mesh encloses, at the cost of detail below a cell.

    Args:
        surface: Inside [-1, 1]^3; may have holes, overlaps and loose pieces.
        resolution: Grid samples a side.

    Raises:
        EmptySurface: The mesh encloses nothing on that grid.
    """
    inside = occupancy(surface.vertices, surface.faces, resolution)
    # Three axes vote, so that a hole spoils a column in one of them only.
    for axes in ((1, 2, 0), (2, 0, 1)):
        turned = occupancy(surface.vertices[:, axes], surface.faces, resolution)
        inside = inside.astype(np.int8) + np.transpose(turned, np.argsort(axes)).astype(np.int8)
    smooth = ndimage.gaussian_filter((inside >= 2).astype(np.float32), 0.7)
    return extract_surface(smooth, 0.5)
