"""The learned environment and its harmonics."""

import torch

from dreamlift.representations.background import EnvironmentBackground, spherical_harmonics


def test_the_nine_harmonics_are_orthonormal_on_the_sphere():
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=generator), dim=-1)
    values = spherical_harmonics(directions)
    gram = values.T @ values / len(directions) * 4 * torch.pi
    torch.testing.assert_close(gram, torch.eye(9), atol=0.03, rtol=0)  # 0.008 seen: 200,000 random directions


def test_colours_are_in_range_depend_on_direction_and_can_be_trained():
    background = EnvironmentBackground()
    colours = background(torch.nn.functional.normalize(torch.randn(10, 3), dim=-1))
    assert colours.shape == (10, 3) and colours.min() > 0 and colours.max() < 1 and colours.std(0).max() > 0
    colours.sum().backward()
    assert all(p.grad is not None for p in background.parameters())
    assert background.parameter_groups()[0]["lr"] == 0.001
