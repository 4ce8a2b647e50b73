"""`dreamlift evaluate text-to-3d` and `image-to-3d`: variants of a pipeline on objects whose truth is known.

Knows what is wanted of which variant, and where it is kept. `runner` runs, `scores` measures, `report` adds up, `docs`
writes the page. Definitions: docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dreamlift.evaluation.benchmark.docs import write_docs
from dreamlift.evaluation.benchmark.objects import BY_NAME, OBJECTS
from dreamlift.evaluation.benchmark.page import write_page
from dreamlift.evaluation.benchmark.report import show, summarise
from dreamlift.evaluation.benchmark.scores import BenchmarkFolder, Score, score_asset
from dreamlift.evaluation.benchmark.variants import IMAGE_TO_3D, TEXT_TO_3D, Variant
from dreamlift.evaluation.runner import default_jobs, made, run_all
from dreamlift.pipelines.context import RequestError

log = logging.getLogger(__name__)

BENCHMARKS: dict[str, tuple[Variant, ...]] = {"image-to-3d": IMAGE_TO_3D, "text-to-3d": TEXT_TO_3D}
VARIANTS = {variant.name: variant for variants in BENCHMARKS.values() for variant in variants}


@dataclass(frozen=True)
class Found:
    """A variant that can be run, and where its results are."""

    variant: Variant
    path: Path

    @property
    def folder(self) -> BenchmarkFolder:
        """Its results."""
        return BenchmarkFolder(self.path)


def add_arguments(parser: argparse.ArgumentParser, benchmark: str) -> None:
    """The command's options; `run` takes what they parse to."""
    default = ",".join(variant.name for variant in BENCHMARKS[benchmark])
    parser.add_argument("--variants", default=default, help=f"comma-separated, of any benchmark (default: {default})")
    parser.add_argument("--objects", help="comma-separated names of objects (default: all)")
    parser.add_argument("--limit", type=int, help="only the first so many objects")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every object (default: 3)")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="keeps finished runs; resumes")
    parser.add_argument("--kept", action="store_true", help="make nothing: report what the folder has")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="write tables and pictures into this page")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")


def main(benchmark: str, arguments: Sequence[str] | None = None) -> int:
    """Read the options of one benchmark and run it."""
    parser = argparse.ArgumentParser(prog=f"dreamlift evaluate {benchmark}", description=__doc__)
    add_arguments(parser, benchmark)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    return run(benchmark, parser.parse_args(arguments), arguments)


def run(benchmark: str, args: argparse.Namespace, arguments: Sequence[str] = ()) -> int:
    """Make what is missing, print the tables and as the last line JSON. 0 whatever the figures.

    Args:
        benchmark: Key of `BENCHMARKS`.
        args: Of `add_arguments`.
        arguments: As they were typed, for the report.

    Raises:
        RequestError: A variant or an object is not known, or no variant can be run.
    """
    names = chosen_objects(args.objects)[: args.limit]
    found = runnable(chosen_variants(args.variants), args.out)
    scores = evaluate(found, names, args.seeds, max(1, args.jobs), args.kept)
    command = " ".join(["dreamlift", "evaluate", benchmark, *arguments])
    report = {"benchmark": benchmark, "command": command, "jobs": args.jobs}
    report |= summarise({each.variant.name: (each.variant.what, scores[each.variant.name]) for each in found})
    report["folders"] = {each.variant.name: str(each.path) for each in found}
    pages = write_pages(found, names, args.out)
    (args.out / f"{benchmark}.json").write_text(json.dumps(report, indent=1) + "\n")
    if args.docs:
        write_docs(args.docs, report, pages)
    if not args.json:
        show(report, Console())
    print(json.dumps(report))
    return 0


