"""States of a job and which may follow which. docs/protocol.md section 5 draws them.

Knows no messages and no store: the service asks `check_move` before it writes a new state.
"""

from __future__ import annotations

import enum


class JobState(enum.StrEnum):
    """Where a job stands. `pausing`, `finishing` and `cancelling` are asked for and not yet done by the worker."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    FINISHING = "finishing"
    CANCELLING = "cancelling"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REMOVED = "removed"

    @property
    def is_terminal(self) -> bool:
        """True where nothing but removal can follow."""
        return self in TERMINAL

    @property
    def is_active(self) -> bool:
        """True while a worker holds the job."""
        return self in ACTIVE


S = JobState
TERMINAL = frozenset({S.FINISHED, S.FAILED, S.CANCELLED, S.REMOVED})
ACTIVE = frozenset({S.RUNNING, S.PAUSING, S.FINISHING, S.CANCELLING})

# An active job goes back to `queued` when its worker was lost; `pausing` then is `paused`, `cancelling` is `cancelled`.
MOVES: dict[JobState, frozenset[JobState]] = {
    S.QUEUED: frozenset({S.RUNNING, S.PAUSED, S.CANCELLED, S.FAILED}),
    S.RUNNING: frozenset({S.QUEUED, S.PAUSING, S.FINISHING, S.CANCELLING, S.FINISHED, S.FAILED}),
    S.PAUSING: frozenset({S.PAUSED, S.FINISHING, S.CANCELLING, S.FINISHED, S.FAILED}),
    S.FINISHING: frozenset({S.QUEUED, S.CANCELLING, S.FINISHED, S.FAILED}),
    S.CANCELLING: frozenset({S.CANCELLED}),
    S.PAUSED: frozenset({S.QUEUED, S.CANCELLED}),
    S.FINISHED: frozenset({S.REMOVED}),
    S.FAILED: frozenset({S.REMOVED}),
    S.CANCELLED: frozenset({S.REMOVED}),
    S.REMOVED: frozenset(),
}


class IllegalMove(ValueError):
    """A change of state that `MOVES` does not have."""

    def __init__(self, before: JobState, after: JobState):
        super().__init__(f"A job that is {before.value} cannot become {after.value}.")
        self.before = before
        self.after = after


def check_move(before: JobState, after: JobState) -> None:
    """Raise `IllegalMove` unless `after` may follow `before`."""
    if after not in MOVES[before]:
        raise IllegalMove(before, after)
