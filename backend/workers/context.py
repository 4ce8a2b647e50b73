"""The `Context` of a job in a worker: progress, previews, checkpoints and stop wishes over the service's channel.

Knows the channel, the job's folder and the protocol's messages. Knows no pipeline. Every method returns at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreamlift.pipelines.context import MeshPreview, Preview, Progress, Stop, ViewsPreview
from dreamlift.protocol import messages, worker_channel
from dreamlift.workers.channel import ServiceChannel

if TYPE_CHECKING:
    import torch

    from dreamlift.memory.plan import Plan

PROGRESS_SECONDS = 0.2
PREVIEW_SECONDS = 2.0  # between two previews where they cost little
PREVIEW_SECONDS_MOST = 30.0
PREVIEW_SHARE = 0.1  # of the time may go into previews
THUMBNAIL_SECONDS = 5.0
CHECKPOINT = "checkpoint.safetensors"
_log = logging.getLogger(__name__)


class WorkerContext:
    """One attempt at one job.

    Args:
        channel: To the service.
        job: Its id.
        attempt: Number of this start.
        folder: The job's folder; checkpoints of earlier attempts lie there.
        open_device: Gives the torch device, called once when a pipeline asks.
    """

    def __init__(
        self, channel: ServiceChannel, job: str, attempt: int, folder: Path, open_device: Callable[[], torch.device]
    ):
        self._channel, self._job, self._attempt = channel, job, attempt
        self._folder = folder
        self._open_device = open_device
        self._device: torch.device | None = None
        self._progress_at, self._stage = 0.0, ""
        self._preview_at = float("-inf")
        self._preview_asked: float | None = None  # when `wants_preview` last said yes, if that was its last answer
        self._preview_interval = PREVIEW_SECONDS
        self._thumbnail_at = float("-inf")
        self._picture: np.ndarray | None = None  # newest thumbnail, not sent yet
        self._topology = 0
        self._shown: MeshPreview | None = None
        self.plan: Plan | None = None

    @property
    def device(self) -> torch.device:
        """The one device of this job."""
        if self._device is None:
            self._device = self._open_device()
        return self._device

    def progress(self, progress: Progress) -> None:
        """Say where the job stands; sent at most five times a second, changes of stage always."""
        now = time.monotonic()
        if progress.stage == self._stage and now - self._progress_at < PROGRESS_SECONDS:
            return
        self._progress_at, self._stage = now, progress.stage
        left = progress.seconds_left
        message = messages.Progress(
            stage=progress.stage[:80],
            stage_index=progress.stage_index,
            stage_count=progress.stage_count,
            step=progress.step,
            steps=progress.steps,
            fraction=min(max(progress.fraction, 0.0), 1.0),
            seconds_left=float(left) if left is not None and np.isfinite(left) and left >= 0 else None,
        )
        self._channel.offer(message, self._job)

    def publish(self, preview: Preview) -> None:
        """Show a preview; the arrays are copied, so the pipeline may go on with them."""
        if isinstance(preview, MeshPreview):
            self._channel.offer(self._mesh(preview), self._job)
        else:
            images = np.array(preview.images, np.uint8, order="C")
            names, seeds = tuple(preview.names), tuple(preview.seeds)
            views = messages.Views(attempt=self._attempt, names=names, seeds=seeds, images=images)
            self._channel.offer(views, self._job)
            self._thumbnail(preview)
        now = time.monotonic()
        if self._preview_asked is not None:  # else nobody knows when the pipeline began to make it
            cost = now - self._preview_asked
            self._preview_interval = min(max(PREVIEW_SECONDS, cost / PREVIEW_SHARE), PREVIEW_SECONDS_MOST)
        self._preview_at = now

    def wants_preview(self) -> bool:
        """True when it is time to make the next preview: about every 2 s, less often where one costs much."""
        now = time.monotonic()
        if now - self._preview_at < self._preview_interval:
            self._preview_asked = None
            return False
        self._preview_asked = self._preview_at = now
        return True

    def warn(self, code: str, what: str, remedy: str) -> None:
        """Tell the artist something that does not stop the job."""
        self._channel.say(messages.Warning(code=code, what=what[:1000], remedy=remedy[:1000]), self._job)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Save tensors, numbers and strings to resume from; replaces the last checkpoint."""
        from dreamlift.checkpoints import save_checkpoint

        save_checkpoint(self._folder / CHECKPOINT, state)

    def restore(self) -> dict[str, Any] | None:
        """The last checkpoint of this job, or None at a first start. A damaged one is put aside, with a warning."""
        path = self._folder / CHECKPOINT
        if not path.exists():
            return None
        from dreamlift.checkpoints import load_checkpoint

        try:
            return load_checkpoint(path)
        except ValueError as error:
            _log.warning("%s", error)
            path.rename(path.with_suffix(".damaged"))
            self.warn("checkpoint_damaged", "The saved state of this job is damaged.", "It starts from the beginning.")
            return None

    def should_stop(self) -> Stop | None:
        """Whether somebody asked the job to end, and how."""
        wish = self._channel.stop_wish(self._job, self._attempt)
        return None if wish is None else Stop(wish)

    def _mesh(self, preview: MeshPreview) -> messages.Mesh:
        if not _same_topology(self._shown, preview):
            self._topology += 1
        mesh = messages.Mesh(
            attempt=self._attempt,
            topology=self._topology,
            vertices=np.array(preview.vertices, np.float32, order="C"),
            faces=np.array(preview.faces, np.int32, order="C"),
            edges=np.array(preview.edges, np.int32, order="C"),
            face_edges=np.array(preview.face_edges, np.int32, order="C"),
            colors=np.array(preview.colors, np.float32, order="C"),
            uvs=None if preview.uvs is None else np.array(preview.uvs, np.float32, order="C"),
        )
        self._shown = MeshPreview(mesh.vertices, mesh.faces, mesh.edges, mesh.face_edges, mesh.colors, mesh.uvs)
        return mesh

    def send_thumbnail(self) -> None:
        """Send the newest picture for lists, if there is one that was not sent."""
        if self._picture is not None:
            self._thumbnail_at = time.monotonic()
            self._channel.say(worker_channel.Thumbnail(image=self._picture), self._job)
            self._picture = None

    def _thumbnail(self, preview: ViewsPreview) -> None:
        if len(preview.images):
            self._picture = thumbnail(preview.images[0])
        if time.monotonic() - self._thumbnail_at >= THUMBNAIL_SECONDS:
            self.send_thumbnail()


def thumbnail(
    image: np.ndarray,  # (H, W, 3) uint8
) -> np.ndarray:
    """The picture in 64 x 64, nearest pixels.

    Args:
        image: Any size from 1 x 1. (H, W, 3) uint8.

    Returns:
        (64, 64, 3) uint8.
    """
    rows, columns = (np.arange(64) * size // 64 for size in image.shape[:2])
    return np.ascontiguousarray(image[rows][:, columns])


def _same_topology(before: MeshPreview | None, after: MeshPreview) -> bool:
    if before is None or len(before.vertices) != len(after.vertices) or (before.uvs is None) != (after.uvs is None):
        return False
    pairs = [(before.faces, after.faces), (before.edges, after.edges), (before.face_edges, after.face_edges)]
    if after.uvs is not None:
        pairs.append((before.uvs, after.uvs))
    return all(np.array_equal(old, new) for old, new in pairs)
