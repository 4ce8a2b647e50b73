"""`dreamlift evaluate`: scores of the embedded models, the benchmark, and the papers' metrics on any pictures.

Knows the names of what can be evaluated. Options, measuring and tables are in `dreamlift.evaluation`, which imports
torch, so the options of each are read only when it runs: `dreamlift evaluate image-to-3d --help` shows them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from dreamlift.commands.outcomes import CommandError, Exit

WHAT = ("mini-mvdream", "text-to-3d", "image-to-3d", "images")


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = (
        "Measure what the pipelines make: mini-mvdream (fixed prompts: colour, class, shape), text-to-3d and "
        "image-to-3d (the benchmark, against objects whose truth is known), images (the papers' metrics on pictures)."
    )
    parser = commands.add_parser("evaluate", parents=[common], help="measure what the pipelines make", description=text)
    parser.add_argument("what", choices=WHAT, help="what to measure; its options: dreamlift evaluate WHAT --help")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of this evaluation")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Hand over to the evaluation, which prints the table and as its last line JSON."""
    from dreamlift.threads import prepare_threads

    prepare_threads(threads=1)  # it runs one process a core
    from dreamlift.priors.weight_errors import WeightsError

    try:
        return Exit(_main(args.what, args.options))
    except WeightsError as error:
        raise CommandError(error.what, error.remedy, error.code) from error
    except FileNotFoundError as error:
        what = f"{error.filename or error} is missing."
        remedy = "Name a file that exists; if it is the model, run `dreamlift doctor`."
        raise CommandError(what, remedy, "missing_file") from error


def _main(what: str, options: Sequence[str]) -> int:
    if what == "mini-mvdream":
        from dreamlift.evaluation.mini_mvdream import main

        return main(options)
    if what == "images":
        from dreamlift.evaluation.published.run import main

        return main(options)
    from dreamlift.evaluation.benchmark.run import main

    return main(what, options)
