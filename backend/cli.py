"""The command `dreamlift`: reads its arguments, calls one command, turns errors into words and exit codes.

Knows the commands' parsers. Imports no torch, numpy or rich before a command needs it, so that `--help` and `serve`
start at once. What each command does is in `commands/`; exit codes are in `commands/outcomes.py` and docs/cli.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from dreamlift import __version__
from dreamlift.commands import cutout, doctor, evaluate, generate, jobs, keys, models, serve, train, views
from dreamlift.commands.outcomes import CommandError, Exit, report_error

SERVER_TROUBLE = {"internal_error", "out_of_memory", "queue_full", "storage_full", "worker_lost"}
LEVELS = ("debug", "info", "warning", "error")


class _StderrHandler(logging.StreamHandler):
    """Writes to whatever stderr is now: a progress bar replaces it while it is drawn."""

    @property
    def stream(self):
        return sys.stderr

    @stream.setter
    def stream(self, value):
        pass


def build_parser() -> argparse.ArgumentParser:
    """The whole parser. Every command sets `run`, a function of the parsed arguments that returns an exit code."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--log-level", choices=LEVELS, default=argparse.SUPPRESS, help="what to log to stderr (default: warning)"
    )
    parser = argparse.ArgumentParser(
        prog="dreamlift",
        parents=[common],
        description="Turn a prompt or a picture into a finished 3D asset, here or on a render node.",
        epilog="Start with: dreamlift generate 'a red mushroom' -o mushroom.glb",
    )
    parser.add_argument("--version", action="version", version=f"dreamlift {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (generate, views, cutout, models, serve, jobs, keys, doctor, train, evaluate):
        module.add(commands, common)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; None takes the process's own.

    Returns:
        An `Exit` code.
    """
    args = build_parser().parse_args(argv)
    _start_logging(getattr(args, "log_level", getattr(args, "usual_log_level", "warning")))
    as_json = getattr(args, "json", False)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        report_error("interrupted", "Stopped.", "", as_json)
        return Exit.INTERRUPTED
    except BrokenPipeError:  # `dreamlift jobs list | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except CommandError as error:
        report_error(error.code, error.what, error.remedy, as_json)
        return error.exit_code
    except Exception as error:
        return _report_other(error, as_json)


def _report_other(error: Exception, as_json: bool) -> int:
    from dreamlift.client.finding import ClientError
    from dreamlift.pipelines.context import RequestError  # brings numpy, which `--help` can do without
    from dreamlift.protocol.errors import ProtocolError
    from dreamlift.protocol.pairing import PairingError
    from dreamlift.service.settings import ServiceError

    if isinstance(error, RequestError | ProtocolError):
        remedy = error.remedy
        if error.suggestion:
            remedy += " Try: " + " ".join(_option(key, value) for key, value in error.suggestion.items())
        report_error(error.code, error.what, remedy, as_json)
        return Exit.PROBLEM if error.code in SERVER_TROUBLE else Exit.USAGE
    if isinstance(error, ServiceError | ClientError):
        report_error(error.code, error.what, error.remedy, as_json)
        refused = isinstance(error, ServiceError) or error.code == "bad_pairing"
        return Exit.USAGE if refused else Exit.UNREACHABLE
    if isinstance(error, PairingError):
        report_error("bad_pairing", str(error), "", as_json)
        return Exit.USAGE
    logging.getLogger(__name__).debug("unexpected error", exc_info=error)
    report = Path(tempfile.gettempdir()) / f"dreamlift-report-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    report.write_text(_crash_report(error), encoding="utf-8")
    what = f"This is a bug in Dreamlift: {type(error).__name__}: {error}"
    report_error("crash", what, f"The full report is in {report}; please send it with what you did.", as_json)
    return Exit.CRASH


def _option(key: str, value: object) -> str:
    return f"--{key} {value}" if key in ("pipeline", "preset", "seed") else f"--set {key}={value}"


def _crash_report(error: Exception) -> str:
    trace = "".join(traceback.format_exception(error))
    return f"dreamlift {__version__}, python {sys.version}, {sys.platform}\n{' '.join(sys.argv)}\n\n{trace}"


def _start_logging(level: str) -> None:
    handler = _StderrHandler()
    handler.setLevel(level.upper())  # the service logs more than that, into its file
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


if __name__ == "__main__":
    sys.exit(main())
