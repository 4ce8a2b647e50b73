"""`dreamlift doctor`: prints what `dreamlift.doctor` finds. Knows colours and exit codes, no checks."""

from __future__ import annotations

import argparse

from dreamlift.commands.outcomes import Exit, emit


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = "Say what this machine has, what is missing and what to do."
    parser = commands.add_parser("doctor", parents=[common], help=text, description=text)
    parser.add_argument("--json", action="store_true", help="one JSON line per finding")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Print every finding; PROBLEM only where something will fail, warnings are no failure."""
    from dreamlift.threads import prepare_threads

    prepare_threads()
    from rich.console import Console

    from dreamlift.doctor import examine

    console = Console(highlight=False)
    levels = []
    for finding in examine():
        levels.append(finding.level)
        if args.json:
            emit("finding", **finding.as_dict())
            continue
        colour = {"ok": "green", "warning": "yellow", "problem": "red"}[finding.level]
        console.print(f"[{colour}]{finding.level:8}[/{colour}] {finding.name}: ", end="")
        console.print(finding.what, markup=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"         -> {finding.remedy}", markup=False, soft_wrap=True)
    problems, warnings = levels.count("problem"), levels.count("warning")
    if args.json:
        emit("summary", problems=problems, warnings=warnings)
    else:
        console.print(f"problems: {problems}, warnings: {warnings}", style="bold")
    return Exit.PROBLEM if problems else Exit.OK
