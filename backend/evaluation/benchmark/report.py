"""From scores to the benchmark's tables: means, intervals, what was asked for, paired comparisons.

Knows scores and their meaning. Makes nothing and measures nothing; `docs` puts it on a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from dreamlift.evaluation.benchmark.scores import Score
from dreamlift.evaluation.benchmark.variants import COMPARISONS
from dreamlift.evaluation.significance import bootstrap, paired


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Args:
        key: Field of `Score`.
        title: With its unit.
        digits: After the point.
        factor: What the value is multiplied by for the table, such as 100 for per cent.
        target: Threshold of the issue; None where it has none.
        at_most: True where smaller is better.
        compared: Whether the paired comparisons show it.
    """

    key: str
    title: str
    digits: int = 3
    factor: float = 1.0
    target: float | None = None
    at_most: bool = False
    compared: bool = False

    def met(self, value: float) -> bool | None:
        """Whether a mean reaches the target; None without one."""
        if self.target is None:
            return None
        return value <= self.target + 1e-9 if self.at_most else value >= self.target - 1e-9

    def shown(self, value: float) -> str:
        """The number as tables write it."""
        return f"{value * self.factor:.{self.digits}f}"

    @property
    def asked(self) -> str:
        """The target in words; empty without one."""
        return "" if self.target is None else f"{'<=' if self.at_most else '>='} {self.shown(self.target)}"


METRICS = (
    Metric("reference_psnr", "reference view: PSNR, dB", 1, target=25.0, compared=True),
    Metric("reference_iou", "reference view: silhouette IoU", target=0.93),
    Metric("psnr", "novel views: PSNR, dB", 1, target=20.0, compared=True),
    Metric("psnr_inside", "novel views: PSNR without background, dB", 1),
    Metric("psnr_unlit", "novel views: PSNR, colours unlit, dB", 1),
    Metric("ssim", "novel views: SSIM"),
    Metric("silhouette_iou", "novel views: silhouette IoU", target=0.85, compared=True),
    Metric("volume_iou", "volume IoU", compared=True),
    Metric("chamfer", "Chamfer distance, % of longest side", 2, 100.0, at_most=True),
    Metric("normal_error", "normal error, degrees", 1, at_most=True),
    Metric("janus", "Janus rate, %", 1, 100.0, target=0.05, at_most=True, compared=True),
    Metric("solid", "one watertight solid, %", 1, 100.0, target=1.0),
    Metric("floaters", "floaters an object", 2, at_most=True, compared=True),
    Metric("stray", "stray volume, % of the true", 2, 100.0, at_most=True, compared=True),
    Metric("saturation", "saturation less the truth's", 3),
    Metric("sharpness", "sharpness over the truth's", 2, compared=True),
    Metric("image_similarity", "similarity to the image", compared=True),
    Metric("text_similarity", "similarity to the caption", compared=True),
    Metric("seconds", "seconds", 1, at_most=True),
    Metric("peak_gb", "peak memory, GB", 2, at_most=True),
)
CLOSER = {"saturation": 0.0, "sharpness": 1.0}  # best at a value, not at an end: compared by distance from it


def summarise(variants: Mapping[str, tuple[str, Sequence[Score]]]) -> dict:
    """Everything the tables show, as plain data.

    Args:
        variants: By name: what it is, and its scores.

    Returns:
        "variants": by name `what`, `objects`, `runs`, `seeds`, `failed`, `problems` and `metrics`: by key `mean`, the
        95 % bootstrap interval over objects `low` and `high`, `sd` of the seeds' means (None for one seed), `met`
        (None without a target), `objects` that it has a meaning for; or None where it has none. "comparisons": `Paired`
        by metric for each of `COMPARISONS` whose variants are both there. "targets". "scores": by variant, all of them.
    """
    names = {name for name, (_, scores) in variants.items() if scores}
    return {
        "variants": {name: _variant(what, scores) for name, (what, scores) in variants.items() if scores},
        "comparisons": [
            _comparison(first, second, variants) for first, second in COMPARISONS if {first, second} <= names
        ],
        "targets": {metric.key: metric.target for metric in METRICS if metric.target is not None},
        "scores": {name: [asdict(score) for score in scores] for name, (_, scores) in variants.items()},
    }