def chosen_variants(text: str) -> list[Variant]:
    """Variants by their names.

    Raises:
        RequestError: "unknown_variant", or what `Variant.check` says.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in VARIANTS]
    if unknown or not names:
        what = f"There is no variant {', '.join(map(repr, unknown)) or 'named'}."
        raise RequestError("unknown_variant", what, f"There are: {', '.join(VARIANTS)}.")
    variants = [VARIANTS[name] for name in dict.fromkeys(names)]
    for variant in variants:
        variant.check()
    return variants


def chosen_objects(text: str | None) -> list[str]:
    """Names of objects, all of them for None.

    Raises:
        RequestError: "unknown_object".
    """
    names = [case.name for case in OBJECTS] if text is None else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        what = f"There is no object {', '.join(map(repr, unknown))}."
        raise RequestError("unknown_object", what, f"There are: {', '.join(BY_NAME)}.")
    return names


def runnable(variants: Sequence[Variant], out: Path) -> list[Found]:
    """Variants whose weights are there; the others are told of and left out.

    Raises:
        RequestError: "no_weights": none is left.
    """
    found = []
    for variant in variants:
        try:
            found.append(Found(variant, out / variant.folder()))
        except FileNotFoundError as error:
            log.warning("variant %s is left out: %s is missing", variant.name, error.filename)
    if not found:
        what = f"No weights are there for {', '.join(variant.name for variant in variants)}."
        raise RequestError("no_weights", what, "Install Dreamlift again, or name other --variants.")
    return found


def evaluate(
    found: Sequence[Found], names: Sequence[str], seeds: int, jobs: int = 1, only_kept: bool = False
) -> dict[str, list[Score]]:
    """Scores by variant; only those that no folder has are made.

    Args:
        found: What to run.
        names: Of objects.
        seeds: Runs of every object; the true object is made once.
        jobs: Processes.
        only_kept: Make nothing.

    The variants of one object come one after the other and the first seed of all objects before the second of any, so
    that an unfinished run holds whole pairs. Variants that ask for the same share their assets.
    """
    paths = {each.variant.name: each.path for each in found}
    wanted = [
        (each.variant.name, name, seed)
        for seed in range(seeds)
        for name in names
        for each in found
        if each.variant.pipeline or seed == 0
    ]
    if only_kept:
        wanted = [key for key in wanted if BenchmarkFolder(paths[key[0]]).has(BY_NAME[key[1]], key[2])]
    shared = {(paths[variant], name, seed): (variant, name, seed) for variant, name, seed in reversed(wanted)}

    def stored(variant: str, name: str, seed: int) -> Score | None:
        return BenchmarkFolder(paths[variant]).score(BY_NAME[name], seed)

    once = list(dict.fromkeys(shared[paths[variant], name, seed] for variant, name, seed in wanted))
    run_all(once, stored, functools.partial(score_one, paths), jobs, _in_words)
    scores = {key: stored(*key) for key in wanted}
    return {name: [score for key, score in scores.items() if key[0] == name] for name in paths}


def score_one(paths: dict[str, Path], variant: str, name: str, seed: int) -> Score:
    """Make, measure and keep one asset; a kept one whose score is out of date is only measured.

    A request that the pipeline refuses scores as an empty picture.
    """
    case, folder = BY_NAME[name], BenchmarkFolder(paths[variant])
    score = folder.measured_again(case, seed)
    if score is None:
        case.prompt_image  # noqa: B018 (drawn before the clock starts)
        result = made(functools.partial(VARIANTS[variant].generate, case, seed))
        score = score_asset(result, case, seed)
        folder.keep(score, case, result.asset)
    return score


def write_pages(found: Sequence[Found], names: Sequence[str], out: Path) -> dict[str, Path]:
    """A picture of every variant's objects with seed 0; files by variant."""
    pages = {}
    for each in found:
        pages[each.variant.name] = out / "pages" / f"{each.variant.name}.jpg"
        write_page([each.folder.sheet_file(BY_NAME[name], 0) for name in names], pages[each.variant.name])
    return pages


def _in_words(score: Score) -> str:
    shape = f"IoU {score.silhouette_iou:.2f}, PSNR {score.reference_psnr:.1f} / {score.psnr:.1f}"
    return f"{score.name} ({score.seed}): {score.problem or shape}"
