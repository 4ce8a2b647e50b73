"""The benchmark's run: it goes on where it was interrupted, adds up rightly, and ends in one line of JSON."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from dreamlift.assets.finish import FinishSettings, finish
from dreamlift.assets.surface import extract_surface
from dreamlift.evaluation import scores as scores_module
from dreamlift.evaluation.camera import unseen_sets
from dreamlift.evaluation.mini_mvdream import add_arguments, evaluate, read_prompts
from dreamlift.evaluation.report import METRICS, show, summarise
from dreamlift.evaluation.scores import Score, ScoreFolder, failed_score
from dreamlift.pipelines.context import Provenance, RequestError
from dreamlift.training.camera_use import CameraUse
from dreamlift.training.objects import ASYMMETRIC, HELD_OUT
from dreamlift.training.prompts import parse_prompt

GRID = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 40)] * 3, indexing="ij"), -1)
CAR, BALL = "a red car", "a blue ball"


class Oracle:
    """Makes the true object; keeps count of what it was asked for."""

    def __init__(self, refuses: str = ""):
        self.asked, self.refuses = [], refuses

    def __call__(self, prompt, seed):
        self.asked.append((prompt, seed))
        if prompt == self.refuses:
            raise RequestError("empty_object", "Nothing took shape.", "Try another seed.")
        item = parse_prompt(prompt)
        provenance = Provenance("mvdream", "mini", prompt, "", seed, "oracle", "Apache-2.0", True, "0.1.0", 1.0)
        surface = extract_surface(-item.sdf(GRID).numpy())
        return finish(surface, item.color, FinishSettings(1000, 64), provenance)


def test_an_interrupted_run_goes_on_and_measures_anew_only_when_definitions_change(tmp_path, monkeypatch):
    oracle = Oracle()
    folder = ScoreFolder(tmp_path)
    evaluate([CAR], range(1), folder, generate=oracle)
    results = evaluate([CAR, BALL], range(1), folder, generate=oracle)
    assert oracle.asked == [(CAR, 0), (BALL, 0)]
    assert [score.prompt for score in results] == [CAR, BALL]
    assert all(score.colour and score.shape and score.solid for score in results)
    assert evaluate([CAR, BALL], range(1), folder, generate=oracle) == results

    monkeypatch.setattr(scores_module, "METRICS_VERSION", 99)
    again = evaluate([CAR], range(1), ScoreFolder(tmp_path), generate=oracle)
    assert len(oracle.asked) == 2 and again == results[:1]
    assert json.loads((tmp_path / "scores" / "a_red_car-0.json").read_text())["metrics"] == 99
    for part, ending in (("assets", "glb"), ("sheets", "png"), ("scores", "json")):
        assert (tmp_path / part / f"a_red_car-0.{ending}").stat().st_size > 100


def test_a_prompt_that_is_refused_scores_as_wrong_and_the_rest_goes_on(tmp_path):
    results = evaluate([CAR, BALL], range(1), ScoreFolder(tmp_path), generate=Oracle(refuses=CAR))
    assert results[0] == failed_score(CAR, 0, "Nothing took shape. Try another seed.")
    assert results[1].shape
    assert ScoreFolder(tmp_path).score(CAR, 0) == results[0]


def test_a_crash_is_not_a_score(tmp_path):
    def broken(prompt, seed):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate([CAR], range(1), ScoreFolder(tmp_path), generate=broken)
    assert ScoreFolder(tmp_path).score(CAR, 0) is None


def scores_for_report():
    good = {"colour": True, "shape": True, "silhouette": 0.9, "volume": 0.8, "solid": True}
    return [
        Score("a green car", 0, **good, janus=False),
        Score("a green car", 1, **good, janus=True, signs=(0.2, 0.0, 0.0), found=("car", "green")),
        Score("a blue ball", 0, **good),
        Score(
            "a blue ball", 1, colour=False, shape=True, silhouette=0.7, volume=0.6, solid=True, found=("ball", "red")
        ),
    ]


def test_the_report_averages_over_runs_and_spreads_over_seeds():
    report = summarise(scores_for_report(), [CameraUse(900, 0.1, 0.25, {"car": 2.5})])
    everything = report["groups"]["all"]
    assert everything["colour"]["mean"] == 0.75
    assert everything["silhouette_iou"]["mean"] == pytest.approx(0.85)
    assert everything["silhouette_iou"]["sd"] == pytest.approx(np.std([0.9, 0.8], ddof=1))
    assert everything["silhouette_iou"]["low"] <= 0.85 <= everything["silhouette_iou"]["high"]
    assert everything["janus"]["mean"] == 0.5, "symmetric classes do not count"
    assert report["groups"]["held-out"]["colour"]["mean"] == 1
    assert report["groups"]["car"]["janus"] == {"mean": 0.5, "sd": pytest.approx(np.std([0, 1], ddof=1)), "met": False}
    assert "ball" not in report["groups"]
    met = {"colour": False, "class": True, "silhouette_iou": True, "volume_iou": True, "solid": True, "janus": False}
    assert report["met"] == met | {"camera": True}
    assert {miss["prompt"]: miss["wrong"] for miss in report["misses"]} == {
        CAR.replace("red", "green"): ["janus"],
        BALL: ["colour"],
    }
    assert (report["prompts"], report["seeds"], report["runs"]) == (2, 2, 4)
    json.dumps(report)


def test_the_table_shows_every_metric_with_its_threshold():
    console = Console(record=True, width=160, file=open("/dev/null", "w"))
    with console.file:
        show(summarise(scores_for_report(), [CameraUse(900, 0.1, 0.25, {"car": 2.5})]), console)
    text = console.export_text()
    for metric in METRICS:
        assert metric.title in text and metric.shown(metric.target) in text
    for words in ("held-out", "car", "x 2.50 (asked for: 2.0)", "a green car (seed 1): janus", "a blue ball (seed 1)"):
        assert words in text


def test_one_seed_has_no_spread():
    report = summarise(scores_for_report()[:1])
    assert report["groups"]["all"]["colour"]["sd"] is None


def test_prompts_may_come_from_a_file_that_must_name_known_objects(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("a red car\n\n  a blue ball \n")
    assert read_prompts(file) == (CAR, BALL)
    file.write_text("a purple hippopotamus\n")
    with pytest.raises(ValueError, match="hippopotamus"):
        read_prompts(file)


def test_unseen_sets_are_unseen_and_asymmetric():
    sets = unseen_sets(each=1)
    assert {(about["kind"], about["first"]) for about in sets.meta} <= HELD_OUT
    assert {about["kind"] for about in sets.meta} == set(ASYMMETRIC)
    assert sets.views.shape == (len(sets), 4, 4, 64, 64) and (sets.views[:, :, 3] > 128).any()


def test_the_options_have_the_defaults_of_the_issue():
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([])
    assert args.seeds == 3 and args.limit is None and args.out == Path("runs/evaluation") and args.jobs >= 1
