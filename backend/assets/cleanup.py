"""Repairs on triangle meshes: faces that are none, edges with too many faces, holes, roughness.

Knows vertices and faces. Knows no fields, UVs or colours. `surface` mends what can be mended on the grid before; what
is left for here is small. `decimate` and `remesh` change the mesh as a whole.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, diags

from dreamlift.assets.edges import edges_of
from dreamlift.assets.topology import Surface, face_components, is_watertight, signed_volume, used_vertices


def repaired(surface: Surface) -> Surface:
    """Without degenerate or duplicate faces and non-manifold edges; small holes closed; faces look outwards."""
    faces = without_excess_faces(surface.vertices, without_bad_faces(surface.faces))
    if not is_watertight(faces):
        surface = with_holes_filled(Surface(surface.vertices, faces))
        faces = without_bad_faces(surface.faces)  # a lone face and the lid on it cancel out
    if len(faces) and signed_volume(surface.vertices, faces) < 0:
        faces = faces[:, ::-1]
    return used_vertices(surface.vertices, faces)


def without_bad_faces(faces: np.ndarray) -> np.ndarray:
    """Drop faces that name a vertex twice; of two faces on the same three vertices keep one if they look the same way,
    none if they look at each other (a fold without thickness)."""
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    if not len(faces):
        return faces
    ordered = np.sort(faces, axis=1)
    _, first, group, counts = np.unique(ordered, axis=0, return_index=True, return_inverse=True, return_counts=True)
    if counts.max() == 1:
        return faces
    # An even permutation of the sorted corners looks one way, an odd one the other.
    shift = faces.argmin(axis=1)
    rolled = np.take_along_axis(faces, (shift[:, None] + np.arange(3)) % 3, axis=1)
    sign = np.where(rolled[:, 1] < rolled[:, 2], 1, -1)
    balance = np.bincount(group.ravel(), weights=sign, minlength=len(counts))
    chosen = np.where((counts == 1) | (balance != 0))[0]
    return faces[np.sort(first[chosen])]


def without_excess_faces(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Where an edge has more than two faces, drop its smallest until two are left; the holes are filled afterwards."""
    while len(faces):
        edges, face_edges = edges_of(faces)
        uses = np.bincount(face_edges.ravel(), minlength=len(edges))
        crowded = (uses > 2)[face_edges].any(axis=1)
        if not crowded.any():
            break
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        worst = np.full(len(edges), np.inf)
        for k in range(3):
            np.minimum.at(worst, face_edges[:, k], area)
        smallest = (area[:, None] <= worst[face_edges]) & (uses > 2)[face_edges]
        faces = faces[~smallest.any(axis=1)]
    return faces


def with_holes_filled(surface: Surface, longest: int = 64) -> Surface:
    """Close boundary loops of up to `longest` edges with a fan around their centre."""
    vertices, faces = surface.vertices, surface.faces
    loops = [loop for loop in boundary_loops(faces) if len(loop) <= longest]
    fans, centres = [], []
    for loop in loops:
        if len(loop) == 3:
            fans.append(np.array([[loop[0], loop[1], loop[2]]]))
            continue
        centre = len(vertices) + len(centres)
        centres.append(vertices[loop].mean(axis=0))
        fans.append(np.stack([loop, np.roll(loop, -1), np.full(len(loop), centre)], axis=1))
    if fans:
        faces = np.concatenate([faces, *fans]).astype(np.int32)
    if centres:
        vertices = np.concatenate([vertices, np.stack(centres)]).astype(np.float32)
    return Surface(vertices, faces)


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Closed chains of vertices along edges with one face, in the direction that a filling face must take."""
    edges, face_edges = edges_of(faces)
    alone = np.bincount(face_edges.ravel(), minlength=len(edges)) == 1
    face, corner = np.nonzero(alone[face_edges])
    heads = faces[face, corner]
    tails = faces[face, (corner + 1) % 3]
    following: dict[int, list[int]] = {}
    for head, tail in zip(heads.tolist(), tails.tolist(), strict=True):
        following.setdefault(tail, []).append(head)  # the filling runs against the face
    loops = []
    while following:
        start = next(iter(following))
        chain = [start]
        while (choices := following.get(chain[-1])) is not None:
            step = choices.pop()
            if not choices:
                del following[chain[-1]]
            if step in chain:
                loop = chain[chain.index(step) :]
                chain = chain[: chain.index(step) + 1]
                if len(loop) >= 3:
                    loops.append(np.array(loop))
                continue
            chain.append(step)
    return loops


def largest_component(surface: Surface) -> Surface:
    """Keep the piece that encloses the most volume."""
    labels = face_components(surface.faces)
    if not labels.any():
        return surface
    volumes = [abs(signed_volume(surface.vertices, surface.faces[labels == k])) for k in range(labels.max() + 1)]
    return used_vertices(surface.vertices, surface.faces[labels == int(np.argmax(volumes))])


def smoothed(surface: Surface, iterations: int, shrink: float = 0.5, grow: float = -0.53) -> Surface:
    """Taubin smoothing: a step of the umbrella operator inwards, one outwards, so that the volume stays.

    Args:
        surface: Any mesh.
        iterations: Pairs of steps; 0 changes nothing.
        shrink: Lambda of the paper, in (0, 1).
        grow: Mu, a little larger in size than lambda and negative [Taubin 1995, A signal processing approach to fair
            surface design].
    """
    if iterations <= 0:
        return surface
    edges, _ = edges_of(surface.faces)
    size = len(surface.vertices)
    both = np.concatenate([edges, edges[:, ::-1]])
    adjacency = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(size, size)).tocsr()
    degree = np.maximum(np.asarray(adjacency.sum(axis=1)).ravel(), 1)
    mean = diags(1 / degree) @ adjacency
    vertices = surface.vertices.astype(np.float64)
    for _ in range(iterations):
        for factor in (shrink, grow):
            vertices = vertices + factor * (mean @ vertices - vertices)
    return Surface(vertices.astype(np.float32), surface.faces)
