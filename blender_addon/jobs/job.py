# SPDX-License-Identifier: GPL-3.0-or-later
"""One job as the artist sees it: what was asked, where it stands, what came of it. No bpy, no sockets."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..protocol.messages import Artifact, JobRequest, JobSummary, Problem, Progress, State, Warning
from ..protocol.states import JobState
from . import words

RESULTS = {"object": "asset.glb", "views": "views.npy"}  # by a request's goal


@dataclass
class Job:
    """A job that this computer asked for, or one that the server has.

    Args:
        id: The server's name for it; "" until the server accepted it.
        name: What lists show and the object is called.
        request: What was asked.
        server: Name of the server that has it, "" for the one in use.
        here: Whether the open file has, or will get, its object.
        location: World position in metres where the object goes.
        size: Longest side in metres.
        scene_uid: `session_uid` of the scene it goes to; 0 is the one that is shown.
        object_name: Name of its object in the saved file.
        committed: Whether its result is in the open file.
    """

    id: str
    name: str
    request: JobRequest
    server: str = ""
    here: bool = False
    location: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: float = 1.0
    object_name: str = ""
    committed: bool = False
    scene_uid: int = 0
    state: JobState | None = None  # None while the server has not answered
    fraction: float = 0.0
    stage: str = ""
    stage_index: int = 0
    stage_count: int = 1
    seconds_left: float | None = None
    said_at: float = 0.0  # monotonic, when `seconds_left` was said
    seconds: float = 0.0
    position: int = -1
    created: float = field(default_factory=time.time)
    artifacts: tuple[Artifact, ...] = ()
    problem: Problem | None = None
    warnings: tuple[Problem, ...] = ()
    last_sequence: int = 0
    hold: str = ""  # why the object in the scene is not changed at the moment
    missing: bool = False  # its object was deleted or undone
    discarded: bool = False  # nobody waits for it: it is cancelled as soon as the server has named it, then removed

    @property
    def is_active(self) -> bool:
        """Whether more is to come: it waits or runs."""
        return self.state is None or not (self.state.is_terminal or self.state is JobState.PAUSED)

    @property
    def is_unknown(self) -> bool:
        """Whether it is known from a file alone: its server has not been asked yet, or is not the one in use."""
        return self.state is None and bool(self.id)

    @property
    def result(self) -> Artifact | None:
        """The file of what it made, a mesh or pictures, once there is one."""
        wanted = RESULTS[self.request.goal]
        return next((artifact for artifact in self.artifacts if artifact.name == wanted), None)

    @property
    def is_preview(self) -> bool:
        """Whether it draws the views of seeds and makes no object; lists leave it out."""
        return self.request.goal == "views"

    def fold(self, message: State | Progress | Warning, now: float) -> None:
        """Take in one event. `now` is monotonic seconds."""
        if isinstance(message, State):
            self.enter(message.state)
            self.seconds = message.seconds or self.seconds
            self.artifacts = message.artifacts or self.artifacts
            self.problem = message.problem
        elif isinstance(message, Warning):
            self.warnings = (*self.warnings, Problem(code=message.code, what=message.what, remedy=message.remedy))[-5:]
        else:
            self.stage, self.stage_index, self.stage_count = message.stage, message.stage_index, message.stage_count
            self.fraction, self.seconds_left, self.said_at = message.fraction, message.seconds_left, now
            self.position = message.position

    def enter(self, state: JobState) -> None:
        """Change the state and drop what belonged to the old one."""
        if state is JobState.QUEUED and self.state is not JobState.QUEUED:
            self.seconds_left = None
        if state.is_terminal:
            self.hold, self.seconds_left = "", None
        self.state = state

    def spoil(self, code: str, what: str) -> None:
        """It ended well on the server, and yet there is nothing to show."""
        self.state = JobState.FAILED
        self.problem = Problem(code=code, what=what, remedy="Try again; if it comes back, report it.")

    def lose(self) -> None:
        """Its server does not have it any more."""
        self.enter(JobState.FAILED)
        what = "The server no longer has this job."
        self.problem = Problem(code="unknown_job", what=what, remedy="Generate it again.")

    def take_summary(self, summary: JobSummary) -> None:
        """What the server's list says wins over what is remembered."""
        self.request = summary.request
        self.name = self.name or summary.request.name or words.object_name(summary.request.prompt)
        self.enter(summary.state)
        self.fraction, self.seconds, self.position = summary.fraction, summary.seconds, summary.position
        self.created, self.artifacts, self.problem = summary.created, summary.artifacts, summary.problem

    def line(self, now: float) -> str:
        """What the progress bar says."""
        if self.state is None:
            return "Sending"
        if self.state is JobState.QUEUED:
            return words.queue_line(self.position)
        if self.state is JobState.CANCELLING:
            return "Cancelling"
        if self.state is JobState.PAUSING:
            return "Pausing"
        if self.state is JobState.FINISHING and not self.stage:
            return "Finishing"
        left = None if self.seconds_left is None else max(0.0, self.seconds_left - (now - self.said_at))
        return words.progress_line(self.stage, self.stage_index, self.stage_count, self.fraction, left)

    def short(self) -> str:
        """One or two words for a row of the list."""
        if self.state is None:
            return "Asking" if self.id else "Sending"
        if self.state is JobState.FINISHED:
            return words.duration(self.seconds) if self.seconds else "Done"
        if self.state is JobState.QUEUED:
            return words.queue_line(self.position)
        if self.state is JobState.PAUSED:
            return f"Paused {round(self.fraction * 100)}%"
        if self.state.is_active:
            return f"{round(self.fraction * 100)}%"
        return self.state.value.capitalize()

    def to_saved(self) -> dict[str, Any]:
        """What a .blend keeps: enough to find the job on its server and its object in the file."""
        return {
            "id": self.id,
            "name": self.name,
            "server": self.server,
            "location": list(self.location),
            "size": self.size,
            "object": self.object_name,
            "committed": self.committed,
            "request": self.request.to_body(),
        }

    @classmethod
    def from_saved(cls, saved: Mapping[str, Any]) -> Job:
        """The job a .blend remembers; raises ValueError, KeyError, TypeError or ProtocolError where that is damaged."""
        x, y, z = (float(value) for value in saved["location"])
        return cls(
            id=str(saved["id"]),
            name=str(saved["name"]),
            request=JobRequest.from_body(saved["request"], "request"),
            server=str(saved.get("server", "")),
            here=True,
            location=(x, y, z),
            size=float(saved["size"]),
            object_name=str(saved.get("object", "")),
            committed=bool(saved.get("committed", False)),
        )
