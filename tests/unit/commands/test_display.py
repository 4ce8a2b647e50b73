"""Displays: JSON lines a script can follow, a bar that survives anything, silence when asked."""

from __future__ import annotations

import json

import pytest

from dreamlift.commands.display import BarDisplay, JsonDisplay, QuietDisplay, choose_display, time_left
from dreamlift.pipelines.context import Progress


def test_the_flags_choose_the_display_and_json_wins():
    assert type(choose_display(quiet=True, as_json=True)) is JsonDisplay
    assert type(choose_display(quiet=True, as_json=False)) is QuietDisplay
    assert type(choose_display(quiet=False, as_json=False)) is BarDisplay


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (8.4, "8 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (11520, "3 h 12 min")]
)
def test_time_left_is_said_in_words(seconds, words):
    assert time_left(seconds) == words


def test_json_progress_is_thinned_but_a_stage_ends_with_an_event(capsys):
    display = JsonDisplay()
    for step in range(101):
        display.progress(Progress("shape", 0, 2, step, 100, 5.0))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(events) < 20
    assert events[0]["step"] == 0
    assert events[-1]["step"] == 100 and events[-1]["fraction"] == 0.5
    assert {event["event"] for event in events} == {"progress"}


def test_json_tells_the_start_of_every_stage_at_once(capsys):
    display = JsonDisplay()
    for stage in ("Loading", "shape", "texture"):
        display.progress(Progress(stage, 0, 3, 0, 100))
    assert [json.loads(line)["stage"] for line in capsys.readouterr().out.splitlines()] == [
        "Loading",
        "shape",
        "texture",
    ]


def test_every_json_event_is_one_line(capsys):
    display = JsonDisplay()
    display.state("two\nlines")
    display.note("three")
    display.warning("code", "what", "remedy")
    display.finishing()
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == [
        "state",
        "note",
        "warning",
        "finishing",
    ]


def test_the_bar_names_each_stage_once_where_there_is_no_terminal(capsys):
    with BarDisplay() as display:
        display.state("loading")
        for step in range(5):
            display.progress(Progress("shape", 0, 2, step, 4, 3.0))
        display.progress(Progress("[texture]", 1, 2, 0, 4))
        display.warning("slow", "This [machine] is slow.", "Wait.")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("shape (1 of 2)") == 1
    assert "[texture] (2 of 2)" in captured.err and "[machine]" in captured.err


def test_quiet_shows_warnings_only(capsys):
    with QuietDisplay() as display:
        display.state("loading")
        display.progress(Progress("shape", 0, 1, 0, 4))
        display.warning("slow", "Slow.", "Wait.")
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "warning: Slow. Wait.\n"
