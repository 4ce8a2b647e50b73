"""`dreamlift evaluate mini-mvdream`: the whole path, prompt to asset, measured against objects that are known.

Generates through the real pipeline, in as many processes as asked for, and measures what a user would get. Every
(prompt, seed) is stored when it is done; a run that was interrupted goes on. Definitions: docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dreamlift.evaluation.camera import camera_use_on_unseen
from dreamlift.evaluation.mini_prompts import PROMPTS
from dreamlift.evaluation.report import show, summarise
from dreamlift.evaluation.scores import Score, ScoreFolder, failed_score, score_asset
from dreamlift.pipelines import mvdream
from dreamlift.pipelines.context import Asset, Preview, Request, RequestError, Stop
from dreamlift.pipelines.context import Progress as JobProgress
from dreamlift.priors.mvdream import MINI_FOLDER, MVDreamPrior
from dreamlift.training.prompts import parse_prompt

logger = logging.getLogger(__name__)

Generate = Callable[[str, int], Asset]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options; `run` takes what they parse to."""
    parser.add_argument("--prompts", type=Path, help="file with one prompt a line instead of the built-in 32")
    parser.add_argument("--limit", type=int, help="only the first so many prompts")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every prompt (default: 3)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="keeps finished runs; resumes")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")


def run(args: argparse.Namespace) -> int:
    """Generate what is missing, print the table and as the last line JSON. 0 whatever the figures."""
    prompts = read_prompts(args.prompts)[: args.limit]
    folder = ScoreFolder(args.out / f"weights-{fingerprint(MINI_FOLDER)}")
    scores = evaluate(prompts, range(args.seeds), folder, max(1, args.jobs))
    cameras = camera_use_on_unseen(MVDreamPrior.mini())
    report = {"weights": folder.path.name, "folder": str(folder.path)} | summarise(scores, cameras)
    (folder.path / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    if not args.json:
        show(report, Console())
    print(json.dumps(report))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point without the `dreamlift` command: `python -m dreamlift.evaluation.mini_mvdream`."""
    parser = argparse.ArgumentParser(prog="dreamlift evaluate mini-mvdream", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def read_prompts(file: Path | None) -> tuple[str, ...]:
    """The prompts of a file, or the built-in ones.

    Raises:
        RequestError: A prompt names no object with a known shape; says which.
    """
    if file is None:
        return PROMPTS
    prompts = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    for prompt in prompts:
        try:
            parse_prompt(prompt)
        except ValueError as error:
            remedy = f"Mend or remove that line of {file}; only objects with a known shape can be measured."
            raise RequestError("unknown_object", f"{error}.", remedy) from error
    return prompts


def fingerprint(folder: Path) -> str:
    """Eight hex digits that name the weights in a folder; results of other weights are never mixed in.

    Raises:
        FileNotFoundError: There are no weights.
    """
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:8]


class SilentContext:
    """A job that nobody watches: no previews, no checkpoints, no stop, and no plan: the mini model fits anywhere."""

    plan = None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def progress(self, progress: JobProgress) -> None:
        """Nobody asks."""

    def publish(self, preview: Preview) -> None:
        """Nobody looks."""

    def wants_preview(self) -> bool:
        """Never."""
        return False

    def warn(self, code: str, what: str, remedy: str) -> None:
        """Into the log."""
        logger.warning("%s: %s %s", code, what, remedy)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """A run is short: it is done again."""

    def restore(self) -> dict[str, Any] | None:
        """Nothing was saved."""
        return None

    def should_stop(self) -> Stop | None:
        """Never."""
        return None


def generate_mini(prompt: str, seed: int) -> Asset:
    """One asset through the pipeline's mini preset, as every user gets it."""
    return mvdream.run(Request(prompt=prompt, seed=seed), SilentContext())


def evaluate(
    prompts: Sequence[str],
    seeds: Sequence[int],
    folder: ScoreFolder,
    jobs: int = 1,
    generate: Generate = generate_mini,
) -> list[Score]:
    """Scores of all prompts and seeds; only those that the folder lacks are generated.

    Args:
        prompts: Each must name a known object.
        seeds: The first seed of all prompts comes before the second of any.
        folder: Remembers.
        jobs: Processes, one compute thread each if more than one; 1 runs here.
        generate: Makes an asset; for `jobs` above 1 a module's function.
    """
    wanted = [(prompt, seed) for seed in seeds for prompt in prompts]
    scores = {pair: folder.score(*pair) for pair in wanted}
    missing = [pair for pair, score in scores.items() if score is None]
    with _progress(len(wanted), len(wanted) - len(missing)) as advance:
        for score in _scored(missing, folder, jobs, generate):
            scores[score.prompt, score.seed] = score
            advance(score)
    return [scores[pair] for pair in wanted]


def _scored(pairs: list[tuple[str, int]], folder: ScoreFolder, jobs: int, generate: Generate) -> Iterator[Score]:
    work = functools.partial(score_one, folder.path, generate)
    if jobs == 1:
        yield from (work(*pair) for pair in pairs)
        return
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(jobs, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(work, *pair) for pair in pairs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def score_one(path: Path, generate: Generate, prompt: str, seed: int) -> Score:
    """Generate, measure and store one asset. A prompt that the pipeline refuses scores as wrong in everything."""
    start = time.monotonic()
    try:
        asset = generate(prompt, seed)
    except RequestError as error:
        asset, score = None, failed_score(prompt, seed, str(error))
    else:
        score = score_asset(asset, prompt, seed, round(time.monotonic() - start, 1))
    ScoreFolder(path).keep(score, asset)
    return score


class _progress:
    """A bar on stderr: stdout belongs to the table and the JSON."""

    def __init__(self, total: int, done: int):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
        self._task = self._bar.add_task("evaluating", total=total, completed=done)

    def __enter__(self) -> Callable[[Score], None]:
        self._bar.start()
        return self._advance

    def _advance(self, score: Score) -> None:
        text = f"{score.prompt} ({score.seed}): IoU {score.silhouette:.2f} / {score.volume:.2f}"
        self._bar.update(self._task, advance=1, description=text)

    def __exit__(self, *error) -> None:
        self._bar.stop()


if __name__ == "__main__":
    sys.exit(main())
