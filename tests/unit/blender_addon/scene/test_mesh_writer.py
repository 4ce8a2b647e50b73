"""What is asked of arrays before Blender gets them; the writing itself is tested in Blender (tests/bpy, tests/gui)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.scene.mesh_writer import MeshArrays

GOOD = MeshArrays(
    vertices=np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32),
    faces=np.array([[0, 1, 2]], np.int32),
    edges=np.array([[0, 1], [1, 2], [2, 0]], np.int32),
    face_edges=np.array([[0, 1, 2]], np.int32),
)


def test_a_right_mesh_and_an_empty_one_are_usable():
    assert GOOD.why_unusable() == ""
    assert MeshArrays(GOOD.vertices, GOOD.faces).why_unusable() == ""
    nothing = np.zeros((0, 3), np.int32)
    empty = MeshArrays(np.zeros((0, 3), np.float32), nothing, np.zeros((0, 2), np.int32), nothing)
    assert empty.why_unusable() == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"faces": np.array([[0, 1, 3]], np.int32)}, "a face points at number 3"),
        ({"faces": np.array([[0, 1, -1]], np.int32)}, "or -1 of 3"),
        ({"edges": np.array([[0, 1], [1, 9], [2, 0]], np.int32)}, "an edge points at number 9"),
        ({"face_edges": np.array([[0, 1, 3]], np.int32)}, "a face edge points at number 3"),
        ({"edges": None}, "face edges"),
        ({"vertices": np.full((3, 3), np.nan, np.float32)}, "not a number"),
    ],
)
def test_what_would_crash_blender_is_said(change, said):
    assert said in replace(GOOD, **change).why_unusable()
