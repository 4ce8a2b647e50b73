# SPDX-License-Identifier: GPL-3.0-or-later
"""One artist, one server, many jobs: joins the connection and the job book.

Knows what is to be asked when: the list of jobs after every hello, a watch for every job of the open file, the result
of every finished one. Knows no bpy; the pump takes previews and results from here and puts them into the scene.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import zmq

from .client.connection import Connection, Link
from .client.servers import ServerList
from .jobs.book import JobBook
from .jobs.job import Job
from .jobs.picture import PicturePrompt
from .jobs.seed_preview import SeedPreview
from .protocol import events, messages, view_grid
from .protocol.conversation import Conversation
from .protocol.errors import ProtocolError
from .protocol.states import JobState
from .protocol.transfers import Upload

log = logging.getLogger(__name__)

LIST_SECONDS = 10.0  # how often the list is asked for again while somebody else's job runs
LIST_LENGTH = 50
REFRESH_SECONDS = 20.0  # how often devices and measured times are asked for again
GETTING_WARM_SECONDS = 1.0  # the same while a worker starts
TEST_SECONDS = 10.0


@dataclass
class ServerTest:
    """One Test button that was pressed. `text` is what to show beside the server."""

    connection: Connection
    started: float
    ping_id: int = 0
    pinged: float = 0.0
    text: str = "Testing"
    ok: bool | None = None  # None while it runs


class Session:
    """All that goes on between this Blender and its server.

    Args:
        servers: Which ones there are.
        client: Who is talking, such as "blender 5.2".
        version: Of the extension.
        clock: Monotonic seconds.
    """

    def __init__(self, servers: ServerList, client: str, version: str, clock: Callable[[], float] = time.monotonic):
        self.servers = servers
        self.book = JobBook()
        self.tests: dict[str, ServerTest] = {}
        self.preview: SeedPreview | None = None  # the seeds that the artist looks at
        self.picture: PicturePrompt | None = None  # what the next object is made from, where that is a picture
        self.refused: tuple[Job, ProtocolError] | None = None  # the newest request the server did not take
        self.changes = 0  # grows with everything a panel could show
        self._client, self._version, self._clock = client, version, clock
        self._context = zmq.Context(io_threads=1)
        self._submits: dict[int, Job] = {}
        self._downloads: dict[int, tuple[str, bytearray]] = {}
        self._cut_outs: dict[int, PicturePrompt] = {}
        self._results: dict[str, bytes] = {}
        self._waiting: set[tuple[str, str]] = set()
        self._ended: list[Job] = []
        self._asked = False  # for the list of jobs, on this connection
        self._listed = self._refreshed = float("-inf")
        self.allowed = True  # whether Blender lets extensions use the network
        self.connection = self._connect()

    # -- what the panel may know -------------------------------------------------------------------

    @property
    def link(self) -> Link:
        """How it stands with the server in use."""
        return self.connection.link

    @property
    def welcome(self) -> messages.Welcome | None:
        """What the server said it can do; kept while it is away."""
        return self.connection.conversation.welcome

    def waits(self, job_id: str, kind: str) -> bool:
        """Whether a preview of this kind ("mesh", "views") lies ready."""
        return (job_id, kind) in self._waiting

    def waits_for_blender(self) -> bool:
        """Whether anything lies ready for the scene or the panels."""
        return bool(self._waiting or self._results or (self.preview and self.preview.fresh))

    # -- the loop ----------------------------------------------------------------------------------

    def tick(self, budget: float = 0.008) -> None:
        """Drain and answer; returns at once. About 0.05 ms when nothing happens."""
        if not self.allowed:
            return
        now = self._clock()
        link = self.connection.link
        for event in self.connection.tick(now, budget):
            self._take(event, now)
        if self.connection.link is not link:
            self.changes += 1
        if self.tests:
            self._tick_tests(now)
        if self.connection.conversation.ready and now - self._listed > LIST_SECONDS and self._somebody_elses():
            self._list(now)
        if self.connection.conversation.ready and now - self._refreshed > self._refresh_pause():
            self._refresh(now)

    def close(self) -> None:
        """Say goodbye; afterwards no socket, no file and no libzmq thread is left."""
        self.use_picture(None)
        for test in self.tests.values():
            test.connection.close()
        self.connection.close()
        self._context.term()

    # -- what the artist does ----------------------------------------------------------------------

    def submit(self, job: Job, images: Mapping[str, Upload] | None = None) -> None:
        """Send a job and its pictures; raises ProtocolError where the request could never be accepted."""
        identity = self.connection.conversation.submit(job.request, images, watch=True)
        self._submits[identity] = job
        self.book.sending(job)
        self.refused = None
        self.changes += 1

    @property
    def can_cut_out(self) -> bool:
        """Whether the server tells a subject from its background before there is a job."""
        return self.welcome is not None and messages.CutOut.TYPE in self.welcome.features

    def cut_out(self, picture: PicturePrompt) -> None:
        """Have the picture's subject told from its background; the picture hears the answer."""
        self._cut_outs[self.connection.conversation.cut_out(*picture.ask())] = picture
        self.changes += 1

    def use_picture(self, picture: PicturePrompt | None) -> None:
        """Another picture is to be made an object of, or none."""
        if self.picture is not None:
            self.picture.close()
        self.picture = picture
        self.changes += 1

    def preview_seeds(self, job: Job, images: Mapping[str, Upload] | None = None) -> None:
        """Have the views of some seeds drawn, in place of those shown before; raises ProtocolError as `submit`."""
        self.drop_preview()
        self.submit(job, images)
        self.preview = SeedPreview(job)

    def settle_preview(self) -> None:
        """The artist has chosen: the pictures stay as they are, and the worker is free for the object."""
        if self.preview is not None and self.preview.job.id and self.preview.job.is_active:
            self.ask(messages.Finish(), self.preview.job)

    def drop_preview(self) -> None:
        """Put the pictures away and stop drawing them."""
        if self.preview is not None:
            self._discard(self.preview.job)
            self.preview = None
            self.changes += 1

    def again(self, job: Job, **changes) -> Job:
        """A new job like an old one, with some fields of the request changed."""
        request = replace(job.request, **changes) if changes else job.request
        new = Job("", job.name, request, self.servers.in_use, True, job.location, job.size, scene_uid=job.scene_uid)
        self.submit(new)
        return new

    def ask(self, command: messages.Message, job: Job) -> None:
        """Cancel, finish, pause, resume or remove a job. A removed one leaves the list at once."""
        self.connection.conversation.command(command, job.id)
        if isinstance(command, messages.Remove):
            self._forget(job.id)
        self.changes += 1

    def fetch_result(self, job: Job) -> None:
        """Get a finished job's mesh, unless it is on its way already."""
        artifact = job.result
        if artifact is None or job.id in self._results or any(known == job.id for known, _ in self._downloads.values()):
            return
        data = bytearray()
        identity = self.connection.conversation.download(artifact, data.extend)
        self._downloads[identity] = (job.id, data)

    def adopt(self, job: Job) -> None:
        """A job becomes one of the open file: follow it and fetch what it made."""
        job.here, job.committed = True, False
        if job.state is JobState.FINISHED:
            self.fetch_result(job)
        elif job.is_active or job.state is JobState.PAUSED:
            self._follow(job)
        self.changes += 1

    def take_mesh(self, job_id: str) -> messages.Mesh | None:
        """The newest mesh, once; the server then sends the next."""
        self._waiting.discard((job_id, "mesh"))
        return self.connection.conversation.take_preview(job_id, "mesh")

    def take_views(self, job_id: str) -> messages.Views | None:
        """The newest pictures, once."""
        self._waiting.discard((job_id, "views"))
        return self.connection.conversation.take_preview(job_id, "views")

    def take_ended(self) -> list[Job]:
        """Jobs of the open file that failed or were cancelled since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def results(self) -> list[str]:
        """Jobs whose finished mesh is here and not yet taken."""
        return list(self._results)

    def take_result(self, job_id: str) -> bytes:
        """The bytes of a finished mesh, once."""
        return self._results.pop(job_id)

    def keep_result(self, job_id: str, data: bytes) -> None:
        """Hand a result back that cannot be used at the moment."""
        self._results[job_id] = data

    def committed(self, job: Job) -> None:
        """The result is in the scene: nothing more is wanted from the server."""
        job.committed, job.hold, job.missing = True, "", False
        self.connection.conversation.unwatch(job.id)
        self.changes += 1

    def use_server(self, name: str) -> None:
        """Talk to another server from now on. Jobs of the old one go on there."""
        self.drop_preview()
        self.servers.use(name)
        self.connection.close()
        self.book.clear()
        self._submits.clear()
        self._downloads.clear()
        self._cut_outs.clear()
        if self.picture is not None:
            self.picture.forget_question()
        self._results.clear()
        self._waiting.clear()
        self._listed = self._refreshed = float("-inf")
        self._asked = False
        self.connection = self._connect()
        self.changes += 1

    def dismiss(self) -> None:
        """The artist has read why a request was refused."""
        self.refused = None
        self.changes += 1

    def retry(self) -> None:
        """Look for the server now."""
        self.connection.retry()
        self.changes += 1

    def go_offline(self) -> None:
        """Blender no longer allows the network: no socket stays open, not even a test's."""
        self.connection.close()
        for test in self.tests.values():
            if test.ok is None:
                self._end_test(test, False, "Online access is off")

    def open_file(self, saved: str) -> None:
        """Another .blend is open; `saved` is what its scene remembers of its jobs."""
        self.drop_preview()  # its seeds were for the other file's prompt
        self._results.clear()
        self._ended.clear()
        for job in self.book.open_file(saved):
            if self.connection.conversation.ready and job.server in ("", self.servers.in_use):
                self._follow(job)
        if self.connection.conversation.ready:
            self._list(self._clock())
        self.changes += 1

    def test(self, name: str) -> None:
        """Connect to a server beside the one in use and measure a round trip; the answer appears in `tests`."""
        if name in self.tests:
            self.tests.pop(name).connection.close()
        conversation = Conversation(self._client, self._version)
        connection = Connection(lambda: self.servers.endpoint(name), conversation, self._context)
        self.tests[name] = ServerTest(connection, self._clock())
        self.changes += 1

    # -- events ------------------------------------------------------------------------------------

    def _take(self, event: events.Event, now: float) -> None:
        self.changes += 1
        if isinstance(event, events.ServerReady):
            self._refreshed = now
            if event.restarted or not self._asked:
                self._list(now)
        elif isinstance(event, events.ServerGone):
            self._asked = False
        elif isinstance(event, events.Answered):
            self._take_answer(event)
        elif isinstance(event, events.Refused):
            self._take_refusal(event)
        elif isinstance(event, events.PreviewWaiting):
            self._waiting.add((event.job, event.kind))
        elif isinstance(event, events.JobProgressed):
            self._fold(event.job, event.progress, now)
        elif isinstance(event, events.JobWarned):
            self._fold(event.job, event.warning, now)
        elif isinstance(event, events.JobChanged):
            self._fold(event.job, event.state, now)
        elif isinstance(event, events.Downloaded):
            job_id, data = self._downloads.pop(event.id, ("", bytearray()))
            if self.preview is not None and self.preview.job.id == job_id:
                self._finish_preview(self.preview, bytes(data))
            elif self.book.get(job_id):
                self._results[job_id] = bytes(data)
        elif isinstance(event, events.DownloadFailed):
            self._take_failed_download(event)

    def _take_answer(self, event: events.Answered) -> None:
        answer = event.answer
        if isinstance(answer, messages.Accepted) and event.id in self._submits:
            job = self._submits.pop(event.id)
            self.book.accepted(job, event.job, answer.state, answer.position)
            if job.discarded:
                self._discard(job)
        elif isinstance(answer, messages.Cutout):
            picture = self._cut_outs.pop(event.id, None)
            if picture is not None:
                picture.take(answer)
        elif isinstance(answer, messages.Jobs):
            for job in self.book.merge(answer.jobs, not answer.more, self.servers.in_use):
                self._follow(job)
                if job.state in (JobState.FAILED, JobState.CANCELLED):
                    self._ended.append(job)  # it ended while its file was closed
            self._look_for_preview()
        elif isinstance(answer, messages.Subscribed):
            job = self.book.get(event.job)
            if job is not None:
                job.enter(answer.state)

    def _take_refusal(self, event: events.Refused) -> None:
        picture = self._cut_outs.pop(event.id, None)
        if picture is not None:
            picture.refuse(event.error)
            return
        job = self._submits.pop(event.id, None)
        if job is not None:
            self.book.refused(job)
            if self.preview is not None and self.preview.job is job:
                self.preview = None
            if not job.discarded:
                self.refused = (job, event.error)
            return
        known = self.book.get(event.job)
        if known is not None and event.error.code == "unknown_job":
            if not known.committed:
                known.lose()
            return
        if event.error.code == "wrong_state":
            log.info("job %s: %s", event.job, event.error)  # it ended before the command came
            return
        log.warning("the server refused %s: %s", event.command.TYPE, event.error)

    def _fold(self, job_id: str, message, now: float) -> None:
        job = self.book.get(job_id)
        if job is None:
            return
        job.fold(message, now)
        if job.state is JobState.REMOVED:
            self._forget(job_id)
        elif job.discarded:
            if job.state.is_terminal:
                self._discard(job)
        elif job.is_preview:
            if job.state is JobState.FINISHED and self.preview is not None and self.preview.job is job:
                self.fetch_result(job)
        elif job.state is JobState.FINISHED and job.here and not job.committed:
            self.fetch_result(job)
            self._refresh(now)  # the server now knows how long it took
        elif job.state in (JobState.FAILED, JobState.CANCELLED) and job.here:
            self._ended.append(job)

    def _take_failed_download(self, event: events.DownloadFailed) -> None:
        job_id, _ = self._downloads.pop(event.id, ("", bytearray()))
        job = self.book.get(job_id)
        log.warning("job %s: the result cannot be fetched: %s", job_id, event.error)
        if job is not None:
            job.spoil(event.error.code, f"The result cannot be fetched: {event.error.what}")

    # -- parts -------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        name = self.servers.in_use
        conversation = Conversation(self._client, self._version)
        return Connection(lambda: self.servers.endpoint(name), conversation, self._context)

    def _list(self, now: float) -> None:
        self._listed, self._asked = now, True
        self.connection.conversation.list_jobs(LIST_LENGTH, thumbnails=False)

    def _refresh(self, now: float) -> None:
        self._refreshed = now
        self.connection.conversation.refresh()

    def _refresh_pause(self) -> float:
        starting = any(device.state in ("starting", "down") for device in self.welcome.devices)
        return GETTING_WARM_SECONDS if starting else REFRESH_SECONDS

    def _follow(self, job: Job) -> None:
        """Watch a job of this file, or fetch what it made."""
        if job.committed:
            return
        if job.state is JobState.FINISHED:
            self.fetch_result(job)
        elif job.state is None or not job.state.is_terminal:
            if not self.connection.conversation.last_sequence(job.id):
                self.connection.conversation.watch(job.id)

    def _somebody_elses(self) -> bool:
        return any(job.is_active and not job.here for job in self.book)

    def _discard(self, job: Job) -> None:
        """Cancel what nobody waits for, and take it off the server once it has ended."""
        job.discarded = True
        if not job.id or self.book.get(job.id) is not job:
            return  # not named yet: its acceptance comes here again; or gone already
        ended = job.state is not None and job.state.is_terminal
        self.ask(messages.Remove() if ended else messages.Cancel(), job)

    def _finish_preview(self, preview: SeedPreview, data: bytes) -> None:
        """All pictures are here, so the server need not keep them."""
        try:
            preview.finish(view_grid.unpack_views(data))
        except ProtocolError as error:
            log.error("job %s: the views cannot be read: %s", preview.job.id, error)
            preview.job.spoil("unreadable_result", f"The pictures cannot be read: {error}.")
        self.ask(messages.Remove(), preview.job)

    def _look_for_preview(self) -> None:
        """A server that was set up anew knows nothing of the pictures it was drawing."""
        if self.preview is None or self.preview.complete:
            return
        job = self.preview.job
        if job.id and job.is_active and self.book.get(job.id) is None:
            job.lose()

    def _forget(self, job_id: str) -> None:
        self.connection.conversation.unwatch(job_id)
        self.book.remove(job_id)
        self._results.pop(job_id, None)
        self._waiting -= {(job_id, "mesh"), (job_id, "views")}

    def _tick_tests(self, now: float) -> None:
        for test in self.tests.values():
            if test.ok is not None:
                continue
            happened = test.connection.tick(now)
            for event in happened:
                if isinstance(event, events.ServerReady) and not test.ping_id:
                    test.pinged = time.perf_counter()
                    test.ping_id = test.connection.conversation.command(messages.Ping())
                    test.connection.wait(0.01)  # else the answer would wait for the next tick and look slow
                    happened += test.connection.tick(now)  # the loop goes on over what this found
                elif isinstance(event, events.Answered) and event.id == test.ping_id:
                    self._end_test(test, True, _described(test, (time.perf_counter() - test.pinged) * 1000))
            if test.ok is None and test.connection.link in (Link.INCOMPATIBLE, Link.BAD_ADDRESS, Link.REFUSED):
                self._end_test(test, False, test.connection.error)
            elif test.ok is None and now - test.started > TEST_SECONDS:
                self._end_test(test, False, test.connection.why_not() or "Nobody says where this server is.")

    def _end_test(self, test: ServerTest, ok: bool, text: str) -> None:
        test.ok, test.text = ok, text
        test.connection.close()
        self.changes += 1


def _described(test: ServerTest, milliseconds: float) -> str:
    welcome = test.connection.conversation.welcome
    devices = ", ".join(device.name for device in welcome.devices) or "no device"
    return f"{milliseconds:.0f} ms · {devices}"
