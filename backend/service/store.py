"""Jobs on disk: their states, events, artifacts, order and measured times. Every change is one transaction.

Knows the rules of `protocol.states` and that a job completes once. Knows no sockets, workers or files of artifacts.
"""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass

import msgpack

from dreamlift.protocol import messages
from dreamlift.protocol.messages import Artifact, JobRequest, Problem
from dreamlift.protocol.states import ACTIVE, TERMINAL, JobState, check_move
from dreamlift.service.database import Database

EVENT_TYPES = {cls.TYPE: cls for cls in messages.KEPT_EVENTS}


@dataclass(frozen=True)
class Job:
    """One row: a job as it stands. Fields as in `database.SCHEMA`."""

    id: str
    state: JobState
    request: JobRequest
    created: float
    attempt: int
    lost: int
    finish_asked: bool
    seconds: float
    fraction: float
    problem: Problem | None
    thumbnail: bytes | None
    last_sequence: int
    worker_pid: int
    worker_started: float


class Store:
    """All jobs of one home.

    Args:
        database: Open database.
    """

    def __init__(self, database: Database):
        self._db = database

    # -- reading ---------------------------------------------------------------------------------------

    def job(self, job: str) -> Job | None:
        """One job; None where there is none."""
        row = self._db.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else _job(row)

    def by_token(self, token: str) -> Job | None:
        """The job that a submit with this token made."""
        row = self._db.execute("SELECT * FROM jobs WHERE token = ?", (token,)).fetchone()
        return None if row is None else _job(row)

    def queued(self) -> list[str]:
        """Ids of queued jobs, next first."""
        rows = self._db.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY place")
        return [row["id"] for row in rows]

    def active(self) -> list[Job]:
        """Jobs that a worker holds."""
        marks = ", ".join("?" for _ in ACTIVE)
        rows = self._db.execute(f"SELECT * FROM jobs WHERE state IN ({marks})", tuple(ACTIVE))
        return [_job(row) for row in rows]

    def page(self, limit: int, after: str) -> tuple[list[Job], bool]:
        """Jobs, newest first, behind the job `after`; whether there are more."""
        row = self._db.execute("SELECT number FROM jobs WHERE id = ?", (after,)).fetchone() if after else None
        below = row["number"] if row else 2**62
        rows = self._db.execute(
            "SELECT * FROM jobs WHERE number < ? ORDER BY number DESC LIMIT ?", (below, limit + 1)
        ).fetchall()
        return [_job(row) for row in rows[:limit]], len(rows) > limit

    def artifacts(self, job: str) -> tuple[Artifact, ...]:
        """A finished job's files."""
        rows = self._db.execute("SELECT * FROM artifacts WHERE job = ? ORDER BY name", (job,))
        return tuple(
            Artifact(name=r["name"], media_type=r["media_type"], size=r["size"], sha256=r["sha256"]) for r in rows
        )

    def events_after(self, job: str, sequence: int, most: int = 100) -> list[tuple[int, messages.Message]]:
        """Kept events of a job with numbers above `sequence`, in order."""
        rows = self._db.execute(
            "SELECT sequence, type, body FROM events WHERE job = ? AND sequence > ? ORDER BY sequence LIMIT ?",
            (job, sequence, most),
        )
        return [(r["sequence"], EVENT_TYPES[r["type"]].from_body(msgpack.unpackb(r["body"]))) for r in rows]

    def unfinished(self) -> int:
        """How many jobs are queued, paused or with a worker."""
        marks = ", ".join("?" for _ in TERMINAL)
        row = self._db.execute(f"SELECT count(*) FROM jobs WHERE state NOT IN ({marks})", tuple(TERMINAL)).fetchone()
        return row[0]

    def median_seconds(self, pipeline: str, preset: str) -> float | None:
        """Median of the last ten whole runs; None before the first."""
        rows = self._db.execute(
            "SELECT seconds FROM timings WHERE pipeline = ? AND preset = ? ORDER BY at DESC LIMIT 10",
            (pipeline, preset),
        ).fetchall()
        values = sorted(row["seconds"] for row in rows)
        return values[len(values) // 2] if values else None

    def is_wanted(self, sha256: str) -> bool:
        """Whether any job needs the blob with this hash."""
        query = "SELECT EXISTS (SELECT 1 FROM {} WHERE sha256 = ?)"
        return any(self._db.execute(query.format(t), (sha256,)).fetchone()[0] for t in ("artifacts", "pictures"))

    def ended_beyond(self, keep: int) -> list[str]:
        """Ended jobs beyond the newest `keep`."""
        marks = ", ".join("?" for _ in TERMINAL)
        rows = self._db.execute(
            f"SELECT id FROM jobs WHERE state IN ({marks}) ORDER BY number DESC LIMIT -1 OFFSET ?",
            (*TERMINAL, keep),
        )
        return [row["id"] for row in rows]

    # -- writing ---------------------------------------------------------------------------------------

    def accept(self, token: str, request: JobRequest, now: float) -> Job:
        """Store a new job as queued; the job of the same token where there is one already."""
        known = self.by_token(token)
        if known is not None:
            return known
        job = secrets.token_hex(8)
        with self._db.transaction():
            number = self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM jobs").fetchone()[0]
            self._db.execute(
                "INSERT INTO jobs (id, number, token, request, pipeline, preset, state, created, place)"
                " VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?)",
                (job, number, token, _pack(request), request.pipeline, request.preset, now, self._last_place() + 1),
            )
            for sha256 in set(request.images.values()):
                self._db.execute("INSERT INTO pictures VALUES (?, ?)", (job, sha256))
            self._append(job, messages.State(state=JobState.QUEUED, at=now))
        return self.job(job)

    def change(
        self,
        job: str,
        state: JobState,
        now: float,
        *,
        problem: Problem | None = None,
        lost: bool = False,
        seconds: float = 0.0,
        finish_asked: bool | None = None,
    ) -> Job:
        """Move a job to another state and append the event.

        Args:
            job: Id of a job that exists.
            state: The new state.
            now: Seconds since 1970.
            problem: Why, for failed jobs and those that go back to the queue.
            lost: Count one more lost worker.
            seconds: Work to add.
            finish_asked: Set or clear the wish to finish early; None leaves it.

        Raises:
            IllegalMove: The state may not follow the present one.
        """
        with self._db.transaction():
            present = self.job(job)
            check_move(present.state, state)
            asked = present.finish_asked if finish_asked is None else finish_asked
            stored = _pack(problem) if problem is not None and state is JobState.FAILED else None
            self._db.execute(
                "UPDATE jobs SET state = ?, lost = lost + ?, seconds = seconds + ?, finish_asked = ?, problem = ?"
                " WHERE id = ?",
                (state, int(lost), seconds, int(asked), stored, job),
            )
            if state is JobState.QUEUED and present.state is JobState.PAUSED:
                self._db.execute("UPDATE jobs SET place = ? WHERE id = ?", (self._last_place() + 1, job))
            event = messages.State(
                state=state, attempt=present.attempt, at=now, seconds=present.seconds + seconds, problem=problem
            )
            self._append(job, event)
        return self.job(job)

    def start_attempt(self, job: str, now: float, worker_pid: int, worker_started: float) -> Job:
        """Give a queued job to a worker: state running, a new attempt number. Raises IllegalMove."""
        with self._db.transaction():
            present = self.job(job)
            check_move(present.state, JobState.RUNNING)
            self._db.execute(
                "UPDATE jobs SET state = 'running', attempt = attempt + 1, worker_pid = ?, worker_started = ?"
                " WHERE id = ?",
                (worker_pid, worker_started, job),
            )
            self._append(
                job,
                messages.State(state=JobState.RUNNING, attempt=present.attempt + 1, at=now, seconds=present.seconds),
            )
        return self.job(job)

    def complete(self, job: str, attempt: int, artifacts: tuple[Artifact, ...], seconds: float, now: float) -> bool:
        """Commit a finished job with its artifacts, once.

        Returns:
            False, and nothing is changed, where the attempt is not the present one or the job is no longer running.
        """
        with self._db.transaction():
            present = self.job(job)
            right = present is not None and present.attempt == attempt and present.state.is_active
            if not right or present.state is JobState.CANCELLING:
                return False
            check_move(present.state, JobState.FINISHED)
            total = present.seconds + seconds
            self._db.execute(
                "UPDATE jobs SET state = 'finished', fraction = 1, seconds = ?, problem = NULL WHERE id = ?",
                (total, job),
            )
            for item in artifacts:
                self._db.execute(
                    "INSERT INTO artifacts VALUES (?, ?, ?, ?, ?)",
                    (job, item.name, item.media_type, item.size, item.sha256),
                )
            if not present.finish_asked and present.lost == 0 and present.request.goal == "object":
                self._db.execute(
                    "INSERT INTO timings VALUES (?, ?, ?, ?)",
                    (present.request.pipeline, present.request.preset, total, now),
                )
            self._append(
                job,
                messages.State(state=JobState.FINISHED, attempt=attempt, at=now, seconds=total, artifacts=artifacts),
            )
        return True

    def warn(self, job: str, warning: messages.Warning) -> None:
        """Keep a warning."""
        with self._db.transaction():
            self._append(job, warning)

    def note(self, job: str, fraction: float | None = None, thumbnail: bytes | None = None) -> None:
        """Keep how far a job is, or its thumbnail, for lists."""
        if fraction is not None:
            self._db.execute("UPDATE jobs SET fraction = ? WHERE id = ?", (fraction, job))
        if thumbnail is not None:
            self._db.execute("UPDATE jobs SET thumbnail = ? WHERE id = ?", (thumbnail, job))

    def ask_finish(self, job: str) -> None:
        """Remember that the job is to finish early, also over a lost worker."""
        self._db.execute("UPDATE jobs SET finish_asked = 1 WHERE id = ?", (job,))

    def reorder(self, job: str, before: str) -> None:
        """Put a queued job before another queued one, or at the end where `before` is not queued."""
        order = [other for other in self.queued() if other != job]
        order.insert(order.index(before) if before in order else len(order), job)
        with self._db.transaction():
            for place, other in enumerate(order):
                self._db.execute("UPDATE jobs SET place = ? WHERE id = ?", (place, other))

    def remove(self, job: str) -> messages.State:
        """Forget an ended job; returns its last event for those who watch. Raises IllegalMove."""
        with self._db.transaction():
            present = self.job(job)
            check_move(present.state, JobState.REMOVED)
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job,))
        return messages.State(state=JobState.REMOVED, attempt=present.attempt)

    def _append(self, job: str, event: messages.Message) -> None:
        self._db.execute("UPDATE jobs SET last_sequence = last_sequence + 1 WHERE id = ?", (job,))
        self._db.execute(
            "INSERT INTO events SELECT id, last_sequence, ?, ? FROM jobs WHERE id = ?", (event.TYPE, _pack(event), job)
        )

    def _last_place(self) -> int:
        return self._db.execute("SELECT coalesce(max(place), 0) FROM jobs WHERE state = 'queued'").fetchone()[0]


def _pack(record: messages.Record) -> bytes:
    return msgpack.packb(record.to_body())


def _job(row: sqlite3.Row) -> Job:
    problem = row["problem"]
    return Job(
        id=row["id"],
        state=JobState(row["state"]),
        request=JobRequest.from_body(msgpack.unpackb(row["request"])),
        created=row["created"],
        attempt=row["attempt"],
        lost=row["lost"],
        finish_asked=bool(row["finish_asked"]),
        seconds=row["seconds"],
        fraction=row["fraction"],
        problem=Problem.from_body(msgpack.unpackb(problem)) if problem is not None else None,
        thumbnail=row["thumbnail"],
        last_sequence=row["last_sequence"],
        worker_pid=row["worker_pid"],
        worker_started=row["worker_started"],
    )
