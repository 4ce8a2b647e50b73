"""Messages between a service and the worker processes it started. Private: docs/protocol.md section 10.

Knows fields and where jobs lie in the service's home. Both sides belong to the same installation, so all of this may
change with every release. `progress`, `mesh`,
`views` and `warning` travel here as they do to clients.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from .fields import JOB_ID, SHA256, array, choice, flag, integer, number, record, records, text
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


TO_WORKER = {cls.TYPE: cls for cls in (Assign, StopJob)}
FROM_WORKER = {cls.TYPE: cls for cls in (WorkerHello, Beat, Thumbnail, Ended, Progress, Mesh, Views, Warning)}


def blob_path(home: PurePath, sha256: str) -> PurePath:
    """Where a complete blob lies, for service and worker alike.

    Args:
        home: The service's folder.
        sha256: In lower-case hex; anything else raises ValueError and never becomes a path.
    """
    return home / "blobs" / _checked(SHA256, sha256)[:2] / sha256


def job_folder(home: PurePath, job: str) -> PurePath:
    """Where a job's checkpoint and attempts lie.

    Args:
        home: The service's folder.
        job: A job id; anything else raises ValueError and never becomes a path.
    """
    return home / "jobs" / _checked(JOB_ID, job)


def attempt_folder(home: PurePath, job: str, attempt: int) -> PurePath:
    """Where one attempt puts its artifacts.

    Args:
        home: The service's folder.
        job: A job id.
        attempt: From 1.
    """
    return job_folder(home, job) / f"attempt-{int(attempt)}"


def _checked(pattern: re.Pattern, value: str) -> str:
    if not pattern.match(value):
        raise ValueError(f"{value!r} must not become a path.")
    return value
