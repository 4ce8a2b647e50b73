# SPDX-License-Identifier: GPL-3.0-or-later
"""All jobs the panel shows: those of the open file and those the server has besides. No bpy, no sockets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator

from ..protocol.errors import ProtocolError
from ..protocol.messages import JobSummary
from ..protocol.states import JobState
from .job import Job

log = logging.getLogger(__name__)

FORMAT = 1
MOST = 100  # jobs that a list shows and a .blend remembers


class JobBook:
    """Jobs by id, newest first."""

    def __init__(self):
        self._jobs: dict[str, Job] = {}
        self._sending: list[Job] = []

    def __iter__(self) -> Iterator[Job]:
        yield from reversed(self._sending)
        yield from sorted(self._jobs.values(), key=lambda job: -job.created)

    def __len__(self) -> int:
        return len(self._jobs) + len(self._sending)

    def get(self, job_id: str) -> Job | None:
        """The job, or None."""
        return self._jobs.get(job_id)

    def sending(self, job: Job) -> None:
        """A job the server has not answered for."""
        self._sending.append(job)

    def accepted(self, job: Job, job_id: str, state: JobState, position: int) -> None:
        """The server took it and gave it a name."""
        self._drop_sending(job)
        job.id, job.position = job_id, position
        job.enter(state)
        self._jobs[job_id] = job

    def refused(self, job: Job) -> None:
        """The server did not take it."""
        self._drop_sending(job)

    def remove(self, job_id: str) -> None:
        """Forget a job."""
        self._jobs.pop(job_id, None)

    def merge(self, summaries: Iterable[JobSummary], whole: bool, server: str) -> list[Job]:
        """Take in the server's list.

        Args:
            summaries: Jobs as the server has them.
            whole: Whether that is all it has; then jobs it does not name are gone from it.
            server: Its name.

        Returns:
            The jobs of this file among them.
        """
        named = set()
        for summary in summaries:
            named.add(summary.job)
            job = self._jobs.get(summary.job)
            if job is None:
                job = self._jobs[summary.job] = Job(summary.job, "", summary.request, server)
            job.take_summary(summary)
        if whole:
            for job in [job for job in self._jobs.values() if job.id not in named and job.server in ("", server)]:
                if not job.here:
                    self.remove(job.id)
                elif not job.committed:
                    job.lose()
        for job in [job for job in self if not job.here][MOST:]:
            self.remove(job.id)
        return [job for job in self if job.here and job.id in named]

    def running(self) -> Job | None:
        """The job that Now Running shows: one a worker holds before one that waits, this file's before others'."""
        active = [job for job in self if job.is_active and not job.is_unknown and not job.is_preview]
        order = {True: 0, False: 1}
        key = lambda job: (order[job.state is not None and job.state.is_active], order[job.here], job.created)  # noqa: E731
        return min(active, key=key, default=None)

    def of_this_file(self) -> list[Job]:
        """Jobs whose object is, or will be, in the open file."""
        return [job for job in self if job.here]

    def to_text(self) -> str:
        """What the .blend keeps."""
        jobs = [job.to_saved() for job in self.of_this_file() if job.id][:MOST]
        return json.dumps({"format": FORMAT, "jobs": jobs}) if jobs else ""

    def open_file(self, text: str) -> list[Job]:
        """Another file is open: jobs of the old one stay on the server, those of the new one become ours.

        Args:
            text: What `to_text` gave when that file was saved; damaged text counts as none and is logged.
        """
        for job in self:
            job.here, job.committed, job.hold, job.missing = False, False, "", False
        saved = []
        if text:
            try:
                document = json.loads(text)
                if document["format"] != FORMAT:
                    raise ValueError(f"format {document['format']}, this version reads {FORMAT}")
                saved = [Job.from_saved(entry) for entry in document["jobs"][:MOST]]
            except (ValueError, KeyError, TypeError, AttributeError, ProtocolError) as error:
                log.warning("the jobs of this file cannot be read and are left out: %s", error)
        for old in saved:
            known = self._jobs.get(old.id)
            if known is None:
                self._jobs[old.id] = old
                continue
            known.here, known.committed, known.object_name = True, old.committed, old.object_name
            known.location, known.size, known.name = old.location, old.size, old.name
        return self.of_this_file()

    def clear(self) -> None:
        """Another server: its jobs are others. Those of the open file stay, and wait for theirs.

        Requests that the old server has not answered are dropped: nobody would ever hear the answer.
        """
        self._sending.clear()
        for job in list(self._jobs.values()):
            if not job.here:
                self.remove(job.id)
            elif job.is_active:
                job.state = None

    def _drop_sending(self, job: Job) -> None:
        self._sending = [each for each in self._sending if each is not job]
