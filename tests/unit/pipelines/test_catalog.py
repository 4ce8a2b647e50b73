"""The catalog's data can be drawn and sent, and requests are checked against it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from dreamlift.pipelines.catalog import MOST_SEEDS, PIPELINES, check, check_images, check_object, check_views, load
from dreamlift.pipelines.context import Request, RequestError
from dreamlift.protocol import messages

SETTINGS = [(name, setting) for name, pipeline in PIPELINES.items() for setting in pipeline.settings]


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_has_a_default_preset_and_labels_that_fit_a_panel(name):
    pipeline = PIPELINES[name]
    assert pipeline.name == name and pipeline.presets
    assert all(len(setting.label) <= 28 for setting in pipeline.settings)
    assert len({setting.key for setting in pipeline.settings}) == len(pipeline.settings)


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=lambda value: getattr(value, "key", value))
def test_every_default_is_one_that_the_catalog_itself_accepts(name, setting):
    presets = {preset.name for preset in PIPELINES[name].presets}
    assert set(setting.defaults) <= presets
    for preset, value in setting.defaults.items():
        check(name, preset, {setting.key: value})


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=lambda value: getattr(value, "key", value))
def test_every_setting_fits_the_wire(name, setting):
    body = messages.Setting(**asdict(setting)).to_body()
    assert messages.Setting.from_body(body).key == setting.key


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sculpt", "mini", {}), "unknown_pipeline"),
        (("mvdream", "huge", {}), "unknown_preset"),
        (("mvdream", "mini", {"colour": 1}), "unknown_setting"),
        (("mvdream", "mini", {"steps": 5}), "bad_setting"),
        (("mvdream", "mini", {"steps": 10**9}), "bad_setting"),
        (("mvdream", "mini", {"steps": "300"}), "bad_setting"),
        (("mvdream", "mini", {"steps": 300.5}), "bad_setting"),
        (("mvdream", "mini", {"steps": True}), "bad_setting"),
        (("mvdream", "mini", {"size_m": float("nan")}), "bad_setting"),
        (("mvdream", "mini", {"size_m": float("inf")}), "bad_setting"),
        (("mvdream", "mini", {"texture_size": 1000}), "bad_setting"),
        (("mvdream", "mini", {"texture_size": True}), "bad_setting"),
    ],
)
def test_what_cannot_run_is_refused_before_it_is_queued(arguments, code):
    with pytest.raises(RequestError) as caught:
        check(*arguments)
    assert caught.value.code == code
    assert caught.value.what.endswith(".") and caught.value.remedy.endswith(".")


def test_a_value_out_of_range_comes_back_with_the_nearest_one():
    with pytest.raises(RequestError) as caught:
        check("mvdream", "mini", {"steps": 1})
    check("mvdream", "mini", caught.value.suggestion)


# What later pipelines will look like: one that starts from a picture, with an orbit, and one that draws no views.
ORBIT = replace(PIPELINES["mvdream"], name="orbit", image_roles=("reference",), view_names=tuple("0123456789abcdefgh"))
BLIND = replace(PIPELINES["mvdream"], name="blind", view_names=())
MORE = {**PIPELINES, "orbit": ORBIT, "blind": BLIND}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sculpt", "mini", {}, (1,)), "unknown_pipeline"),
        (("mvdream", "huge", {}, (1,)), "unknown_preset"),
        (("blind", "mini", {}, (1,)), "no_views"),
        (("mvdream", "mini", {"steps": 300}, (1,)), "unknown_setting"),
        (("mvdream", "mini", {}, ()), "bad_seeds"),
        (("mvdream", "mini", {}, (1, 1)), "bad_seeds"),
        (("mvdream", "mini", {}, range(MOST_SEEDS + 1)), "bad_seeds"),
    ],
)
def test_a_request_for_views_that_cannot_run_is_refused(arguments, code):
    with pytest.raises(RequestError) as caught:
        check_views(*arguments, MORE)
    assert caught.value.code == code
    assert caught.value.what.endswith(".") and caught.value.remedy.endswith(".")


def test_the_seeds_of_a_request_and_the_names_of_an_orbit_fit_the_wire():
    check_views("orbit", "mini", {}, range(MOST_SEEDS), MORE)
    for name, pipeline in MORE.items():
        body = {"name": name, "label": "x", "presets": [], "settings": [], "view_names": pipeline.view_names}
        assert messages.Pipeline.from_body(body).view_names == pipeline.view_names
    assert len(messages.JobRequest.from_body({"goal": "views", "seeds": list(range(MOST_SEEDS))}).seeds) == MOST_SEEDS


def test_a_picture_goes_only_to_a_pipeline_that_takes_it():
    check_images("orbit", ["reference"], MORE)
    check_images("mvdream", [], MORE)
    for arguments, code in (
        (("mvdream", ["reference"]), "no_image"),
        (("orbit", ["style"]), "no_image"),
        (("orbit", []), "missing_image"),
    ):
        with pytest.raises(RequestError) as caught:
            check_images(*arguments, MORE)
        assert caught.value.code == code and caught.value.remedy
    with pytest.raises(RequestError, match=r"orbit \(reference\)"):
        check_images("mvdream", ["reference"], MORE)


def test_every_pipeline_does_what_its_entry_says_and_nothing_else():
    for name, pipeline in PIPELINES.items():
        module = load(name)
        assert bool(pipeline.view_names) == hasattr(module, "sample_views")
        assert pipeline.makes_objects == hasattr(module, "run") == hasattr(module, "plan")
        assert pipeline.makes_objects or pipeline.view_names, "it does one of the two"


def test_the_default_pipeline_makes_objects_from_words_alone():
    first = next(iter(PIPELINES.values()))
    assert first.name == Request().pipeline and first.makes_objects and first.needs_prompt and not first.image_roles


def test_a_pipeline_for_views_alone_is_refused_for_objects():
    check_object("mvdream")
    check_object("imagedream")
    with pytest.raises(RequestError) as caught:
        check_object("v3d")
    assert caught.value.code == "no_object" and "mvdream, imagedream" in caught.value.remedy
    check_views("v3d", "full", {}, (1,))
    check_images("v3d", ["reference"])


def test_a_mask_comes_beside_a_picture_and_never_alone():
    check_images("imagedream", ["reference", "mask"])
    check_images("imagedream", ["reference"])
    with pytest.raises(RequestError) as caught:
        check_images("imagedream", ["mask"])
    assert caught.value.code == "missing_image" and "reference" in caught.value.what


def test_a_name_that_is_not_in_the_catalog_is_never_imported():
    with pytest.raises(RequestError, match="os"):
        load("os")


def test_reading_the_catalog_needs_no_torch():
    code = "import sys, dreamlift.pipelines.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
