"""Repairs: what was torn is closed, what was whole stays as it was."""

import numpy as np
import pytest
import trimesh

from dreamlift.assets.cleanup import largest_component, repaired, smoothed, without_bad_faces
from dreamlift.assets.topology import Surface, face_components, is_one_solid, is_watertight, signed_volume


def ball(subdivisions=3, at=(0, 0, 0), radius=1.0):
    mesh = trimesh.creation.icosphere(subdivisions, radius)
    return Surface((mesh.vertices + np.array(at)).astype(np.float32), mesh.faces.astype(np.int32))


def joined(*surfaces):
    offsets = np.cumsum([0] + [len(s.vertices) for s in surfaces])
    faces = [s.faces + offset for s, offset in zip(surfaces, offsets, strict=False)]
    return Surface(np.concatenate([s.vertices for s in surfaces]), np.concatenate(faces).astype(np.int32))


def test_a_torn_ball_is_closed_again():
    whole = ball()
    holes = np.ones(len(whole.faces), bool)
    holes[[5, 300, 301, 302, 700]] = False
    mended = repaired(Surface(whole.vertices, whole.faces[holes]))
    assert is_one_solid(mended.vertices, mended.faces)
    volume = signed_volume(whole.vertices, whole.faces)
    assert signed_volume(mended.vertices, mended.faces) == pytest.approx(volume, rel=0.01)


def test_degenerate_and_duplicate_faces_go():
    whole = ball(1)
    spoiled = np.concatenate([whole.faces, whole.faces[:3], whole.faces[3:5][:, [1, 2, 0]], [[4, 4, 9], [1, 2, 1]]])
    assert len(without_bad_faces(spoiled)) == len(whole.faces)
    assert is_watertight(repaired(Surface(whole.vertices, spoiled.astype(np.int32))).faces)


def test_two_faces_that_look_at_each_other_cancel_out():
    whole = ball(1)
    flap = np.array([[0, 1, len(whole.vertices)], [1, 0, len(whole.vertices)]])
    assert len(without_bad_faces(np.concatenate([whole.faces, flap]))) == len(whole.faces)


def test_a_fin_on_an_edge_goes():
    whole = ball(2)
    fin = np.array([[whole.faces[0, 0], whole.faces[0, 1], len(whole.vertices)]], np.int32)
    vertices = np.concatenate([whole.vertices, whole.vertices[:1] * 1.01])
    mended = repaired(Surface(vertices, np.concatenate([whole.faces, fin])))
    assert is_one_solid(mended.vertices, mended.faces)


def test_a_mesh_inside_out_is_turned():
    whole = ball(1)
    mended = repaired(Surface(whole.vertices, whole.faces[:, ::-1]))
    assert signed_volume(mended.vertices, mended.faces) > 0


def test_the_largest_piece_is_kept():
    both = joined(ball(2, (3, 0, 0), 0.5), ball(1))
    assert face_components(both.faces).max() == 1
    kept = largest_component(both)
    assert len(kept.faces) == len(ball(1).faces) and kept.vertices[:, 0].max() < 1.1


def test_smoothing_takes_roughness_and_leaves_the_volume():
    rng = np.random.default_rng(0)
    whole = ball(4)
    rough = Surface(
        whole.vertices * (1 + 0.01 * rng.normal(size=(len(whole.vertices), 1))).astype(np.float32), whole.faces
    )
    smooth = smoothed(rough, 5)
    spread = [np.linalg.norm(s.vertices, axis=1).std() for s in (rough, smooth)]
    assert spread[1] < 0.5 * spread[0]
    volumes = [signed_volume(s.vertices, s.faces) for s in (rough, smooth)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.01)
    assert np.array_equal(smoothed(rough, 0).vertices, rough.vertices)


def test_open_meshes_are_not_watertight_and_neither_is_nothing():
    whole = ball(1)
    assert is_watertight(whole.faces)
    assert not is_watertight(whole.faces[1:])
    assert not is_watertight(np.zeros((0, 3), np.int32))
    turned = whole.faces.copy()
    turned[0] = turned[0, ::-1]
    assert not is_watertight(turned)
