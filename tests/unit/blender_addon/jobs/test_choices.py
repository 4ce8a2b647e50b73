"""Settings that the server describes become values it accepts."""

from __future__ import annotations

import pytest
from blender_addon.protocol.messages import Pipeline, Preset, Setting
from scripted_server import PIPELINE

from blender_addon.jobs import choices

STEPS, SCALE, TEXTURE = PIPELINE.settings


def test_a_preset_has_the_settings_it_names():
    assert [setting.key for setting in choices.settings_of(PIPELINE, "full")] == ["scale"]


def test_only_pipelines_that_make_objects_and_need_no_picture_are_offered():
    bare = {"label": "I", "presets": (Preset(name="a", label="A"),), "settings": ()}
    image = Pipeline(name="image", image_roles=("reference",), **bare)
    views = Pipeline(name="views", view_names=("front",), makes_objects=False, **bare)
    known = [views, image, PIPELINE]
    assert choices.pipelines_of(choices.TEXT, known) == [PIPELINE]
    assert choices.pipelines_of(choices.IMAGE, known) == [image]
    assert choices.sources_of(known) == ("TEXT", "IMAGE") and choices.sources_of([PIPELINE, views]) == ("TEXT",)
    photos = Pipeline(name="photos", image_roles=("subject_1", "subject_2"), **bare)
    assert choices.sources_of([photos]) == (), "a pipeline of a later version asks for what this panel cannot give"
    assert Pipeline.from_body({"name": "old", "label": "x", "presets": [], "settings": []}).makes_objects


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        (STEPS, 5, 10),
        (STEPS, 5000, 1000),
        (STEPS, 12.0, 12),
        (SCALE, 7, 7.0),
        (TEXTURE, "512", 512),
        (TEXTURE, "9", 512),
        (Setting(key="b", label="B", type="bool", defaults={}), 1, True),
        (Setting(key="t", label="T", type="text", defaults={}), 3, "3"),
    ],
)
def test_values_are_of_the_type_and_in_range(setting, value, wanted):
    assert choices.checked(setting, value) == wanted
    assert type(choices.checked(setting, value)) is type(wanted)


def test_a_request_carries_only_what_differs_from_the_preset():
    settings = choices.settings_of(PIPELINE, "mini")
    as_blender_holds_it = {"steps": 300, "scale": 0.10000000149011612, "texture_size": "1024"}
    assert choices.changed(settings, "mini", as_blender_holds_it) == {}
    assert choices.changed(settings, "mini", {**as_blender_holds_it, "texture_size": "512"}) == {"texture_size": 512}
