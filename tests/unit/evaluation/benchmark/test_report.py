"""Scores add up: means over objects, intervals, targets, and paired comparisons in the right direction."""

import json

import pytest
from rich.console import Console

from dreamlift.evaluation.benchmark.docs import markdown
from dreamlift.evaluation.benchmark.report import METRICS, object_means, show, summarise
from dreamlift.evaluation.benchmark.scores import Score


def scores(psnr, janus=(), **others):
    """Eight objects with two seeds; the second seed is 2 dB better."""
    return [
        Score(f"object {k}", seed, psnr=psnr + k + 2 * seed, janus=None if k % 2 else k in janus, solid=True, **others)
        for k in range(8)
        for seed in range(2)
    ]


def report_of(**variants):
    report = summarise({name: (f"{name} in words", each) for name, each in variants.items()})
    return report | {"benchmark": "image-to-3d", "command": "dreamlift evaluate image-to-3d", "jobs": 2}


def test_means_are_over_objects_and_their_seeds():
    row = report_of(pixel=scores(20.0))["variants"]["pixel"]["metrics"]["psnr"]
    assert row["mean"] == pytest.approx(20 + 3.5 + 1) and row["met"] and row["objects"] == 8
    assert row["low"] < row["mean"] < row["high"] and row["sd"] == pytest.approx(2**0.5)
    assert object_means("psnr", scores(20.0))["object 3"] == 24


def test_a_measure_without_a_meaning_is_left_out_and_a_target_that_is_missed_is_told():
    metrics = report_of(pixel=scores(10.0, janus=(0,)))["variants"]["pixel"]["metrics"]
    assert metrics["image_similarity"] is None and metrics["chamfer"] is None
    assert metrics["janus"]["mean"] == 0.25 and metrics["janus"]["objects"] == 4 and metrics["janus"]["met"] is False
    assert metrics["psnr"]["met"] is False and metrics["seconds"]["met"] is None


def test_the_better_variant_wins_whichever_way_the_measure_counts():
    good = scores(25.0, stray=0.01, sharpness=0.9)
    bad = scores(20.0, stray=0.05, sharpness=1.5)
    report = report_of(**{"pixel": good, "pixel-alone": bad})
    assert [(each["first"], each["second"]) for each in report["comparisons"]] == [("pixel", "pixel-alone")]
    rows = report["comparisons"][0]["metrics"]
    assert rows["psnr"]["wins"] == rows["stray"]["wins"] == rows["sharpness"]["wins"] == 1
    assert rows["psnr"]["difference"] == pytest.approx(5) and rows["stray"]["difference"] == pytest.approx(-0.04)
    assert rows["sharpness"]["difference"] == pytest.approx(-0.4), "how much nearer to the truth's"
    assert rows["psnr"]["p"] == pytest.approx(2 / 2**8) and rows["image_similarity"] is None


def test_objects_that_only_one_variant_has_are_not_compared():
    report = report_of(**{"pixel": scores(25.0), "pixel-alone": scores(20.0)[:6]})
    assert report["comparisons"][0]["metrics"]["psnr"]["pairs"] == 3


def test_the_table_and_the_page_show_every_measure_with_its_target_and_what_went_wrong():
    failed = [*scores(20.0), Score("object 9", 0, problem="Nothing took shape.")]
    report = report_of(**{"pixel": failed, "pixel-alone": scores(18.0)})
    console = Console(record=True, width=200, file=open("/dev/null", "w"))
    with console.file:
        show(report, console)
    links = {"pixel": "pictures/p.jpg", "pixel-alone": "pictures/a.jpg"}
    text, page = console.export_text(), markdown(report, links)
    for metric in METRICS:
        assert metric.title in page and metric.asked in page
    assert "pixel against pixel-alone" in text and "unavailable" in text and "unavailable" in page
    assert "object 9 (0): Nothing took shape." in text and "object 9 (0): Nothing took shape." in page
    assert "![pixel-alone: prompt image, asset, truth](pictures/a.jpg)" in page and "2 processes" in page
    json.dumps(report)
