"""Normals: smooth where the surface is, sharp where it is not."""

import numpy as np
import trimesh

from dreamlift.assets.normals import corner_normals, face_normals


def test_a_ball_is_smooth():
    mesh = trimesh.creation.icosphere(3)
    normals = corner_normals(mesh.vertices, mesh.faces)
    outward = mesh.vertices[mesh.faces]
    assert np.abs(np.linalg.norm(normals, axis=2) - 1).max() < 1e-5
    assert (np.einsum("fkc,fkc->fk", normals, outward) > 0.995).all()


def test_a_cube_keeps_its_edges():
    mesh = trimesh.creation.box().subdivide()
    normals = corner_normals(mesh.vertices, mesh.faces)
    flat, areas = face_normals(mesh.vertices, mesh.faces)
    assert np.allclose(normals, flat[:, None], atol=1e-6)
    assert np.isclose(areas.sum(), 6)


def test_a_face_without_area_has_a_normal_all_the_same():
    normals = corner_normals(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    assert np.allclose(np.linalg.norm(normals, axis=2), 1)
