"""ImageDream's numbers are those of the release and the paper, and a request changes what the catalog says it may."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from dreamlift.pipelines import catalog, imagedream, imagedream_prior
from dreamlift.pipelines.context import RANDOM, Request, RequestError
from dreamlift.pipelines.imagedream_settings import FULL, MINI, PAPER, PRESETS, settings_for
from dreamlift.pipelines.mvdream_settings import FULL as MVDREAM_FULL
from dreamlift.rendering.view_sets import ViewSetRanges, sample_view_sets


def ask(preset="full", **settings):
    return Request("imagedream", preset, settings=settings)


def test_the_full_preset_has_the_released_numbers():
    assert [(s.steps, s.resolution, 4 * s.objects, s.shading) for s in FULL.stages] == [
        (5000, 64, 8, False),
        (5000, 192, 4, True),
        (2500, 256, 4, True),
    ]
    assert (FULL.guidance.scale, FULL.guidance.rescale) == (5.0, 0.2)
    assert (FULL.cameras.fovy, FULL.cameras.elevation, FULL.cameras.reach) == ((45, 50), (0, 5), (0.6, 0.75))
    assert [FULL.weights.orient(step) for step in (0, 2500, 5000)] == [10, 505, 1000]
    assert FULL.weights.soft_sparsity(0) == 1 and FULL.weights.sparsity(0) == 0
    assert [FULL.highest_t(step) for step in (0, 4000, 8000)] == [0.98, pytest.approx(0.74), 0.5]
    assert [FULL.lowest_t(step) for step in (0, 4000, 8000)] == [0.98, pytest.approx(0.5), 0.02]
    assert FULL.picture.background_match == "rgb" and FULL.picture.colours == 0
    assert FULL.negative_prompt == MVDREAM_FULL.negative_prompt and FULL.optimiser == MVDREAM_FULL.optimiser


def test_the_paper_s_preset_differs_in_the_distance_alone():
    assert PAPER.cameras.reach == (0.6, 0.85)
    assert {name for name, value in vars(PAPER).items() if value != vars(FULL)[name]} == {"cameras"}


def test_distances_are_those_of_the_specification_and_no_view_is_fixed():
    cameras = sample_view_sets(FULL.cameras, 500, 4, torch.Generator().manual_seed(0))
    distance = cameras.c2w[:, :3, 3].norm(dim=-1)
    assert 1.28 < distance.min() and distance.max() < 1.82  # systems.md section 10: [1.29, 1.81]
    first = cameras.c2w[::4, :3, 3]
    assert torch.atan2(first[:, 1], first[:, 0]).std() > 1.5, "one phase an object, all around"


def test_alignment_off_takes_mvdream_s_cameras():
    assert settings_for(ask(camera_alignment=False)).cameras == ViewSetRanges() == MVDREAM_FULL.cameras
    mini = settings_for(ask("mini", camera_alignment=False)).cameras
    assert (mini.fovy, mini.reach, mini.elevation) == ((15, 60), (0.8, 1.0), MINI.cameras.elevation)
    assert settings_for(ask(camera_alignment=True)).cameras == FULL.cameras


def test_settings_of_pictures_reach_their_place():
    settings = settings_for(ask("mini", controller="global", background_match="grey", steps=40, guidance_scale=3))
    assert (settings.controller, settings.picture.background_match) == ("global", "grey")
    assert settings.picture.colours == MINI.picture.colours and settings.steps == 40 and settings.guidance.scale == 3


def test_a_global_controller_at_full_size_has_no_weights_and_says_so():
    with pytest.raises(RequestError) as caught:
        settings_for(ask(controller="global"))
    assert caught.value.code == "no_weights" and caught.value.suggestion == {"controller": "pixel"}
    random = Request("imagedream", "full", settings={"controller": "global"}, weights=RANDOM)
    assert settings_for(random).controller == "global"


def test_a_controller_without_mini_weights_is_refused_with_those_that_are_there(tmp_path, monkeypatch):
    (tmp_path / "pixel").mkdir()
    (tmp_path / "pixel" / "model.safetensors").touch()
    monkeypatch.setattr(imagedream_prior, "MINI_FOLDER", tmp_path)
    with pytest.raises(RequestError) as caught:
        imagedream_prior.load_prior(ask("mini"), SimpleNamespace(plan=None, device=torch.device("cpu")), "global")
    assert caught.value.code == "no_weights" and caught.value.suggestion == {"controller": "pixel"}


def test_the_catalog_lists_the_presets_and_their_true_defaults():
    description = catalog.PIPELINES["imagedream"]
    assert [preset.name for preset in description.presets] == list(PRESETS)
    for name, settings in PRESETS.items():
        defaults = {setting.key: setting.defaults[name] for setting in description.settings}
        assert settings_for(Request("imagedream", name, settings=defaults)) == settings
        assert defaults["steps"] == settings.steps and defaults["guidance_scale"] == settings.guidance.scale
        assert (defaults["controller"], defaults["background_match"]) == ("pixel", settings.picture.background_match)


def test_a_forecast_has_every_stage_and_the_asset():
    stages = imagedream.plan(ask(), torch.device("cuda"))
    assert [(stage.name, stage.steps) for stage in stages] == [
        ("shape", 5000),
        ("detail", 5000),
        ("fine", 2500),
        ("asset", 3),
    ]
    assert math.isclose(sum(stage.seconds for stage in stages) / 3600, 1.0, abs_tol=0.1)  # the paper's hour
