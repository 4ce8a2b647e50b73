"""Camera sets as published: orthogonal views, ranges, and the elevation sampler right and as released."""

import math

import pytest
import torch

from dreamlift.rendering.view_sets import ViewSetRanges, sample_elevation, sample_view_sets


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_views_of_a_set_are_90_degrees_apart_at_one_height_and_distance(generator):
    cameras = sample_view_sets(ViewSetRanges(), 3, 4, generator)
    position = cameras.c2w[:, :3, 3].view(3, 4, 3)
    flat = torch.nn.functional.normalize(position[..., :2], dim=-1)
    torch.testing.assert_close((flat * flat.roll(1, 1)).sum(-1), torch.zeros(3, 4), atol=1e-5, rtol=0)
    assert (position[..., 2].std(1) < 1e-5).all() and (position.norm(dim=-1).std(1) < 1e-5).all()
    assert (cameras.fovy.view(3, 4).std(1) == 0).all()


def test_distances_lie_in_the_published_span(generator):
    cameras = sample_view_sets(ViewSetRanges(), 2000, 4, generator)
    distance = cameras.c2w[:, :3, 3].norm(dim=-1)
    # 0.8 / tan 30 = 1.39 to 1 / tan 7.5 = 7.6 [systems.md 10]
    assert distance.min() > 1.385 and distance.max() < 7.6
    assert distance.min() < 1.6 and distance.max() > 6.0


def test_fixed_ranges_give_fixed_cameras(generator):
    reach = 2.7 * math.tan(math.radians(20))
    cameras = sample_view_sets(ViewSetRanges(fovy=(40, 40), reach=(reach, reach)), 5, 4, generator)
    torch.testing.assert_close(cameras.c2w[:, :3, 3].norm(dim=-1), torch.full((20,), 2.7))


def test_elevations_fill_0_to_30_degrees_and_the_released_code_keeps_half_below_19_5(generator):
    proper = sample_elevation(ViewSetRanges(), 20000, generator)
    legacy = sample_elevation(ViewSetRanges(legacy_elevation=True), 20000, generator)
    for drawn in (proper, legacy):
        assert drawn.min() >= 0 and drawn.max() <= 30.001
    # A uniform sine over [0, 0.5] has its median at 14.48 degrees; the released map has its own at 9.6.
    assert proper.median() == pytest.approx(14.7, abs=0.4)
    assert legacy.median() == pytest.approx(12.0, abs=0.5)
    assert (legacy > 19.5).float().mean() == pytest.approx(0.5 * (30 - 19.47) / 30, abs=0.02)