def _variant(what: str, scores: Sequence[Score]) -> dict:
    return {
        "what": what,
        "objects": len({score.name for score in scores}),
        "seeds": len({score.seed for score in scores}),
        "runs": len(scores),
        "failed": sum(bool(score.problem) for score in scores),
        "problems": sorted({f"{score.name} ({score.seed}): {score.problem}" for score in scores if score.problem}),
        "metrics": {metric.key: _row(metric, scores) for metric in METRICS},
    }


def _row(metric: Metric, scores: Sequence[Score]) -> dict | None:
    by_object = object_means(metric.key, scores)
    if not by_object:
        return None
    values = list(by_object.values())
    low, high = bootstrap(values)
    mean = float(np.mean(values))
    return {
        "mean": mean,
        "low": low,
        "high": high,
        "sd": _spread_over_seeds(metric.key, scores),
        "met": metric.met(mean),
        "objects": len(values),
    }


def object_means(key: str, scores: Sequence[Score]) -> dict[str, float]:
    """Mean over the seeds by object, in the order of the scores; objects without a value are left out."""
    values: dict[str, list[float]] = {}
    for score in scores:
        if getattr(score, key) is not None:
            values.setdefault(score.name, []).append(float(getattr(score, key)))
    return {name: float(np.mean(each)) for name, each in values.items()}


def _spread_over_seeds(key: str, scores: Sequence[Score]) -> float | None:
    seeds = sorted({score.seed for score in scores})
    means = [object_means(key, [score for score in scores if score.seed == seed]) for seed in seeds]
    known = [np.mean(list(values.values())) for values in means if values]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None


def _comparison(first: str, second: str, variants: Mapping[str, tuple[str, Sequence[Score]]]) -> dict:
    rows = {}
    for metric in METRICS:
        own, other = (object_means(metric.key, variants[name][1]) for name in (first, second))
        common = [name for name in own if name in other]
        best = CLOSER.get(metric.key)
        pairs = [
            [values[name] if best is None else abs(values[name] - best) for name in common] for values in (own, other)
        ]
        result = paired(*pairs, at_most=metric.at_most or best is not None)
        rows[metric.key] = None if result is None else asdict(result)
    return {"first": first, "second": second, "metrics": rows}


def show(report: dict, console: Console) -> None:
    """Print the means, the comparisons and what went wrong."""
    console.print(means_table(report))
    for comparison in report["comparisons"]:
        console.print(_comparison_table(comparison))
    for name, variant in report["variants"].items():
        for problem in variant["problems"]:
            console.print(f"  {name}: no asset for {problem}")


def means_table(report: dict) -> Table:
    """Metrics down, variants across."""
    table = Table(title=f"{report.get('benchmark', 'benchmark')}: mean and 95 % interval over objects")
    table.add_column("measure")
    table.add_column("asked for", no_wrap=True)
    for name, variant in report["variants"].items():
        table.add_column(f"{name}\n{variant['objects']} objects x {variant['seeds']} seeds", justify="right")
    for metric in METRICS:
        cells = [_cell(metric, variant["metrics"][metric.key]) for variant in report["variants"].values()]
        table.add_row(metric.title, metric.asked, *cells)
    return table


def _cell(metric: Metric, row: dict | None) -> str:
    if row is None:
        return "unavailable" if metric.key.endswith("_similarity") else "-"
    style = {None: "default", True: "green", False: "red"}[row["met"]]
    return f"[{style}]{metric.shown(row['mean'])}[/] ({metric.shown(row['low'])} to {metric.shown(row['high'])})"


def _comparison_table(comparison: dict) -> Table:
    table = Table(title=f"{comparison['first']} against {comparison['second']}, object by object")
    for head in ("measure", "difference", "95 % interval", "wins %", "p (Wilcoxon)", "objects"):
        table.add_column(head)
    for metric in METRICS:
        row = comparison["metrics"][metric.key]
        if metric.compared and row:
            table.add_row(metric.title, *comparison_cells(metric, row))
    return table


def comparison_cells(metric: Metric, row: dict) -> tuple[str, ...]:
    """Difference, interval, wins, p and number of objects as tables write them."""
    p = "-" if row["p"] is None else f"{row['p']:.4f}" if row["p"] >= 1e-4 else "< 0.0001"
    interval = f"{metric.shown(row['low'])} to {metric.shown(row['high'])}"
    return metric.shown(row["difference"]), interval, f"{100 * row['wins']:.0f}", p, str(row["pairs"])
