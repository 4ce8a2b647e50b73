"""Normals for shading: smooth over curved surfaces, sharp at edges.

Knows vertices and faces. What it returns is per corner, because a vertex on a sharp edge has several normals.
"""

from __future__ import annotations

import numpy as np


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (F, 3) float32 and areas (F,) of the faces; +z where a face has no area."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    cross = np.cross(b - a, c - a)
    length = np.linalg.norm(cross, axis=1)
    normals = cross / np.maximum(length, 1e-20)[:, None]
    normals[length < 1e-20] = (0.0, 0.0, 1.0)
    return normals.astype(np.float32), (length / 2).astype(np.float32)


def corner_normals(vertices: np.ndarray, faces: np.ndarray, sharp_degrees: float = 40.0) -> np.ndarray:
    """Normals per face corner, averaged over the vertex's faces that turn less than `sharp_degrees` from this one.

    Args:
        vertices: (V, 3) float.
        faces: (F, 3) integer.
        sharp_degrees: From this angle on an edge is drawn sharp.

    Returns:
        (F, 3, 3) float32, unit length.
    """
    normals, areas = face_normals(vertices, faces)
    weighted = normals * np.maximum(areas, 1e-12)[:, None]
    order = np.argsort(faces.ravel(), kind="stable")
    owner = order // 3
    vertex = faces.ravel()[order]
    start = np.searchsorted(vertex, vertex, side="left")
    degree = np.searchsorted(vertex, vertex, side="right") - start
    rank = np.arange(len(vertex)) - start
    total = np.zeros((len(order), 3))
    limit = np.cos(np.radians(sharp_degrees))
    for step in range(int(degree.max(initial=0))):  # the step-th neighbour of every corner at once
        active = np.nonzero(degree > step)[0]
        other = owner[start[active] + (rank[active] + step) % degree[active]]
        alike = np.einsum("ij,ij->i", normals[owner[active]], normals[other]) >= limit
        total[active[alike]] += weighted[other[alike]]
    length = np.linalg.norm(total, axis=1, keepdims=True)
    total = np.where(length > 1e-20, total / np.maximum(length, 1e-20), normals[owner])
    result = np.empty((len(order), 3), np.float32)
    result[order] = total
    return result.reshape(len(faces), 3, 3)
