"""The life of jobs: accepted, given to workers, stopped, completed once, requeued when a worker is lost.

Knows the store, the supervisor's workers, the blobs and who is to be told. Knows no sockets and no client's messages.
"""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace

import psutil

from dreamlift.protocol import messages, worker_channel
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.messages import JobRequest, Problem
from dreamlift.protocol.states import IllegalMove, JobState
from dreamlift.service.blobs import Blobs
from dreamlift.service.home import Home
from dreamlift.service.sessions import Sessions
from dreamlift.service.settings import ServiceSettings
from dreamlift.service.store import Job, Store
from dreamlift.service.supervisor import Supervisor

_log = logging.getLogger(__name__)
NOTE_SECONDS = 5.0  # how often a running job's fraction is written down


class JobQueue:
    """All jobs of a service. `supervisor` is set by its owner before the first job is given out.

    Args:
        settings: Of the service.
        home: Folders.
        store: Jobs on disk.
        blobs: Files.
        sessions: Who is told.
    """

    supervisor: Supervisor

    def __init__(self, settings: ServiceSettings, home: Home, store: Store, blobs: Blobs, sessions: Sessions):
        self._settings, self._home = settings, home
        self._store, self._blobs, self._sessions = store, blobs, sessions
        self._noted: dict[str, float] = {}

    # -- commands -------------------------------------------------------------------------------------------

    def submit(self, token: str, request: JobRequest) -> tuple[Job, int]:
        """Store a checked request; the job and its place in the queue.

        Raises:
            ProtocolError: "queue_full" or "missing_blob".
        """
        job = self._store.by_token(token)
        if job is None:
            if self._store.unfinished() >= self._settings.unfinished_jobs:
                raise ProtocolError(
                    "queue_full",
                    f"The server holds {self._settings.unfinished_jobs} unfinished jobs.",
                    "Cancel some, or wait until one is done.",
                )
            for role, sha256 in request.images.items():
                if self._blobs.size(sha256) is None:
                    raise ProtocolError("missing_blob", f"The {role} picture is not on the server.", "Upload it first.")
            job = self._store.accept(token, request, time.time())
            _log.info("accepted: %s %s", request.pipeline, request.preset, extra={"job": job.id})
            self._changed(job.id)
        return job, self.position(job.id)

    def position(self, job: str) -> int:
        """Place in the queue, 0 is next; -1 for a job that does not wait."""
        queued = self._store.queued()
        return queued.index(job) if job in queued else -1

    def stop(self, job: str, reason: str) -> JobState:
        """Cancel, finish early or pause a job; the state afterwards. A repeated request changes nothing.

        Args:
            job: Its id.
            reason: "cancel", "finish" or "pause".

        Raises:
            ProtocolError: "unknown_job" or "wrong_state".
        """
        present = self._job(job)
        active, waiting, ended = {
            "cancel": (JobState.CANCELLING, JobState.CANCELLED, JobState.CANCELLED),
            "finish": (JobState.FINISHING, JobState.QUEUED, JobState.FINISHED),
            "pause": (JobState.PAUSING, JobState.PAUSED, JobState.PAUSED),
        }[reason]
        if present.state in (active, ended):
            return present.state
        finish = True if reason == "finish" else None
        if present.state.is_active:
            state = self._move(present, active, finish_asked=finish)
            self.supervisor.stop(job, reason)
            return state
        if reason == "finish" and present.state is JobState.QUEUED:
            self._store.ask_finish(job)
            return JobState.QUEUED
        state = self._move(present, waiting, finish_asked=finish)
        if state is JobState.CANCELLED:
            self._drop_folder(job)
        return state

    def resume(self, job: str) -> JobState:
        """Put a paused job back into the queue. Raises ProtocolError "unknown_job" or "wrong_state"."""
        present = self._job(job)
        if present.state in (JobState.QUEUED, JobState.RUNNING):
            return present.state
        if present.state is not JobState.PAUSED:
            raise _wrong_state(present.state, "resumed")
        return self._move(present, JobState.QUEUED)

    def remove(self, job: str) -> None:
        """Forget an ended job. Raises ProtocolError "wrong_state"; a job that is not there is no error."""
        present = self._store.job(job)
        if present is None:
            return
        try:
            event = self._store.remove(job)
        except IllegalMove as error:
            raise _wrong_state(present.state, "removed", "Cancel it first.") from error
        self._sessions.last_words(job, present.last_sequence + 1, event)
        self._drop_folder(job)
        _log.info("removed", extra={"job": job})

    def move(self, job: str, before: str) -> JobState:
        """Change the order of the queue. Raises ProtocolError "unknown_job" or "wrong_state"."""
        present = self._job(job)
        if present.state is not JobState.QUEUED:
            raise _wrong_state(present.state, "moved")
        self._store.reorder(job, before)
        self._tell_positions()
        return present.state

    def summary(self, job: Job, queued: list[str], thumbnail: int) -> messages.JobSummary:
        """A job as a list shows it."""
        return messages.JobSummary(
            job=job.id,
            state=job.state,
            request=job.request,
            created=job.created,
            seconds=job.seconds,
            fraction=job.fraction,
            position=queued.index(job.id) if job.id in queued else -1,
            thumbnail=thumbnail,
            artifacts=self._store.artifacts(job.id),
            problem=job.problem,
            last_sequence=job.last_sequence,
        )

    # -- the loop's calls -------------------------------------------------------------------------------------

    def recover(self) -> None:
        """After a start: end workers that a killed service left behind, put their jobs where they belong."""
        for job in self._store.active():
            _end_orphan(job)
            self._return(job, None)

    def reconcile(self) -> None:
        """Requeue jobs that no worker holds though the store says so: their end could not be written down."""
        held = {worker.job for worker in self.supervisor.workers}
        for job in self._store.active():
            if job.id not in held:
                _log.warning("no worker holds it", extra={"job": job.id})
                self._return(job, None)

    def give_out(self) -> None:
        """Give queued jobs to idle workers."""
        idle = self.supervisor.idle()
        if not idle:
            return
        waiting = self._store.queued()
        for worker, job in zip(idle, waiting, strict=False):
            started = time.time()
            if worker.pid:
                try:
                    started = psutil.Process(worker.pid).create_time()
                except psutil.NoSuchProcess:
                    continue  # it just died: the supervisor will say so
            present = self._store.start_attempt(job, time.time(), worker.pid, started)
            _log.info("attempt %d on %s", present.attempt, worker.name, extra={"job": job})
            self._sessions.forget(job)
            self._sessions.mark(job)
            self.supervisor.assign(worker, present)
            if present.finish_asked:
                self._move(present, JobState.FINISHING)
        if waiting:
            self._tell_positions()

    def clean(self) -> None:
        """Forget old ended jobs; delete files that nobody needs."""
        for job in self._store.ended_beyond(self._settings.keep_jobs):
            self.remove(job)
        for folder in self._home.jobs.iterdir():
            job = self._store.job(folder.name)
            if job is None or job.state.is_terminal:
                shutil.rmtree(folder, ignore_errors=True)  # a file that is held open is deleted next time
        deleted = self._blobs.clean(self._store.is_wanted, self._settings.keep_orphans)
        if deleted:
            _log.info("deleted %d files that no job needs", deleted)

    # -- what workers say (`supervisor.Reports`) ----------------------------------------------------------------

    def worker_said(self, job: str, message: messages.Message) -> None:
        """Progress, a preview, a thumbnail, a warning or the end of an attempt."""
        if isinstance(message, worker_channel.Ended):
            self._ended(job, message)
        elif isinstance(message, messages.Progress):
            self._sessions.progress(job, message)
            now = time.monotonic()
            if now - self._noted.get(job, 0.0) > NOTE_SECONDS:
                self._noted[job] = now
                self._store.note(job, fraction=message.fraction)
        elif isinstance(message, messages.Mesh | messages.Views):
            self._sessions.preview(job, message)
        elif isinstance(message, worker_channel.Thumbnail):
            self._store.note(job, thumbnail=message.image.tobytes())
        elif isinstance(message, messages.Warning):
            self._store.warn(job, message)
            self._sessions.mark(job)

    def worker_lost(self, job: str, attempt: int) -> None:
        """The process that held this job is gone."""
        present = self._store.job(job)
        if present is None or present.attempt != attempt or not present.state.is_active:
            return
        what = f"The worker process ended unexpectedly in attempt {attempt}."
        self._return(present, Problem(code="worker_lost", what=what, remedy="See the server's log for the reason."))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _ended(self, job: str, end: worker_channel.Ended) -> None:
        present = self._store.job(job)
        if present is None or present.attempt != end.attempt or not present.state.is_active:
            return
        if present.state is JobState.CANCELLING or end.outcome == "cancelled":
            self._end_cancelled(present, end.seconds)
        elif end.outcome == "finished":
            self._complete(present, end)
        elif end.outcome == "paused":
            self._end_paused(present, end.seconds)
        else:
            problem = end.problem or Problem(code="internal_error", what="The worker gave no reason.")
            self._move(present, JobState.FAILED, problem=problem, seconds=end.seconds)
            self._drop_folder(job)

    def _end_cancelled(self, present: Job, seconds: float) -> None:
        if present.state is not JobState.CANCELLING:
            present = replace(present, state=self._move(present, JobState.CANCELLING))
        self._move(present, JobState.CANCELLED, seconds=seconds)
        self._drop_folder(present.id)

    def _end_paused(self, present: Job, seconds: float) -> None:
        if present.state is JobState.PAUSING:
            self._move(present, JobState.PAUSED, seconds=seconds)
        else:  # "Use Now" came after the pause was obeyed: go on from the checkpoint and finish
            self._move(present, JobState.QUEUED, seconds=seconds)

    def _complete(self, present: Job, end: worker_channel.Ended) -> None:
        folder = self._home.attempt(present.id, end.attempt)
        try:
            for artifact in end.artifacts:
                path = folder / artifact.name
                if path.stat().st_size != artifact.size:
                    raise OSError(f"{artifact.name} has {path.stat().st_size} bytes, announced were {artifact.size}")
                self._blobs.adopt(path, artifact.sha256)
        except OSError as error:
            _log.error("artifacts could not be stored: %s", error, extra={"job": present.id})
            problem = Problem(
                code="storage_full", what=f"The result could not be stored: {error}.", remedy="Free some disk space."
            )
            self._move(present, JobState.FAILED, problem=problem, seconds=end.seconds)
            return
        if self._store.complete(present.id, end.attempt, end.artifacts, end.seconds, time.time()):
            _log.info("finished in %.1f s", end.seconds, extra={"job": present.id})
            self._changed(present.id)
            self._drop_folder(present.id)

    def _return(self, job: Job, problem: Problem | None) -> None:
        """A worker that held this job is gone; `problem` is None where the service itself had been killed."""
        lost = problem is not None
        if job.state is JobState.CANCELLING:
            self._move(job, JobState.CANCELLED)
            self._drop_folder(job.id)
        elif job.state is JobState.PAUSING:
            self._move(job, JobState.PAUSED)
        elif lost and job.lost + 1 >= self._settings.attempts:
            what = f"Its worker process ended unexpectedly {job.lost + 1} times."
            remedy = "Try smaller settings; the server's log has the reason."
            self._move(job, JobState.FAILED, problem=Problem(code="worker_lost", what=what, remedy=remedy), lost=True)
            self._drop_folder(job.id)
        else:
            self._move(job, JobState.QUEUED, problem=problem, lost=lost)

    def _move(self, job: Job, state: JobState, **details: object) -> JobState:
        try:
            self._store.change(job.id, state, time.time(), **details)
        except IllegalMove as error:
            raise _wrong_state(job.state, state.value) from error
        _log.info("%s -> %s", job.state.value, state.value, extra={"job": job.id})
        self._changed(job.id)
        return state

    def _changed(self, job: str) -> None:
        self._sessions.mark(job)
        present = self._store.job(job)
        if not present.state.is_active:
            self._noted.pop(job, None)
            self._sessions.forget(job)
            self._tell_positions()

    def _tell_positions(self) -> None:
        for place, job in enumerate(self._store.queued()):
            waiting = messages.Progress(
                stage="Waiting", stage_index=0, stage_count=1, step=0, steps=0, fraction=0.0, position=place
            )
            self._sessions.progress(job, waiting)

    def _drop_folder(self, job: str) -> None:
        shutil.rmtree(self._home.job(job), ignore_errors=True)  # what is held open is deleted by the next `clean`

    def _job(self, job: str) -> Job:
        present = self._store.job(job)
        if present is None:
            raise ProtocolError("unknown_job", f"There is no job {job}.", "It may have been removed.")
        return present


def _wrong_state(state: JobState, verb: str, remedy: str = "") -> ProtocolError:
    return ProtocolError("wrong_state", f"A job that is {state.value} cannot be {verb}.", remedy)


def _end_orphan(job: Job) -> None:
    """End the process that held this job, if it is still the same one (a number may have been given again)."""
    if not job.worker_pid:
        return
    try:
        process = psutil.Process(job.worker_pid)
        if abs(process.create_time() - job.worker_started) < 1.0:
            _log.warning("ending orphaned worker %d", job.worker_pid, extra={"job": job.id})
            process.kill()
            process.wait(5.0)
    except psutil.NoSuchProcess:
        return
