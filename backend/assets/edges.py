"""The edges of a triangle mesh: each once, and which of them each face has.

Knows indices only. Blender wants both lists; finding them here keeps that search off its main thread.
"""

from __future__ import annotations

import numpy as np


def edges_of(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number a mesh's edges.

    Args:
        faces: Vertex indices, none negative. (F, 3) integer.

    Returns:
        edges (E, 2) int32, lower vertex first, sorted; face_edges (F, 3) int32, where number k names the edge between
        corners k and (k + 1) % 3.
    """
    faces = np.asarray(faces).reshape(-1, 3)
    if not len(faces):
        return np.zeros((0, 2), np.int32), np.zeros((0, 3), np.int32)
    following = faces[:, [1, 2, 0]]
    vertex_bits = int(faces.max()).bit_length()
    corner_bits = int(faces.size - 1).bit_length()
    low = np.minimum(faces, following).ravel().astype(np.int64)
    high = np.maximum(faces, following).ravel().astype(np.int64)
    key = low << vertex_bits | high
    # Sorting values is several times faster than argsort, so the corner's number rides in the low bits where it fits.
    if 2 * vertex_bits + corner_bits <= 63:
        packed = np.sort(key << corner_bits | np.arange(faces.size))
        key, order = packed >> corner_bits, packed & ((1 << corner_bits) - 1)
    else:
        order = np.argsort(key, kind="stable")
        key = key[order]
    first = np.empty(len(key), bool)
    first[0] = True
    np.not_equal(key[1:], key[:-1], out=first[1:])
    face_edges = np.empty(faces.size, np.int32)
    face_edges[order] = np.cumsum(first, dtype=np.int32) - 1
    unique = key[first]
    edges = np.stack([unique >> vertex_bits, unique & ((1 << vertex_bits) - 1)], axis=-1)
    return edges.astype(np.int32), face_edges.reshape(-1, 3)
