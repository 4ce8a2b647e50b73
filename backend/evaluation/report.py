"""From scores to the table: means over prompts, spread over seeds, beside what issue 2 asks for.

Knows scores. Generates and measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from dreamlift.evaluation.mini_prompts import groups_of
from dreamlift.evaluation.scores import Score
from dreamlift.training.camera_use import CameraUse
from dreamlift.training.objects import ASYMMETRIC


@dataclass(frozen=True)
class Metric:
    """A column: how it is read from a score, and what the issue asks of it.

    Args:
        key: Name in the JSON.
        title: Head of the column.
        value: Number of one score; None where the metric has no meaning for it.
        target: Threshold of the issue.
        at_most: True where smaller is better.
        percent: Shown as a percentage.
    """

    key: str
    title: str
    value: Callable[[Score], float | None]
    target: float
    at_most: bool = False
    percent: bool = True

    def met(self, value: float) -> bool:
        """Whether a mean reaches the target."""
        return value <= self.target + 1e-9 if self.at_most else value >= self.target - 1e-9

    def shown(self, value: float) -> str:
        """The number as the table writes it."""
        return f"{100 * value:.1f}" if self.percent else f"{value:.3f}"


METRICS = (
    Metric("colour", "colour %", lambda s: float(s.colour), 0.95),
    Metric("class", "class %", lambda s: float(s.shape), 0.90),
    Metric("silhouette_iou", "silhouette IoU", lambda s: s.silhouette, 0.85, percent=False),
    Metric("volume_iou", "volume IoU", lambda s: s.volume, 0.70, percent=False),
    Metric("solid", "one solid %", lambda s: float(s.solid), 1.0),
    Metric("janus", "Janus %", lambda s: None if s.janus is None else float(s.janus), 0.10, at_most=True),
)
CAMERA_TARGET = 2.0  # ratio at the noisier timestep
GROUPS = ("all", "held-out", "seen", "asymmetric", *ASYMMETRIC)


def summarise(scores: Sequence[Score], cameras: Sequence[CameraUse] = ()) -> dict:
    """Everything the table shows, as plain data.

    Args:
        scores: Of all prompts and seeds.
        cameras: Of `evaluation.camera`; may be empty.

    Returns:
        "groups": by group and metric `mean` (over all runs of the group), `sd` (of the seeds' means; None for one seed)
        and `met`; "all" also has `low` and `high`, the 95 % bootstrap interval over prompts. "cameras": ratio by
        timestep. "targets", "met", counts.
    """
    groups = {}
    for group in GROUPS:
        members = [score for score in scores if group in groups_of(score.prompt)]
        if members:
            groups[group] = {metric.key: _column(metric, members, group == "all") for metric in METRICS}
    use = {str(c.t): {"ratio": c.ratio, "right": c.right, "turned": c.turned, "by_class": c.by_class} for c in cameras}
    highest = max(cameras, key=lambda c: c.t).ratio if cameras else None
    met = {key: column["met"] for key, column in groups.get("all", {}).items() if column["mean"] is not None}
    if highest is not None:
        met["camera"] = highest >= CAMERA_TARGET
    return {
        "prompts": len({score.prompt for score in scores}),
        "seeds": len({score.seed for score in scores}),
        "runs": len(scores),
        "seconds": round(float(np.mean([score.seconds for score in scores])), 1) if scores else None,
        "groups": groups,
        "cameras": use,
        "targets": {metric.key: metric.target for metric in METRICS} | {"camera": CAMERA_TARGET},
        "met": met,
        "misses": [_miss(score) for score in scores if _is_miss(score)],
    }


def _column(metric: Metric, members: list[Score], interval: bool) -> dict:
    pairs = [(score, metric.value(score)) for score in members]
    pairs = [(score, value) for score, value in pairs if value is not None]
    if not pairs:
        return {"mean": None, "sd": None, "met": None}
    mean = float(np.mean([value for _, value in pairs]))
    by_seed = [[value for score, value in pairs if score.seed == seed] for seed in {score.seed for score, _ in pairs}]
    sd = float(np.std([np.mean(values) for values in by_seed], ddof=1)) if len(by_seed) > 1 else None
    column = {"mean": mean, "sd": sd, "met": metric.met(mean)}
    if interval:
        column["low"], column["high"] = _bootstrap(pairs)
    return column


def _bootstrap(pairs: list[tuple[Score, float]], draws: int = 10_000) -> tuple[float, float]:
    """95 % interval of the mean when prompts are drawn again (evaluation.md, section 10)."""
    prompts = sorted({score.prompt for score, _ in pairs})
    means = np.array([np.mean([value for score, value in pairs if score.prompt == prompt]) for prompt in prompts])
    drawn = means[np.random.default_rng(0).integers(0, len(means), (draws, len(means)))].mean(axis=1)
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def _is_miss(score: Score) -> bool:
    return not (score.colour and score.shape and score.solid) or bool(score.janus)


def _miss(score: Score) -> dict:
    wrong = [
        name for name, good in (("colour", score.colour), ("class", score.shape), ("solid", score.solid)) if not good
    ]
    wrong += ["janus"] if score.janus else []
    signs = [round(sign, 3) for sign in score.signs]
    return {
        "prompt": score.prompt,
        "seed": score.seed,
        "wrong": wrong,
        "found": list(score.found),
        "signs": signs,
        "problem": score.problem,
    }


def show(report: dict, console: Console) -> None:
    """Print the table, the camera's use and what went wrong."""
    title = f"mini-mvdream: {report['prompts']} prompts, {report['seeds']} seeds, mean ± spread over seeds"
    table = Table(title=title)
    table.add_column("group")
    for metric in METRICS:
        table.add_column(metric.title, justify="right", no_wrap=True)
    for group, columns in report["groups"].items():
        table.add_row(group, *(_cell(metric, columns[metric.key]) for metric in METRICS))
        if group in ("seen", "asymmetric"):
            table.add_section()
    table.add_section()
    table.add_row("asked for", *(("<= " if m.at_most else ">= ") + m.shown(m.target) for m in METRICS))
    console.print(table)
    for t, use in report["cameras"].items():
        classes = ", ".join(f"{name} {ratio:.2f}" for name, ratio in use["by_class"].items())
        console.print(
            f"camera turned by 90 degrees, t={t}: loss x {use['ratio']:.2f} (asked for: {CAMERA_TARGET}); {classes}"
        )
    for miss in report["misses"]:
        found = ", ".join(str(name) for name in miss["found"]) or miss["problem"]
        signs = f"; Janus signs {miss['signs']}" if "janus" in miss["wrong"] else ""
        console.print(f"  {miss['prompt']} (seed {miss['seed']}): {', '.join(miss['wrong'])}; found {found}{signs}")


def _cell(metric: Metric, column: dict) -> str:
    if column["mean"] is None or math.isnan(column["mean"]):
        return "-"
    spread = "" if column["sd"] is None else f" ± {metric.shown(column['sd'])}"
    style = "green" if column["met"] else "red"
    return f"[{style}]{metric.shown(column['mean'])}[/]{spread}"
