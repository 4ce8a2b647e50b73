"""Clients' messages to actions: one function for each command of docs/protocol.md.

Knows sessions, the queue, the store and the blobs. Knows no sockets. Whatever a function raises as ProtocolError
becomes the client's typed answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

from dreamlift import __version__
from dreamlift.memory.cards import SIZES, Card, card_of_size
from dreamlift.memory.fit import refusal
from dreamlift.memory.plan import least_bytes
from dreamlift.pipelines.catalog import PipelineDescription, check, check_images, check_object, check_views
from dreamlift.pipelines.context import RequestError
from dreamlift.protocol import limits, messages
from dreamlift.protocol.codec import Envelope
from dreamlift.protocol.errors import ProtocolError
from dreamlift.service.blobs import Blobs
from dreamlift.service.cut_outs import CutOuts
from dreamlift.service.queue import JobQueue
from dreamlift.service.sessions import Session, Sessions
from dreamlift.service.settings import ServiceSettings
from dreamlift.service.store import Store

THUMBNAIL = (64, 64, 3)
FEATURES = (messages.CutOut.TYPE,)  # commands that clients ask for by name before they use them
_log = logging.getLogger(__name__)

Answer = messages.Message | tuple[messages.Message, str]  # with the job's id where the command did not name it


class Commands:
    """Answers clients.

    Args:
        settings: Of the service.
        run: Id of this start.
        pipelines: What may be asked for.
        store: Jobs on disk.
        blobs: Files.
        sessions: Who is connected.
        queue: The life of jobs.
        cut_outs: Pictures that are cut out before there is a job.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        run: str,
        pipelines: Mapping[str, PipelineDescription],
        store: Store,
        blobs: Blobs,
        sessions: Sessions,
        queue: JobQueue,
        cut_outs: CutOuts,
    ):
        self._settings, self._run, self._pipelines = settings, run, pipelines
        self._store, self._blobs, self._sessions, self._queue = store, blobs, sessions, queue
        self._cut_outs = cut_outs
        self._actions: dict[type[messages.Message], Callable[[Session, Envelope], Answer | None]] = {
            messages.Hello: lambda session, envelope: self._hello(envelope.message),
            messages.Submit: lambda session, envelope: self._submit(envelope.message),
            messages.Cancel: lambda session, envelope: self._stop(envelope.job, "cancel"),
            messages.Finish: lambda session, envelope: self._stop(envelope.job, "finish"),
            messages.Pause: lambda session, envelope: self._stop(envelope.job, "pause"),
            messages.Resume: lambda session, envelope: messages.Done(state=self._queue.resume(envelope.job).value),
            messages.Remove: lambda session, envelope: self._remove(envelope.job),
            messages.Move: lambda session, envelope: self._move(envelope.job, envelope.message),
            messages.ListJobs: lambda session, envelope: self._list(envelope.message),
            messages.Subscribe: lambda session, envelope: self._subscribe(session, envelope),
            messages.Unsubscribe: lambda session, envelope: self._unsubscribe(session, envelope.job),
            messages.BlobQuery: lambda session, envelope: self._blob_query(envelope.message),
            messages.BlobChunk: lambda session, envelope: self._blob_chunk(envelope.message),
            messages.CutOut: lambda session, envelope: self._cut_outs.ask(session, envelope.id, envelope.message),
            messages.Fetch: lambda session, envelope: self._fetch(envelope.message),
            messages.Ping: lambda session, envelope: messages.Pong(),
            messages.Pong: lambda session, envelope: None,  # that it came is all it says
            messages.Seen: lambda session, envelope: self._seen(session, envelope),
        }

    def act(self, session: Session, envelope: Envelope) -> None:
        """Do what a known client asks and answer it; never raises."""
        job = envelope.job
        try:
            answer = self._actions[type(envelope.message)](session, envelope)
        except RequestError as error:
            answer = messages.Error(code=error.code, what=error.what, remedy=error.remedy, suggestion=error.suggestion)
        except ProtocolError as error:
            answer = problem_of(error)
        except Exception:
            _log.exception("%s failed", envelope.message.TYPE, extra={"job": job or "-"})
            answer = messages.Error(
                code="internal_error",
                what=f"The server could not do {envelope.message.TYPE}.",
                remedy="Its log has the details.",
            )
        if isinstance(answer, tuple):
            answer, job = answer
        if answer is not None:
            self._sessions.answer(session, answer, envelope.id, job)

    # -- one function a command ---------------------------------------------------------------------------------

    def _hello(self, hello: messages.Hello) -> messages.Message:
        shared = set(hello.versions) & set(limits.SUPPORTED_VERSIONS)
        if not shared:
            older = max(hello.versions, default=0) < min(limits.SUPPORTED_VERSIONS)
            raise ProtocolError(
                "version_unsupported",
                f"The client speaks protocol versions {list(hello.versions)}, this server {limits.SUPPORTED_VERSIONS}.",
                f"Update the {'client' if older else 'server'}.",
            )
        return messages.Welcome(
            server="dreamlift",
            server_version=__version__,
            server_run=self._run,
            version=max(shared),
            pipelines=tuple(self._pipeline(description) for description in self._pipelines.values()),
            devices=self._queue.supervisor.devices(),
            limits=messages.ServerLimits(unfinished_jobs=self._settings.unfinished_jobs),
            unfinished_jobs=self._store.unfinished(),
            features=FEATURES,
        )

    def _pipeline(self, description: PipelineDescription) -> messages.Pipeline:
        return messages.Pipeline(
            name=description.name,
            label=description.label,
            help=description.help,
            presets=tuple(
                messages.Preset(
                    **asdict(preset),
                    seconds=self._store.median_seconds(description.name, preset.name),
                    memory_bytes=least_bytes(description.name, preset.name, card_of_size(SIZES[-1])),
                )
                for preset in description.presets
            ),
            settings=tuple(messages.Setting(**asdict(setting)) for setting in description.settings),
            image_roles=description.image_roles,
            view_names=description.view_names,
            makes_objects=description.makes_objects,
        )

    def _submit(self, submit: messages.Submit) -> Answer:
        request = submit.request
        if request.goal == "views":
            check_views(request.pipeline, request.preset, request.settings, request.seeds, self._pipelines)
        else:
            check(request.pipeline, request.preset, request.settings, self._pipelines)
            check_object(request.pipeline, self._pipelines)
        check_images(request.pipeline, request.images, self._pipelines)
        self._check_memory(request.pipeline, request.preset)
        job, position = self._queue.submit(submit.token, request)
        return messages.Accepted(state=job.state, position=position), job.id

    def _check_memory(self, pipeline: str, preset: str) -> None:
        """Refuse what fits none of the workers; the one that gets the job plans exactly.

        Raises:
            RequestError: "does_not_fit".
        """
        sizes = [(worker.memory_bytes, worker.name) for worker in self._queue.supervisor.devices()]
        if not sizes or any(not size for size, _ in sizes):
            return  # a worker that has not said hello may have any size
        most, name = max(sizes)
        card = Card(name, "cuda", most)
        if least_bytes(pipeline, preset, card) > most:
            raise refusal(pipeline, preset, card)

    def _stop(self, job: str, reason: str) -> messages.Message:
        return messages.Done(state=self._queue.stop(job, reason).value)

    def _remove(self, job: str) -> messages.Message:
        self._queue.remove(job)
        return messages.Done(state="removed")

    def _move(self, job: str, move: messages.Move) -> messages.Message:
        return messages.Done(state=self._queue.move(job, move.before).value)

    def _list(self, question: messages.ListJobs) -> messages.Message:
        jobs, more = self._store.page(question.limit, question.after)
        queued = self._store.queued()
        pictures: list[np.ndarray] = []
        summaries = []
        for job in jobs:
            row = -1
            if question.thumbnails and job.thumbnail is not None:
                row = len(pictures)
                pictures.append(np.frombuffer(job.thumbnail, np.uint8).reshape(THUMBNAIL))
            summaries.append(self._queue.summary(job, queued, row))
        thumbnails = np.stack(pictures) if pictures else None
        return messages.Jobs(jobs=tuple(summaries), more=more, thumbnails=thumbnails)

    def _subscribe(self, session: Session, envelope: Envelope) -> messages.Message:
        job = self._store.job(envelope.job)
        if job is None:
            raise ProtocolError("unknown_job", f"There is no job {envelope.job}.", "It may have been removed.")
        self._sessions.subscribe(session, job.id, envelope.message.after, envelope.message.previews)
        return messages.Subscribed(state=job.state, last_sequence=job.last_sequence)

    def _unsubscribe(self, session: Session, job: str) -> messages.Message:
        self._sessions.unsubscribe(session, job)
        return messages.Done()

    def _blob_query(self, query: messages.BlobQuery) -> messages.Message:
        have, complete = self._blobs.have(query.sha256, query.size)
        return messages.BlobState(sha256=query.sha256, have=have, complete=complete)

    def _blob_chunk(self, chunk: messages.BlobChunk) -> messages.Message:
        have, complete = self._blobs.add(chunk.sha256, chunk.size, chunk.offset, chunk.data)
        return messages.BlobState(sha256=chunk.sha256, have=have, complete=complete)

    def _fetch(self, fetch: messages.Fetch) -> messages.Message:
        data, size = self._blobs.read(fetch.sha256, fetch.offset, fetch.length)
        return messages.Chunk(sha256=fetch.sha256, offset=fetch.offset, size=size, data=data)

    def _seen(self, session: Session, envelope: Envelope) -> None:
        self._sessions.seen(session, envelope.job, envelope.message.kind, envelope.message.serial)


def problem_of(error: ProtocolError) -> messages.Error:
    """The answer that carries an error."""
    return messages.Error(
        code=error.code, what=error.what[:1000], remedy=error.remedy[:1000], suggestion=error.suggestion
    )
