"""What a running job shows: a progress bar for people, JSON lines for scripts, or nothing.

Knows terminals. Knows no pipeline and no socket: local jobs and jobs on a server use the same displays.
People's text goes to stderr, so that stdout holds only results.
"""

from __future__ import annotations

import sys
import time
from typing import Protocol

from dreamlift.commands.outcomes import emit
from dreamlift.pipelines.context import Progress


class Display(Protocol):
    """Where a job's events go. A context manager around the whole job."""

    def __enter__(self) -> Display: ...

    def __exit__(self, *exc) -> None: ...

    def progress(self, progress: Progress) -> None:
        """The job stands here now; called often."""

    def state(self, text: str) -> None:
        """A short sentence about what happens now, such as "waiting for 2 jobs before this one"."""

    def note(self, text: str) -> None:
        """A fact about the whole job that is worth a line of its own, such as which weights make it."""

    def warning(self, code: str, what: str, remedy: str) -> None:
        """Something that does not stop the job."""

    def accepted(self, job: str) -> None:
        """A server took the job under this id."""

    def finishing(self) -> None:
        """The user pressed Ctrl-C once."""


class QuietDisplay:
    """Shows warnings only."""

    def __enter__(self) -> QuietDisplay:
        return self

    def __exit__(self, *exc) -> None:
        pass

    def progress(self, progress: Progress) -> None:
        """Nothing."""

    def state(self, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warning(self, code: str, what: str, remedy: str) -> None:
        """On stderr."""
        print(f"warning: {what} {remedy}".rstrip(), file=sys.stderr)

    def accepted(self, job: str) -> None:
        """Nothing."""

    def finishing(self) -> None:
        """Nothing: the user knows what they pressed."""


class JsonDisplay(QuietDisplay):
    """One JSON line per event on stdout; progress at most twice a second and at both ends of each stage."""

    def __init__(self) -> None:
        self._last, self._stage = 0.0, ""

    def progress(self, progress: Progress) -> None:
        """An event "progress"."""
        now = time.monotonic()
        if now - self._last < 0.5 and progress.step < progress.steps and progress.stage == self._stage:
            return
        self._last, self._stage = now, progress.stage
        left = progress.seconds_left
        emit(
            "progress",
            stage=progress.stage,
            stage_index=progress.stage_index,
            stage_count=progress.stage_count,
            step=progress.step,
            steps=progress.steps,
            fraction=round(progress.fraction, 4),
            seconds_left=None if left is None else round(left, 1),
        )

    def state(self, text: str) -> None:
        """An event "state"."""
        emit("state", text=text)

    def note(self, text: str) -> None:
        """An event "note"."""
        emit("note", text=text)

    def warning(self, code: str, what: str, remedy: str) -> None:
        """An event "warning"."""
        emit("warning", code=code, what=what, remedy=remedy)

    def accepted(self, job: str) -> None:
        """An event "accepted"."""
        emit("accepted", job=job)

    def finishing(self) -> None:
        """An event "finishing"."""
        emit("finishing")


class BarDisplay(QuietDisplay):
    """A progress bar with the stage, the share done and the time left; plain lines where stderr is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("getting ready", total=1.0, left="")
        self._stage = ""

    def __enter__(self) -> BarDisplay:
        self._bar.start()
        return self

    def __exit__(self, *exc) -> None:
        self._bar.stop()

    def progress(self, progress: Progress) -> None:
        """Move the bar; outside a terminal one line per stage."""
        stage = f"{progress.stage} ({progress.stage_index + 1} of {progress.stage_count})"
        if stage != self._stage:
            self._stage = stage
            if not self._console.is_terminal:
                self._console.print(stage, highlight=False, markup=False)
        left = f"{time_left(progress.seconds_left)} left" if progress.seconds_left is not None else ""
        self._bar.update(self._task, description=stage, completed=progress.fraction, left=left)

    def state(self, text: str) -> None:
        """As the bar's caption, or as a line."""
        self._bar.update(self._task, description=text)
        if not self._console.is_terminal:
            self._console.print(text, highlight=False, markup=False)

    def note(self, text: str) -> None:
        """Above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def warning(self, code: str, what: str, remedy: str) -> None:
        """Above the bar."""
        self._console.print(f"warning: {what} {remedy}".rstrip(), style="yellow", highlight=False, markup=False)

    def accepted(self, job: str) -> None:
        """The id, for `dreamlift jobs`."""
        self._console.print(f"job {job}", highlight=False)

    def finishing(self) -> None:
        """Say what will happen, and how to stop for good."""
        self._console.print("Finishing with what there is. Press Ctrl-C again to stop at once.", highlight=False)


def choose_display(quiet: bool, as_json: bool) -> Display:
    """The display for `--quiet` and `--json`; JSON wins."""
    if as_json:
        return JsonDisplay()
    return QuietDisplay() if quiet else BarDisplay()


def time_left(seconds: float) -> str:
    """Seconds in words: "8 s", "2 min 5 s", "3 h 12 min". Negative counts as 0."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
