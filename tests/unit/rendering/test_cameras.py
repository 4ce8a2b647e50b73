"""Where cameras stand, and what Zero123 is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dreamlift.rendering.cameras import camera_rays, orbit, spherical, zero123_camera
from dreamlift.rendering.rasterization import rasterize


def test_spherical_is_the_inverse_of_orbit():
    azimuth, elevation = torch.tensor([0.0, 30.0, 135.0, -90.0]), torch.tensor([0.0, -20.0, 89.0, 45.0])
    places = spherical(orbit(azimuth, elevation, [1.0, 2.5, 0.3, 7.0], 40.0))
    assert places[:, 0] == pytest.approx(elevation, abs=1e-4)
    assert places[:, 1] == pytest.approx(azimuth, abs=1e-2)  # at 89 degrees a degree around is short
    assert places[:, 2] == pytest.approx(torch.tensor([1.0, 2.5, 0.3, 7.0]), rel=1e-5)


def test_zero123s_numbers_are_the_published_ones():
    moves = torch.tensor([[-20.0, 45.0, 0.3], [35.0, -170.0, 0.0]])
    expected = torch.tensor([[-0.349066, 0.707107, 0.707107, 0.3], [0.610865, -0.173648, -0.984808, 0.0]])
    assert zero123_camera(moves) == pytest.approx(expected, abs=1e-6)


def test_with_a_polar_angle_the_fourth_number_is_that_angle_in_radians():
    numbers = zero123_camera(torch.tensor([[0.0, 0.0, 0.7]]), torch.tensor([85.0]))
    assert numbers[0] == pytest.approx(torch.tensor([0.0, 0.0, 1.0, 1.483530]), abs=1e-6)


def test_a_shifted_camera_sees_what_a_crop_of_a_wider_one_does():
    wide = orbit([30.0], 20.0, 3.0, 60.0)
    half = float(torch.tan(torch.deg2rad(wide.fovy / 2)))
    top_right = replace(wide, fovy=2 * torch.rad2deg(torch.atan(wide.fovy * 0 + half / 2)))
    top_right = replace(top_right, shift=torch.tensor([[half / 2, half / 2]]))
    expected = camera_rays(wide, 32)[1][:, :16, 16:]
    torch.testing.assert_close(camera_rays(top_right, 16)[1], expected)
    corners = torch.tensor([[0.9, -0.3, -0.2], [-0.4, 0.8, 0.1], [0.1, 0.2, 0.9], [-0.7, -0.7, 0.0]])
    faces = torch.tensor([[0, 1, 2], [1, 2, 3]])
    whole, part = (rasterize(corners, faces, camera, side) for camera, side in ((wide, 32), (top_right, 16)))
    assert part.mask.any() and (part.face_ids == whole.face_ids[:, :16, 16:]).all()
    torch.testing.assert_close(part.depth, whole.depth[:, :16, 16:])


def test_a_shift_follows_its_camera():
    cameras = replace(orbit([0.0, 90.0], 0.0, 2.0, 40.0), shift=torch.tensor([[0.1, 0.0], [0.2, 0.3]]))
    torch.testing.assert_close(cameras[1:].shift, torch.tensor([[0.2, 0.3]]))
    assert cameras.to(torch.float64).shift.dtype == torch.float64
