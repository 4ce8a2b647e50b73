"""Puts a report on a page of the documentation, between its markers, and its numbers beside the page.

Knows Markdown and where the pictures go. Measures nothing; the words around the markers are written by people.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dreamlift.evaluation.benchmark.report import METRICS, comparison_cells
from dreamlift.pipelines.context import RequestError

CPUINFO = Path("/proc/cpuinfo")  # Linux


def write_docs(file: Path, report: dict, pages: Mapping[str, Path]) -> None:
    """Replace what stands between a benchmark's markers; write its numbers and copy its pictures beside the page.

    Args:
        file: A Markdown file with `<!-- NAME: begin -->` and `<!-- NAME: end -->`, NAME the report's benchmark.
        report: Of `run.run`.
        pages: Picture files by variant.

    Raises:
        RequestError: "no_markers": the file has none for this benchmark.
    """
    name, text = report["benchmark"], file.read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        what = f"{file} does not have one {begin} before one {end}."
        raise RequestError("no_markers", what, "Put both lines where the tables belong, or name docs/quality.md.")
    pictures = file.parent / "pictures"
    pictures.mkdir(exist_ok=True)
    links = {}
    for variant in report["variants"]:
        links[variant] = f"pictures/quality-{name}-{variant}.jpg"
        shutil.copyfile(pages[variant], file.parent / links[variant])
    numbers = {key: value for key, value in report.items() if key != "scores"}  # single runs stay in the folders
    (file.parent / f"{file.stem}-{name}.json").write_text(json.dumps(_rounded(numbers), indent=1) + "\n")
    before, after = text.split(begin)[0], text.split(end)[1]
    file.write_text(f"{before}{begin}\n\n{markdown(report, links)}\n{end}{after}", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


def markdown(report: dict, links: Mapping[str, str]) -> str:
    """The tables, the comparisons and the pictures.

    Args:
        report: Of `run.run`.
        links: Where the picture of each variant is, from the page.
    """
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    jobs = report["jobs"]
    at_once = "one process" if jobs == 1 else f"{jobs} processes at once, one thread each"
    parts = [f"Measured {today} on {machine()}, {at_once}:", f"```sh\n{report['command']}\n```"]
    parts += [_variants(report), _means(report)]
    parts += [_comparison(comparison) for comparison in report["comparisons"]]
    problems = [f"- {name}: {problem}" for name, each in report["variants"].items() for problem in each["problems"]]
    parts += ["No asset came of:\n\n" + "\n".join(problems)] if problems else []
    for name, variant in report["variants"].items():
        parts.append(f"**{name}**: {variant['what']}.\n\n![{name}: prompt image, asset, truth]({links[name]})")
    return "\n\n".join(parts) + "\n"


def machine() -> str:
    """What this computer is called."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    if CPUINFO.exists():
        names = [line.split(":", 1)[1].strip() for line in CPUINFO.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {os.cpu_count()} cores"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _variants(report: dict) -> str:
    rows = []
    for name, variant in report["variants"].items():
        counts = [str(variant[key]) for key in ("objects", "seeds", "runs", "failed")]
        rows.append([name, variant["what"], *counts])
    return _table(["variant", "is", "objects", "seeds", "runs", "without an asset"], rows)


def _means(report: dict) -> str:
    """Metrics down, variants across; bold where the target is met, italic where it is missed."""
    rows = []
    for metric in METRICS:
        cells = []
        for variant in report["variants"].values():
            row = variant["metrics"][metric.key]
            if row is None:
                cells.append("unavailable" if metric.key.endswith("_similarity") else "-")
                continue
            mark = {None: "", True: "**", False: "*"}[row["met"]]
            cells.append(
                f"{mark}{metric.shown(row['mean'])}{mark} ({metric.shown(row['low'])} to {metric.shown(row['high'])})"
            )
        rows.append([metric.title, metric.asked, *cells])
    words = "Mean and 95 % bootstrap interval over the objects; bold reaches what was asked for, italic does not.\n\n"
    return words + _table(["measure", "asked for", *report["variants"]], rows)


def _comparison(comparison: dict) -> str:
    rows = [
        [metric.title, *comparison_cells(metric, comparison["metrics"][metric.key])]
        for metric in METRICS
        if metric.compared and comparison["metrics"][metric.key]
    ]
    head = ["measure", "difference", "95 % interval", "wins, %", "p (Wilcoxon)", "objects"]
    return f"**{comparison['first']} against {comparison['second']}**, object by object:\n\n" + _table(head, rows)
