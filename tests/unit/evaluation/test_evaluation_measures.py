"""The measures tell right objects from wrong ones: true objects score almost perfectly, wrong ones badly."""

import functools

import numpy as np
import pytest
import torch

from dreamlift.assets.finish import FinishSettings, finish
from dreamlift.assets.surface import extract_surface
from dreamlift.evaluation.janus import janus_signs
from dreamlift.evaluation.measures import silhouette_iou, truth_views, volume_iou
from dreamlift.evaluation.mini_prompts import HELD_OUT_PROMPTS, PROMPTS, groups_of, is_held_out
from dreamlift.evaluation.models import camera_on_truth, key_of, model_of_asset, model_of_object, model_of_truth
from dreamlift.evaluation.scores import score_asset
from dreamlift.evaluation.views import views_of
from dreamlift.pipelines.context import Provenance
from dreamlift.rendering.cameras import orbit
from dreamlift.training.boxes import box_of
from dreamlift.training.objects import ASYMMETRIC, CLASSES, ProceduralObject
from dreamlift.training.prompts import parse_prompt

PROVENANCE = Provenance("mvdream", "mini", "", "", 0, "none", "Apache-2.0", True, "0.1.0", 1.0)
GRID = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 3, indexing="ij"), -1)
SETTINGS = FinishSettings(triangles=3000, texture_size=256, smooth=1)


def asset_of(sdf, color):
    """What the last stage of the pipeline makes of a field."""
    return finish(extract_surface(-sdf(GRID).numpy()), color, SETTINGS, PROVENANCE)


@functools.cache
def true_asset(prompt):
    item = parse_prompt(prompt)
    return asset_of(item.sdf, item.color)


def turned(points, quarter):
    """Points in the frame of an object that was turned by so many quarters about z."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter]
    x, y, z = points.unbind(-1)
    return torch.stack([c * x + s * y, -s * x + c * y, z], -1)


def copies(item, quarters):
    """Signed distance and colour of an object joined with turned copies of itself: a Janus by construction."""

    def sdf(points):
        return torch.stack([item.sdf(turned(points, q)) for q in quarters]).amin(0)

    def color(points):
        nearest = torch.stack([item.sdf(turned(points, q)) for q in quarters]).argmin(0)
        colours = torch.stack([item.color(turned(points, q)) for q in quarters])
        return colours.gather(0, nearest[None, :, None].expand(1, -1, 3))[0]

    return sdf, color


def signs_of(sdf, color, item):
    model = model_of_asset(asset_of(sdf, color))
    return janus_signs(model, views_of(model), model_of_truth(key_of(item)), truth_views(key_of(item)))


@pytest.mark.parametrize("prompt", ["a green snowman", "a blue chair", "a white house with a red roof", "a cyan ring"])
def test_the_true_object_scores_almost_perfectly_after_all_finishing(prompt):
    score = score_asset(true_asset(prompt), prompt, seed=0)
    assert score.colour and score.shape and score.solid and not score.janus
    # Worst of all 32 prompts at 80 samples, 6000 triangles: 0.974 (pyramid) and 0.946; here the grid is coarser.
    assert score.silhouette > 0.93 and score.volume > 0.90


def test_a_wrong_object_scores_badly():
    score = score_asset(true_asset("a green snowman"), "a red table", seed=0)
    assert not score.colour and not score.shape
    assert score.silhouette < 0.6 and score.volume < 0.4
    assert score.found[:2] == ("snowman", "green")
    assert score.solid


def test_two_colours_must_both_be_right():
    asset = true_asset("a white house with a red roof")
    assert not score_asset(asset, "a white house with a blue roof", 0).colour
    assert not score_asset(asset, "a red house with a white roof", 0).colour


@pytest.mark.parametrize("quarters", [(0, 2), (0, 1), (0, 1, 2, 3)])
@pytest.mark.parametrize("kind", ["snowman", "mug", "duck"])
def test_an_object_joined_with_turned_copies_of_itself_is_a_janus(kind, quarters):
    item = ProceduralObject(kind, "red")
    assert signs_of(*copies(item, quarters), item).is_janus


@pytest.mark.parametrize("kind", ["car", "house", "chair", "table"])
def test_other_classes_are_seen_through_too(kind):
    item = ProceduralObject(kind, "red")
    assert signs_of(*copies(item, (0, 1)), item).is_janus


@pytest.mark.parametrize("kind", ["car", "mug", "snowman", "duck"])
def test_a_plump_object_of_other_proportions_is_not_a_janus(kind):
    item = ProceduralObject(kind, "red")
    other = ProceduralObject(kind, "red", proportions=(0.9, 0.1, 0.5, 0.5))
    assert not signs_of(lambda points: other.sdf(points) - 0.03, other.color, item).is_janus


@pytest.mark.parametrize("kind", ASYMMETRIC)
def test_true_objects_of_asymmetric_classes_are_far_from_a_janus(kind):
    item = ProceduralObject(kind, "red")
    model, views = model_of_object(item), truth_views(key_of(item))
    signs = janus_signs(model, views, model, views)
    assert signs.looks < 0 and signs.copy == 0 and signs.colour == 0


def test_a_turned_object_is_not_the_object():
    item = ProceduralObject("car", "red")
    model = model_of_asset(asset_of(*copies(item, (1,))))
    truth = model_of_truth(key_of(item))
    assert silhouette_iou(views_of(model), truth_views(key_of(item))) < 0.75
    assert volume_iou(model, truth) < 0.6


def test_size_and_place_do_not_matter():
    item = ProceduralObject("duck", "yellow")
    model = model_of_asset(asset_of(lambda p: item.sdf(p * 1.5 - torch.tensor([0.3, 0, 0])) / 1.5, item.color))
    assert volume_iou(model, model_of_truth(key_of(item))) > 0.9


def test_the_benchmarks_prompts_are_those_the_issue_asks_for():
    assert len(PROMPTS) == len(set(PROMPTS)) >= 32
    assert sum(is_held_out(parse_prompt(prompt)) for prompt in PROMPTS) == len(HELD_OUT_PROMPTS) == 12
    asymmetric = [prompt for prompt in PROMPTS if "asymmetric" in groups_of(prompt)]
    assert len(asymmetric) >= 8
    assert {parse_prompt(prompt).kind for prompt in asymmetric} == set(ASYMMETRIC)
    assert {parse_prompt(prompt).kind for prompt in PROMPTS} == set(CLASSES)


def test_a_true_object_keeps_the_tips_that_a_grid_cuts_off():
    """A house's eaves are sharp: its longest side is the ridge's, though no sample of the grid lies in its ends."""
    house = ProceduralObject("house", "red")
    model = model_of_object(house)
    low, high = box_of(house)
    sides = (high - low) / (high - low).max()
    found = torch.from_numpy(np.ptp(model.vertices, axis=0))
    assert (found <= 1.0001).all() and (found > sides - 0.015).all() and found.max() < 0.9999
    camera = orbit([20.0], 10.0, 3.0, 30.0)
    on_truth = camera_on_truth(camera, house)
    scale = float((high - low).max())
    middle = torch.tensor([float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2, float(low[2])])
    assert torch.allclose(on_truth.c2w[0, :3, 3] * scale + middle, camera.c2w[0, :3, 3], atol=0.01)
