"""Questions about a triangle mesh that its indices answer: watertight, in how many pieces, oriented outwards.

Knows vertices and faces; changes nothing. `cleanup` repairs, `surface` makes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dreamlift.assets.edges import edges_of


@dataclass(frozen=True)
class Surface:
    """A triangle mesh.

    Args:
        vertices: (V, 3) float32, world units.
        faces: (F, 3) int32, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    faces: np.ndarray


def is_watertight(faces: np.ndarray) -> bool:
    """True where every edge joins exactly two faces that run along it in opposite directions. False for no faces."""
    faces = np.asarray(faces)
    if not len(faces):
        return False
    edges, face_edges = edges_of(faces)
    forward = faces < faces[:, [1, 2, 0]]
    uses = np.bincount(face_edges.ravel(), minlength=len(edges))
    forwards = np.bincount(face_edges.ravel(), weights=forward.ravel(), minlength=len(edges))
    return bool((uses == 2).all() and (forwards == 1).all())


def face_components(faces: np.ndarray) -> np.ndarray:
    """The piece every face belongs to; pieces hang together by edges, not by single vertices. (F,) int32 from 0."""
    edges, face_edges = edges_of(faces)
    # Faces and edges are the two sides of one graph: a face is joined with its three edges.
    rows = np.repeat(np.arange(len(faces)), 3)
    columns = face_edges.ravel() + len(faces)
    size = len(faces) + len(edges)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    return connected_components(graph, directed=False)[1][: len(faces)]


def signed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume enclosed, world units cubed; negative where faces look inwards (divergence theorem)."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def is_one_solid(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """One connected, watertight piece whose faces look outwards."""
    return is_watertight(faces) and face_components(faces).max() == 0 and signed_volume(vertices, faces) > 0


def used_vertices(vertices: np.ndarray, faces: np.ndarray) -> Surface:
    """The mesh without vertices that no face uses."""
    used, inverse = np.unique(faces, return_inverse=True)
    return Surface(vertices[used].astype(np.float32), inverse.reshape(-1, 3).astype(np.int32))
