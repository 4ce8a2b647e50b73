"""`dreamlift evaluate mini-mvdream`: the whole path, prompt to asset, measured against objects that are known.

Generates through the real pipeline and measures what a user would get, with prompts that name no more than a class and
its colours. Knows what is asked for; `runner` runs it. Definitions: docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from dreamlift.evaluation.camera import camera_use_on_unseen
from dreamlift.evaluation.mini_prompts import PROMPTS
from dreamlift.evaluation.report import show, summarise
from dreamlift.evaluation.runner import SilentContext, default_jobs, fingerprint, made, run_all
from dreamlift.evaluation.scores import Score, ScoreFolder, failed_score, score_asset
from dreamlift.pipelines import mvdream
from dreamlift.pipelines.context import Asset, Request, RequestError
from dreamlift.priors.mvdream import MINI_FOLDER, MVDreamPrior
from dreamlift.training.prompts import parse_prompt

Generate = Callable[[str, int], Asset]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options; `run` takes what they parse to."""
    parser.add_argument("--prompts", type=Path, help="file with one prompt a line instead of the built-in 32")
    parser.add_argument("--limit", type=int, help="only the first so many prompts")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every prompt (default: 3)")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"), help="keeps finished runs; resumes")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")


def run(args: argparse.Namespace) -> int:
    """Generate what is missing, print the table and as the last line JSON. 0 whatever the figures."""
    prompts = read_prompts(args.prompts)[: args.limit]
    folder = ScoreFolder(args.out / f"weights-{fingerprint([MINI_FOLDER / 'model.safetensors'])}")
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
    work = functools.partial(score_one, folder.path, generate)
    return run_all(wanted, folder.score, work, jobs, _in_words)


def score_one(path: Path, generate: Generate, prompt: str, seed: int) -> Score:
    """Generate, measure and store one asset. A prompt that the pipeline refuses scores as wrong in everything."""
    result = made(functools.partial(generate, prompt, seed))
    if result.asset is None:
        score = failed_score(prompt, seed, result.problem)
    else:
        score = score_asset(result.asset, prompt, seed, result.seconds)
    ScoreFolder(path).keep(score, result.asset)
    return score


def _in_words(score: Score) -> str:
    return f"{score.prompt} ({score.seed}): IoU {score.silhouette:.2f} / {score.volume:.2f}"


if __name__ == "__main__":
    sys.exit(main())
