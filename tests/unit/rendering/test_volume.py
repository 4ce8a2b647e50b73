"""Volume rendering against closed forms, and the Warp marcher against its twin."""

import math

import pytest
import torch

from dreamlift.rendering import _volume_torch as twin
from dreamlift.rendering.cameras import camera_rays, orbit
from dreamlift.rendering.volume import VolumeSettings, march, volume_render
from dreamlift.representations.field import FieldSample

EVERYWHERE = torch.ones(1, 1, 1, dtype=torch.bool)


class Ball:
    """Constant density and colour inside a ball; scripted, no parameters."""

    radius = 1.0

    def __init__(self, ball_radius, density):
        self.ball_radius = ball_radius
        self.value = torch.tensor(float(density), requires_grad=True)

    def density(self, points):
        return torch.where(points.norm(dim=-1) < self.ball_radius, self.value, 0.0)

    def query(self, points, *, normals=False):
        colour = torch.tensor([1.0, 0.5, 0.25]).expand(len(points), 3)
        return FieldSample(self.density(points), colour, points if normals else None)


def rays(resolution=8):
    origins, directions = camera_rays(orbit([20.0, 200.0], 15.0, 2.7, 40.0), resolution)
    return origins.reshape(-1, 3), directions.reshape(-1, 3)


def test_the_marcher_finds_the_same_samples_as_its_twin():
    generator = torch.Generator().manual_seed(0)
    origins, directions = rays(16)
    occupied = torch.rand(8, 8, 8, generator=generator) > 0.6
    jitter = torch.rand(len(origins), generator=generator)
    ours = march(origins, directions, occupied, 1.0, 0.037, jitter)
    theirs = twin.march(origins, directions, occupied, 1.0, 0.037, jitter)
    # A sample on a cell's face may round to either side: at most 3 of about 10,000 differed over 20 seeds.
    assert abs(len(ours[0]) - len(theirs[0])) <= 3
    if len(ours[0]) == len(theirs[0]):
        assert (ours[0] != theirs[0]).sum() == 0
        torch.testing.assert_close(ours[1], theirs[1], rtol=1e-5, atol=1e-5)


def test_a_ray_through_the_middle_of_a_ball_is_absorbed_as_beer_and_lambert_say():
    field, settings = Ball(0.5, 3.0), VolumeSettings(samples=2000, prune_alpha=0.0)
    render = volume_render(field, torch.tensor([[2.0, 0, 0]]), torch.tensor([[-1.0, 0, 0]]), settings, EVERYWHERE)
    expected = 1 - math.exp(-3.0)
    assert render.opacity.item() == pytest.approx(expected, abs=2e-3)
    torch.testing.assert_close(render.colour, torch.tensor([[1.0, 0.5, 0.25]]) * render.opacity)
    # Sum of w t: the mean free path inside, after 1.5 units of nothing.
    inside = 1 / 3 - math.exp(-3.0) * (1 + 1 / 3)
    assert render.depth.item() == pytest.approx(1.5 * expected + inside, abs=5e-3)


def test_opacity_falls_off_with_the_density_as_the_formula_does():
    field, settings = Ball(0.5, 3.0), VolumeSettings(samples=2000, prune_alpha=0.0)
    render = volume_render(field, torch.tensor([[2.0, 0, 0]]), torch.tensor([[-1.0, 0, 0]]), settings, EVERYWHERE)
    render.opacity.sum().backward()
    assert field.value.grad.item() == pytest.approx(math.exp(-3.0), abs=2e-3)


def test_pruning_and_an_occupancy_grid_change_the_picture_by_little():
    origins, directions = rays()
    plain = volume_render(Ball(0.5, 40.0), origins, directions, VolumeSettings(300, 0.0), EVERYWHERE)
    centres = (torch.stack(torch.meshgrid(*[torch.arange(16)] * 3, indexing="ij"), -1) + 0.5) / 8 - 1
    occupied = centres.norm(dim=-1) < 0.5 + 0.12
    pruned = volume_render(Ball(0.5, 40.0), origins, directions, VolumeSettings(300, 0.01), occupied)
    assert len(pruned.weights) < 0.3 * len(plain.weights)
    # What is hidden behind 1e-4 transmittance may be dropped, nothing else was worth anything here.
    torch.testing.assert_close(pruned.opacity, plain.opacity, rtol=0, atol=2e-4)


def test_rays_that_meet_nothing_are_black_and_clear():
    origins, directions = rays()
    empty = torch.zeros(4, 4, 4, dtype=torch.bool)
    render = volume_render(Ball(0.5, 3.0), origins, directions, VolumeSettings(50), empty, normals=True)
    assert render.opacity.abs().sum() == 0 and render.colour.abs().sum() == 0 and len(render.weights) == 0


def test_disagreeing_rays_are_refused_by_name():
    with pytest.raises(ValueError, match="origins"):
        volume_render(Ball(0.5, 1.0), torch.zeros(3, 3), torch.zeros(4, 3), VolumeSettings(8), EVERYWHERE)
