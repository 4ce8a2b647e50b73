"""The SDF grid: its surface, its growth, its penalties, and where the rendered outline lies."""

import math

import pytest
import torch

from dreamlift.rendering.cameras import camera_rays, orbit
from dreamlift.rendering.volume import VolumeSettings, volume_render
from dreamlift.representations.field import grid_points
from dreamlift.representations.sdf_grid import SdfGrid, SdfGridSettings


def ball(resolution=40, softness=0.02, **settings):
    return SdfGrid(SdfGridSettings(start_radius=0.5, **settings), resolution, seed=0, softness=softness)


def test_level_values_are_positive_inside_and_zero_on_the_surface():
    values, radius = ball().level_values(33), grid_points(33, 1.0).norm(dim=-1)
    torch.testing.assert_close(values, 0.5 - radius, atol=0.05, rtol=0)  # a grid step: the kink in the middle


def test_growing_keeps_the_shape():
    field = ball(28)
    before = field.level_values(20)
    field.resize(40)
    assert field.resolution == 40 and isinstance(field.colour, torch.nn.Parameter)
    torch.testing.assert_close(field.level_values(20), before, atol=0.02, rtol=0)


def test_values_are_taken_from_elsewhere_and_parameters_stay_the_same():
    field = ball(41)
    distances, colours = field.sdf, field.colour
    field.resample(lambda points: points - torch.tensor([0.2, 0.0, 0.0]))
    assert field.sdf is distances and field.colour is colours
    assert field.distance(torch.tensor([[0.7, 0.0, 0.0], [-0.3, 0.0, 0.0]])).abs().max() < 1e-3, "0.2 to the right"
    places = ball(41)
    places.colour.data.copy_(grid_points(41, 1.0))
    places.resample(lambda points: points / 2)
    torch.testing.assert_close(places.colour.detach(), grid_points(41, 1.0) / 2, atol=1e-5, rtol=0)


def rendered_radius(field):
    origins, directions = (rays.reshape(-1, 3) for rays in camera_rays(orbit([0.0], 0.0, 2.7, 40.0), 128))
    with torch.no_grad():
        opacity = volume_render(
            field, origins, directions, VolumeSettings(800, 0.0), torch.ones(1, 1, 1, dtype=torch.bool)
        ).opacity
    share = (opacity > 0.5).float().mean().item()
    half = 2 * math.tan(math.radians(20)) / 2  # picture's half width at distance 1
    tangent = math.sqrt(share * 4 * half**2 / math.pi)
    return 2.7 * math.sin(math.atan(tangent))


def test_the_outline_of_a_ball_lies_on_its_zero_level_only_with_the_shift():
    # Without it the soft shell widens the outline by 2 to 3 softness lengths; see SdfGrid's docstring.
    assert rendered_radius(ball(surface_shift=0.0)) - 0.5 > 0.04
    assert abs(rendered_radius(ball(surface_shift=-2.0)) - 0.5) < 0.025


def test_a_distance_costs_no_eikonal_and_a_kink_costs_laplacian():
    field = ball()
    penalties = field.regularisers()
    assert penalties["eikonal"].item() < 0.02
    with torch.no_grad():
        field.sdf *= 2
    assert field.regularisers()["eikonal"].item() == pytest.approx(1.0, abs=0.1)
    with torch.no_grad():
        field.sdf += torch.randn_like(field.sdf) * 0.1
    assert field.regularisers()["laplacian"].item() > 100 * penalties["laplacian"].item()


def test_normals_point_outwards():
    points = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=-1) * 0.5
    normals = ball().query(points, normals=True).normal
    assert ((normals * points).sum(-1) / 0.5 > 0.98).all()


def test_density_reaches_as_far_as_it_says():
    field = ball()
    reach = field.reach(0.5)
    points = torch.tensor([[0.5 + reach - 0.01, 0, 0], [0.5 + reach + 0.01, 0, 0]])
    inside, outside = field.density(points)
    assert inside > 0.5 > outside
