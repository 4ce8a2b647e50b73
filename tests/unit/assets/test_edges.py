"""Edges of triangle meshes."""

import numpy as np
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from dreamlift.assets.edges import edges_of


def test_a_tetrahedron_has_six_edges_that_its_faces_name():
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
    edges, face_edges = edges_of(faces)
    assert edges.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    for face, numbers in zip(faces, face_edges, strict=True):
        for k in range(3):
            assert set(edges[numbers[k]]) == {face[k], face[(k + 1) % 3]}


def test_edges_of_a_ball_are_those_trimesh_finds():
    mesh = trimesh.creation.icosphere(3)
    faces = mesh.faces[np.random.default_rng(0).permutation(len(mesh.faces))]
    edges, face_edges = edges_of(faces)
    assert edges.dtype == face_edges.dtype == np.int32
    assert np.array_equal(edges, np.unique(np.sort(mesh.edges_unique, axis=1), axis=0))
    assert (np.bincount(face_edges.ravel()) == 2).all()


@given(st.lists(st.tuples(*[st.integers(0, 2**31 - 2)] * 3), max_size=20))
def test_any_indices_give_each_edge_once(faces):
    faces = np.array(faces, np.int64).reshape(-1, 3)
    edges, face_edges = edges_of(faces)
    assert len(np.unique(edges, axis=0)) == len(edges)
    for k in range(3):
        pairs = np.sort(np.stack([faces[:, k], faces[:, (k + 1) % 3]], axis=1), axis=1)
        assert np.array_equal(edges[face_edges[:, k]], pairs)


def test_no_faces_have_no_edges():
    edges, face_edges = edges_of(np.zeros((0, 3), np.int32))
    assert edges.shape == (0, 2) and face_edges.shape == (0, 3)
