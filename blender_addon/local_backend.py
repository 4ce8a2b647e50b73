# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend on this computer: found, started, watched, stopped.

Knows processes and nothing of Blender or the wire: whether the backend answers is the connection's business. No
threads, no multiprocessing; the process gets an environment without Blender's Python, a log file and a process group of
its own.
"""

from __future__ import annotations

import enum
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

RETRY_SECONDS = 5.0  # at most one start in this time
STARTING_SECONDS = 20.0  # a backend that does not answer by then is said to be stuck
STOP_SECONDS = 4.0
_BLENDERS_OWN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONNOUSERSITE", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


class BackendState(enum.Enum):
    """What the process is doing."""

    STOPPED = "stopped"
    RUNNING = "running"
    ENDED = "ended"  # by itself; `last_words` says why


def find_command(chosen: str) -> Path | None:
    """The `dreamlift` command: the chosen path, else the one on PATH, else where installers put it.

    Args:
        chosen: A file, a folder that holds it (a virtual environment, or a checkout with its .venv), or "" to search.
    """
    name = "dreamlift.exe" if sys.platform == "win32" else "dreamlift"
    if chosen:
        path = Path(os.path.expandvars(chosen)).expanduser()
        inside = ("", "bin", "Scripts", ".venv/bin", ".venv/Scripts")
        candidates = [path / folder / name for folder in inside] if path.is_dir() else [path]
        return next((each for each in candidates if each.is_file()), None)
    on_path = shutil.which("dreamlift")
    if on_path:
        return Path(on_path)
    home = Path.home()
    usual = [home / ".local" / "bin", home / "dreamlift" / "bin", home / "dreamlift" / "Scripts"]
    return next((folder / name for folder in usual if (folder / name).is_file()), None)


def clean_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment without what points at Blender's own Python."""
    return {key: value for key, value in environment.items() if key.upper() not in _BLENDERS_OWN}


class LocalBackend:
    """At most one backend process that this Blender started."""

    def __init__(self, log_path: Path):
        self.log_path = log_path
        self._process: subprocess.Popen | None = None
        self._started = float("-inf")

    @property
    def state(self) -> BackendState:
        """Asked of the operating system, costs a microsecond."""
        if self._process is None:
            return BackendState.STOPPED
        return BackendState.RUNNING if self._process.poll() is None else BackendState.ENDED

    @property
    def stuck(self) -> bool:
        """Whether it was started so long ago that it should answer by now."""
        return self.state is BackendState.RUNNING and time.monotonic() - self._started > STARTING_SECONDS

    def start(self, command: Path, arguments: Sequence[str]) -> bool:
        """Start it unless it runs or was started a moment ago.

        Args:
            command: The `dreamlift` program.
            arguments: Such as ["serve", "--port", "7451"].

        Returns:
            Whether a process was started. Raises OSError where the operating system refuses.
        """
        if self.state is BackendState.RUNNING or time.monotonic() - self._started < RETRY_SECONDS:
            return False
        self._started = time.monotonic()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        group = (
            {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
            if sys.platform == "win32"
            else {"start_new_session": True}
        )
        with open(self.log_path, "wb") as log:
            self._process = subprocess.Popen(
                [str(command), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(dict(os.environ)),
                cwd=Path.home(),
                **group,
            )
        return True

    def stop(self) -> None:
        """Ask it to end, then insist; waits a few seconds at most."""
        process, self._process = self._process, None
        self._started = float("-inf")
        if process is None or process.poll() is not None:
            return
        if sys.platform == "win32":
            process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

    def last_words(self) -> str:
        """The last line of its log, for the artist; "" where there is none."""
        try:
            with open(self.log_path, "rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - 4096))
                lines = log.read().decode("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
