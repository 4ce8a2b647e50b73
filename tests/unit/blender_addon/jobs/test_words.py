"""Texts that fit a narrow sidebar."""

from __future__ import annotations

import pytest

from blender_addon.jobs import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1 s"), (12.4, "12 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7800, "2 h 10 min"), (7200, "2 h")],
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red mushroom", "Red mushroom"),
        ("The  old   owl.", "Old owl"),
        ("", "Object"),
        ("!!!", "Object"),
        ("an owl " * 20, "Owl an owl an owl an owl an owl an owl"),
        ("Ein Hügel", "Ein Hügel"),
    ],
)
def test_object_names(prompt, name):
    assert words.object_name(prompt) == name and len(name) <= 40


def test_lines_in_the_queue():
    assert [words.queue_line(k) for k in (-1, 0, 1, 2, 3, 10, 20, 21)] == [
        "Waiting",
        "Next",
        "2nd in line",
        "3rd in line",
        "4th in line",
        "11th in line",
        "21st in line",
        "22nd in line",
    ]


def test_wrapped_lines_fit_and_say_that_something_is_missing():
    lines = words.wrap("one two three four five six seven eight nine ten", width=12, lines=2)
    assert lines == ["one two", "three four…"] or lines[-1].endswith("…")
    assert all(len(line) <= 12 for line in lines)
    assert words.wrap("short") == ["short"]
    assert words.wrap("") == []


def test_the_progress_line_says_stage_and_time():
    assert words.progress_line("shape", 1, 3, 0.4, 300) == "Shape 2/3 · 5 min left"
    assert words.progress_line("", 0, 1, 0.4, None) == "Working · 40%"
