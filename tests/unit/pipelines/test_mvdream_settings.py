"""The presets hold the published values, overrides stretch them, and the catalog says the same."""

import math

import pytest

from dreamlift.pipelines import catalog
from dreamlift.pipelines.context import Request, RequestError
from dreamlift.pipelines.mvdream_settings import FULL, FULL_LEGACY, FULL_PLAIN, MINI, PRESETS, settings_for


def test_the_full_preset_has_the_published_course():
    assert FULL.steps == 10_000
    assert [(s.resolution, s.objects, s.shading) for s in FULL.stages] == [(64, 2, False), (256, 1, True)]
    assert (FULL.guidance.scale, FULL.guidance.rescale, FULL.guidance.views) == (50.0, 0.5, 4)
    assert [FULL.highest_t(step) for step in (0, 8000, 9999)] == [0.98, 0.5, 0.5]
    assert FULL.lowest_t(8000) == 0.02
    assert [FULL.weights.orient(step) for step in (0, 2500, 5000)] == [10.0, 505.0, 1000.0]
    assert FULL.optimiser.betas == (0.9, 0.99) and FULL.optimiser.eps == 1e-15
    assert (FULL.field.grid.levels, FULL.field.grid.log2_table, FULL.field.radius) == (16, 19, 1.0)
    assert FULL.stages[0].volume.step(1.0) == pytest.approx(math.sqrt(3) * 2 / 512)


def test_variants_differ_in_what_their_name_says():
    assert FULL_LEGACY.cameras.legacy_elevation and not FULL.cameras.legacy_elevation
    assert not any(stage.shading for stage in FULL_PLAIN.stages) and FULL_PLAIN.weights.orient(9000) == 0


def test_the_mini_preset_uses_the_cameras_its_prior_saw():
    assert MINI.cameras.fovy == (40.0, 40.0)
    assert MINI.cameras.reach[0] / math.tan(math.radians(20)) == pytest.approx(2.7)


@pytest.mark.parametrize("steps", [10, 77, 320, 1000])
def test_another_number_of_steps_stretches_stages_and_schedules_alike(steps):
    changed = MINI.with_steps(steps)
    assert changed.steps == steps
    assert changed.softness_at(steps) == pytest.approx(MINI.softness_at(320))
    assert changed.highest_t(0.4 * steps) == pytest.approx(MINI.highest_t(0.4 * 320))


def test_overrides_by_key_reach_their_place():
    values = {"steps": 50, "guidance_scale": 7, "triangles": 2000, "texture_size": 512, "size_m": 0.3}
    settings = settings_for(Request(settings=values))
    assert settings.steps == 50 and settings.guidance.scale == 7.0
    assert (settings.asset.triangles, settings.asset.texture_size, settings.asset.size_m) == (2000, 512, 0.3)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(preset="huge"), "unknown_preset"),
        (Request(settings={"colour": 3}), "unknown_setting"),
        (Request(settings={"steps": 3}), "bad_setting"),
        (Request(settings={"steps": float("nan")}), "bad_setting"),
        (Request(settings={"triangles": "many"}), "bad_setting"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_code(request_, code):
    with pytest.raises(RequestError) as error:
        settings_for(request_)
    assert error.value.code == code and error.value.remedy


def test_the_catalog_lists_the_presets_and_their_true_defaults():
    description = catalog.PIPELINES["mvdream"]
    assert [preset.name for preset in description.presets] == list(PRESETS)
    for name, settings in PRESETS.items():
        true = {"steps": settings.steps, "guidance_scale": settings.guidance.scale}
        true |= {key: getattr(settings.asset, key) for key in ("triangles", "texture_size", "size_m")}
        true |= {"refine_texture": settings.texture is not None}
        assert {setting.key: setting.defaults[name] for setting in description.settings} == true
