"""Image prompts: the object of each set again, from elsewhere and in another light, recentred."""

import random

import numpy as np
import pytest
import torch

from dreamlift.training.dataset import load_shards, render_set, render_shard
from dreamlift.training.image_prompts import (
    FILL,
    objects_of,
    prompt_path,
    random_camera,
    random_light,
    recentred,
    render_prompts,
)
from dreamlift.training.objects import ProceduralObject
from dreamlift.training.render import TRAINING_LIGHT, render, shade


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sets-003.npz"
    render_shard(path, 6, seed=3)
    render_prompts(path)
    return path


def test_a_shards_objects_are_found_again_from_its_number(shard):
    sets = load_shards([shard])
    for i, (item, azimuth) in enumerate(objects_of(3, len(sets))):
        assert torch.equal(render_set(item, azimuth, float(sets.poses[i, 1])), sets.views[i])


def test_every_prompt_is_centred_and_fills_its_share_of_the_square(shard):
    pictures = torch.from_numpy(np.load(prompt_path(shard)))
    assert pictures.shape == (6, 4, 64, 64)
    for alpha in pictures[:, 3]:
        rows, columns = (alpha > 127).nonzero(as_tuple=True)
        sides = [int(found.max() - found.min()) + 1 for found in (rows, columns)]
        assert abs(max(sides) - FILL * 64) <= 2
        middles = [float(found.max() + found.min()) / 2 for found in (rows, columns)]
        assert max(abs(middle - 31.5) for middle in middles) <= 1.5


def test_a_shard_of_other_objects_is_refused(tmp_path):
    render_shard(tmp_path / "sets-004.npz", 2, seed=9)  # the number in its name is not its seed
    with pytest.raises(ValueError, match="other objects"):
        render_prompts(tmp_path / "sets-004.npz")


def test_an_empty_picture_stays_empty():
    assert not recentred(torch.zeros(4, 20, 30), 16).any()


def test_cameras_stand_in_front_and_see_the_whole_object():
    rng = random.Random(0)
    big = ProceduralObject("cube", "red", proportions=(1.0,) * 4)
    for _ in range(20):
        camera = random_camera(rng)
        assert camera.c2w[0, 0, 3] > -1e-4  # azimuth -90 to 90: never behind it
        alpha = render(big, camera, 32, 1)[0, 3]
        border = torch.cat([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
        assert alpha.any() and not border.any()


def test_another_light_shows_other_colours_and_the_training_light_is_the_default():
    albedo, up = torch.full((1, 3), 0.5), torch.tensor([[0.0, 0.0, 1.0]])
    assert torch.equal(shade(albedo, up), shade(albedo, up, TRAINING_LIGHT))
    assert not torch.allclose(shade(albedo, up), shade(albedo, up, random_light(random.Random(1))), atol=1e-3)
