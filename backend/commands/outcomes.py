"""How a command ends: exit codes, and the one exception that a command raises for its user.

Knows words and numbers. Knows no command.
"""

from __future__ import annotations

import enum
import json
import sys


class Exit(enum.IntEnum):
    """Exit codes of `dreamlift`; documented in docs/cli.md, where a test compares them."""

    OK = 0
    PROBLEM = 1  # the job failed, or `doctor` or `evaluate` found something that must change
    USAGE = 2  # the command or the request cannot be run as it stands
    UNREACHABLE = 3  # no server, or it does not let us in
    CRASH = 70  # a bug in Dreamlift
    INTERRUPTED = 130  # stopped by the user with nothing kept


class CommandError(Exception):
    """Something the user can mend.

    Args:
        what: One sentence: what is wrong, with the value.
        remedy: One sentence: what to do instead.
        code: Short stable name for scripts, lower case with underscores.
        exit_code: What the process ends with.
    """

    def __init__(self, what: str, remedy: str, code: str = "usage", exit_code: Exit = Exit.USAGE):
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy
        self.code = code
        self.exit_code = exit_code


def report_error(code: str, what: str, remedy: str, as_json: bool) -> None:
    """Print an error: two lines on stderr for people, one JSON line on stdout for scripts."""
    if as_json:
        emit("error", code=code, what=what, remedy=remedy)
    else:
        print(f"dreamlift: {what}\n  -> {remedy}" if remedy else f"dreamlift: {what}", file=sys.stderr)


def emit(event: str, **fields: object) -> None:
    """Write one event as a JSON line to stdout and flush it, so that a script can follow."""
    print(json.dumps({"event": event, **fields}, ensure_ascii=False), flush=True)
