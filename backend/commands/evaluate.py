"""`dreamlift evaluate mini-mvdream`: the embedded model's scores.

Knows the models' names. Options, measuring and table are in `dreamlift.evaluation`, which imports torch, so its options
are read only when it runs: `dreamlift evaluate mini-mvdream --help` shows them.
"""

from __future__ import annotations

import argparse

from dreamlift.commands.outcomes import CommandError, Exit

MODELS = ("mini-mvdream",)


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = "Measure an embedded model: colour, class, shape against the true object, faults, use of its camera."
    parser = commands.add_parser("evaluate", parents=[common], help="measure an embedded model", description=text)
    parser.add_argument("model", choices=MODELS, help="which model; its options: dreamlift evaluate MODEL --help")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of this evaluation")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Hand over to the evaluation, which prints the table and as its last line JSON."""
    from dreamlift.threads import prepare_threads

    prepare_threads(threads=1)  # it runs one process a core
    from dreamlift.evaluation.mini_mvdream import main

    try:
        return Exit(main(args.options))
    except FileNotFoundError as error:
        what = f"{error.filename or error} is missing."
        remedy = "Name a file that exists; if it is the model, run `dreamlift doctor`."
        raise CommandError(what, remedy, "missing_file") from error
