"""Pictures of procedural objects."""

import math

import pytest
import torch

from dreamlift.rendering.cameras import orbit
from dreamlift.training.dataset import ensure_shards, load_shards, render_shard
from dreamlift.training.objects import COLOURS, ProceduralObject
from dreamlift.training.render import over, render


def test_a_ball_covers_the_disc_that_geometry_says():
    picture = render(ProceduralObject("ball", "red"), orbit([30.0], 20.0, 2.7, 40.0), 128)
    radius = math.asin(0.59 / 2.7)  # the mean ball's angular radius
    expected = math.pi * (math.tan(radius) / math.tan(math.radians(20)) / 2) ** 2
    assert picture[0, 3].mean().item() == pytest.approx(expected, rel=0.02)


def test_colour_is_the_objects_under_the_light_and_premultiplied():
    picture = render(ProceduralObject("ball", "red"), orbit([0.0], 15.0, 2.7, 40.0), 64)[0]
    middle = picture[:3, 32, 32]
    assert middle.argmax() == 0 and middle[0] > 0.6 * COLOURS["red"][0]
    assert (picture[:3, picture[3] == 0] == 0).all()


def test_the_beak_of_a_duck_shows_on_the_right_where_the_camera_stands_at_minus_90():
    duck = ProceduralObject("duck", "yellow")
    side = render(duck, orbit([-90.0], 10.0, 2.7, 40.0), 64)[0]
    orange = (side[0] > 0.5) & (side[1] < 0.65 * side[0])  # yellow keeps 0.9 of its red in green, in shade too
    assert orange.nonzero()[:, 1].float().mean() > 40


def test_compositing_shows_the_background_where_nothing_is():
    picture = render(ProceduralObject("cube", "blue"), orbit([0.0], 15.0, 2.7, 40.0), 32)
    assert over(picture, torch.tensor(0.3))[0, :, 0, 0].tolist() == pytest.approx([0.3] * 3)


def test_shards_are_the_same_for_the_same_seed_and_are_not_rendered_twice(tmp_path):
    for name in ("a.npz", "b.npz"):
        render_shard(tmp_path / name, 3, seed=5)
    a, b = (load_shards([tmp_path / name]) for name in ("a.npz", "b.npz"))
    assert torch.equal(a.views, b.views) and a.meta == b.meta
    before = (tmp_path / "a.npz").stat().st_mtime_ns
    render_shard(tmp_path / "a.npz", 3, seed=6)
    assert (tmp_path / "a.npz").stat().st_mtime_ns == before


def test_shards_hold_poses_that_their_cameras_repeat(tmp_path):
    sets = load_shards(ensure_shards(tmp_path / "data", shards=1, sets=2, processes=1))
    cameras = sets.cameras(torch.tensor([1]))
    first = torch.atan2(cameras.c2w[0, 1, 3], cameras.c2w[0, 0, 3]).rad2deg() % 360
    assert first.item() == pytest.approx(sets.poses[1, 0].item(), abs=1e-2)
    assert sets.views.shape == (2, 4, 4, 64, 64)
