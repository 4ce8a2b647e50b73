"""Decimation and remeshing keep one closed solid, and voxels know inside from outside."""

import numpy as np
import pytest
import trimesh
from scipy import ndimage

from dreamlift.assets.decimate import decimated, remeshed
from dreamlift.assets.surface import extract_surface
from dreamlift.assets.topology import Surface, is_one_solid, signed_volume
from dreamlift.assets.voxels import occupancy


def ball(subdivisions=4, radius=0.7):
    mesh = trimesh.creation.icosphere(subdivisions, radius)
    return Surface(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))


def test_a_ball_gets_the_faces_asked_for_and_keeps_its_volume():
    light = decimated(ball(), 800)
    assert 700 <= len(light.faces) <= 800
    assert is_one_solid(light.vertices, light.faces)
    volume = signed_volume(ball().vertices, ball().faces)
    assert signed_volume(light.vertices, light.faces) == pytest.approx(volume, rel=0.02)


def test_a_light_mesh_stays_as_it_is():
    small = ball(1)
    assert decimated(small, 5000) is small
    with pytest.raises(ValueError, match="at least 64"):
        decimated(small, 10)


def test_a_sponge_that_quadrics_tear_comes_out_closed_all_the_same():
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(18,) * 3), 0.8)
    sponge = extract_surface(noise)
    light = decimated(sponge, len(sponge.faces) // 4)
    assert is_one_solid(light.vertices, light.faces)
    assert len(light.faces) < 0.8 * len(sponge.faces)


def test_remeshing_closes_a_mesh_with_holes_and_overlaps():
    whole = ball()
    keep = np.random.default_rng(0).permutation(len(whole.faces))[10:]
    other = Surface(whole.vertices + np.float32(0.2), whole.faces)
    faces = np.concatenate([whole.faces[keep], other.faces + len(whole.vertices)])
    result = remeshed(Surface(np.concatenate([whole.vertices, other.vertices]), faces), 48)
    assert is_one_solid(result.vertices, result.faces)
    assert signed_volume(result.vertices, result.faces) > signed_volume(whole.vertices, whole.faces)


def test_occupancy_of_a_box_is_exact():
    box = trimesh.creation.box((1.0, 0.6, 0.4))
    inside = occupancy(box.vertices, box.faces, 41)
    axes = np.meshgrid(*[np.linspace(-1, 1, 41)] * 3, indexing="ij")
    truth = (np.abs(axes[0]) < 0.49) & (np.abs(axes[1]) < 0.29) & (np.abs(axes[2]) < 0.19)
    outside = (np.abs(axes[0]) > 0.51) | (np.abs(axes[1]) > 0.31) | (np.abs(axes[2]) > 0.21)
    assert inside[truth].all() and not inside[outside].any()


def test_occupancy_takes_overlapping_pieces_as_one():
    whole = ball(3)
    both = np.concatenate([whole.faces, whole.faces + len(whole.vertices)])
    inside = occupancy(np.concatenate([whole.vertices, whole.vertices * 0.5]), both, 32)
    assert np.array_equal(inside, occupancy(whole.vertices, whole.faces, 32))
