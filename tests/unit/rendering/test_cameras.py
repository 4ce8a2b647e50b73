"""Where cameras stand, and what Zero123 is told of it."""

from __future__ import annotations

import pytest
import torch

from dreamlift.rendering.cameras import orbit, spherical, zero123_camera


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
