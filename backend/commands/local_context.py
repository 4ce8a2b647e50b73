"""The `Context` of a job that runs in the command line's own process.

Knows Ctrl-C, the checkpoint file and which display to tell. Knows no sockets and no pipeline: any pipeline's `run`
takes it. The worker has its own context, which talks to the service.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamlift.commands.display import Display
from dreamlift.pipelines.context import Preview, Progress, Stop

if TYPE_CHECKING:
    import torch

    from dreamlift.memory.plan import Plan

log = logging.getLogger(__name__)


class LocalContext:
    """Draws progress, keeps the last checkpoint and turns Ctrl-C into "finish with what there is".

    Args:
        device: Where the pipeline computes.
        display: Told about progress, warnings and the wish to finish.
        checkpoint_file: Where to keep the last checkpoint; None keeps none.
    """

    def __init__(self, device: torch.device, display: Display, checkpoint_file: Path | None = None):
        self.device = device
        self._display = display
        self._checkpoint_file = checkpoint_file
        self._stop: Stop | None = None
        self._announced = False
        self.plan: Plan | None = None

    def progress(self, progress: Progress) -> None:
        """Draw it."""
        self._display.progress(progress)

    def publish(self, preview: Preview) -> None:
        """A terminal has no place for a preview, so it is dropped; `wants_preview` keeps them from being made."""

    def wants_preview(self) -> bool:
        """Never: see `publish`."""
        return False

    def warn(self, code: str, what: str, remedy: str) -> None:
        """Print it beside the progress bar."""
        self._display.warning(code, what, remedy)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint file."""
        if self._checkpoint_file is not None:
            from dreamlift.checkpoints import save_checkpoint

            save_checkpoint(self._checkpoint_file, state)

    def restore(self) -> dict[str, Any] | None:
        """The checkpoint of an earlier run of the same request, or None."""
        if self._checkpoint_file is None or not self._checkpoint_file.exists():
            return None
        from dreamlift.checkpoints import load_checkpoint

        log.info("going on from %s", self._checkpoint_file)
        return load_checkpoint(self._checkpoint_file)

    def should_stop(self) -> Stop | None:
        """FINISH after the first Ctrl-C; says so once. Not in the signal handler: it may interrupt a print."""
        if self._stop is not None and not self._announced:
            self._announced = True
            self._display.finishing()
        return self._stop

    @contextmanager
    def interruptible(self):
        """While inside: the first Ctrl-C finishes into an asset, a second one stops with KeyboardInterrupt."""

        def interrupted(signum, frame):
            if self._stop is not None:
                raise KeyboardInterrupt
            self._stop = Stop.FINISH

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
