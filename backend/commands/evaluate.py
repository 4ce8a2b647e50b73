"""`dreamlift evaluate mini-mvdream`: the embedded model's scores. The measuring is in `dreamlift.evaluation`."""

from __future__ import annotations

import argparse
from pathlib import Path

from dreamlift.commands.outcomes import Exit

MODELS = ("mini-mvdream",)


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = "Measure an embedded model: colour, class, shape against the true object, faults, use of its camera."
    parser = commands.add_parser("evaluate", parents=[common], help="measure an embedded model", description=text)
    parser.add_argument("model", choices=MODELS, help="which model")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every prompt (default: 3)")
    parser.add_argument("--prompts", type=int, help="only the first so many prompts")
    parser.add_argument("--folder", type=Path, default=Path("runs/evaluation"), help="keeps finished runs; resumes")
    parser.add_argument("--json", action="store_true", help="the table as one JSON line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Print the table."""
    raise NotImplementedError
