"""Messages between a service and the worker processes it started. Private: docs/protocol.md section 10.

Knows fields. Both sides belong to the same installation, so these may change with every release. `progress`, `mesh`,
`views` and `warning` travel here as they do to clients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fields import array, choice, flag, integer, number, record, records, text
from .messages import Artifact, JobRequest, Mesh, Message, Problem, Progress, Views, Warning

STOP_REASONS = ("cancel", "finish", "pause")
OUTCOMES = ("finished", "failed", "cancelled", "paused")


@dataclass(frozen=True, kw_only=True)
class Assign(Message):
    """Run this job. Pictures lie in the service's home by their hash, the job's folder too."""

    TYPE = "assign"
    NEEDS_JOB = True
    attempt: int = integer(low=1)
    request: JobRequest = record(JobRequest)
    finish: bool = flag(False)  # "Use Now" was asked before this attempt began


@dataclass(frozen=True, kw_only=True)
class StopJob(Message):
    """End the job early."""

    TYPE = "stop"
    NEEDS_JOB = True
    attempt: int = integer(low=1)
    reason: str = choice(STOP_REASONS)


@dataclass(frozen=True, kw_only=True)
class Exit(Message):
    """End the worker process."""

    TYPE = "exit"


@dataclass(frozen=True, kw_only=True)
class WorkerHello(Message):
    """A worker is there; `warm` says that its heavy imports are done. Sent at both moments."""

    TYPE = "worker_hello"
    pid: int = integer()
    device: str = text(longest=120)
    memory_bytes: int = integer(0)
    warm: bool = flag(False)


@dataclass(frozen=True, kw_only=True)
class Beat(Message):
    """The worker lives."""

    TYPE = "beat"


@dataclass(frozen=True, kw_only=True)
class Thumbnail(Message):
    """A small picture of the job for lists."""

    TYPE = "thumbnail"
    NEEDS_JOB = True
    image: np.ndarray = array("uint8", 64, 64, 3)


@dataclass(frozen=True, kw_only=True)
class Ended(Message):
    """The attempt is over. Artifacts lie in the attempt's folder under their names."""

    TYPE = "ended"
    NEEDS_JOB = True
    attempt: int = integer(low=1)
    outcome: str = choice(OUTCOMES)
    artifacts: tuple = records(Artifact, 16)
    problem: Problem | None = record(Problem, None)
    seconds: float = number(0.0)


TO_WORKER = {cls.TYPE: cls for cls in (Assign, StopJob, Exit)}
FROM_WORKER = {cls.TYPE: cls for cls in (WorkerHello, Beat, Thumbnail, Ended, Progress, Mesh, Views, Warning)}
