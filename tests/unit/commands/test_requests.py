"""The words of the command line become a request, or an error that says what to write instead."""

from __future__ import annotations

import argparse

import pytest

from dreamlift.commands.outcomes import CommandError
from dreamlift.commands.requests import read_setting, request_from
from dreamlift.pipelines.catalog import PIPELINES, SettingDescription
from dreamlift.pipelines.context import RequestError

KNOWN = {
    "steps": SettingDescription("steps", "Steps", "int", {"mini": 300}),
    "speed": SettingDescription("speed", "Speed", "float", {"mini": 0.5}),
    "smooth": SettingDescription("smooth", "Smooth", "bool", {"mini": True}),
    "size": SettingDescription("size", "Size", "choice", {"mini": 512}, choices=(512, 1024)),
    "note": SettingDescription("note", "Note", "text", {"mini": "none"}),
}


def arguments(**changes):
    plain = {
        "pipeline": "mvdream",
        "preset": None,
        "prompt": "a red mushroom",
        "negative": "",
        "seed": 0,
        "weights": "trained",
        "settings": [],
    }
    return argparse.Namespace(**{**plain, "settings": [], **changes})


def test_without_options_the_first_preset_is_taken():
    request = request_from(arguments(prompt="  a red\n mushroom "))
    assert request.prompt == "a red mushroom"
    assert request.preset == PIPELINES["mvdream"].presets[0].name
    assert request.settings == {}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("steps=20", ("steps", 20)),
        ("speed = 1", ("speed", 1.0)),
        ("smooth=No", ("smooth", False)),
        ("size=1024", ("size", 1024)),
        ("note=a=b", ("note", "a=b")),
        ("note=", ("note", "")),
    ],
)
def test_a_setting_is_read_in_its_own_type(word, value):
    assert read_setting(word, KNOWN) == value
    assert type(read_setting(word, KNOWN)[1]) is type(value[1])


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("steps", "has no value"),
        ("steps=many", "a whole number"),
        ("steps=1.5", "a whole number"),
        ("size=700", "one of 512, 1024"),
        ("smooth=perhaps", "yes or no"),
        ("stesp=3", "Did you mean 'steps'"),
        ("zzz=3", "There are: steps, speed, smooth, size, note"),
    ],
)
def test_a_setting_that_cannot_be_read_says_what_to_write(word, complaint):
    with pytest.raises(CommandError, match=complaint):
        read_setting(word, KNOWN)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"prompt": " "}, "empty_prompt"),
        ({"seed": -1}, "bad_seed"),
        ({"seed": 2**63}, "bad_seed"),
        ({"preset": "minni"}, "unknown_preset"),
        ({"pipeline": "magic"}, "unknown_pipeline"),
        ({"settings": ["stepps=3"]}, "unknown_setting"),
    ],
)
def test_a_wrong_word_is_named(change, code):
    with pytest.raises(CommandError) as refused:
        request_from(arguments(**change))
    assert refused.value.code == code and refused.value.remedy


def test_a_value_out_of_range_is_refused_with_the_nearest():
    with pytest.raises(RequestError) as refused:
        request_from(arguments(settings=["steps=1"]))
    assert refused.value.code == "bad_setting" and refused.value.suggestion == {"steps": 10}
