"""A client with a socket: submit, follow, steer and fetch, for the command line and for scripts.

Knows pyzmq and the clock; everything else is `protocol.conversation`. One thread; every call that waits takes a limit.

    with Client() as client:
        job = client.submit(JobRequest(prompt="a red mushroom"))
        for event in client.follow(job):
            ...
        client.download(client.job(job).artifacts[0], Path("mushroom.glb"))
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import zmq

from dreamlift import __version__
from dreamlift.client.finding import ClientError, find_server
from dreamlift.protocol import events, limits, messages
from dreamlift.protocol.conversation import Conversation
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.handshake import EVENTS, Handshake, Reason, sentences
from dreamlift.protocol.messages import Artifact, JobRequest, JobSummary
from dreamlift.protocol.pairing import Endpoint
from dreamlift.protocol.states import JobState
from dreamlift.protocol.transfers import Upload

ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.25
M = TypeVar("M", bound=messages.Message)


class Client:
    """One connection to one server, over every restart of it.

    Args:
        server: A pairing string; empty for the server of this account on this computer.
        home: That server's folder; None takes `DREAMLIFT_HOME` or this user's.
        name: Who is talking, for the server's log.
        wait: Seconds to wait for the server's first answer.

    Raises:
        ClientError: "no_server", "bad_pairing", "no_answer", "key_refused", "wrong_server" or "incompatible".

    Later calls that wait raise "key_refused" or "wrong_server" too, where the server no longer lets this key in.
    """

    def __init__(self, server: str = "", home: Path | None = None, name: str = "dreamlift", wait: float = 10.0):
        self._find: Callable[[], Endpoint] = lambda: find_server(server, home)
        self._endpoint = self._find()
        self._conversation = Conversation(name, __version__)
        self._backlog: list[events.Event] = []
        self._context = zmq.Context()
        self._socket: zmq.Socket | None = None
        self._monitor: zmq.Socket | None = None  # libzmq tells there how the handshake goes
        self._handshake = Handshake()
        self._looked = 0.0
        try:
            self._open()
            self._until(lambda event: isinstance(event, events.ServerReady), wait, "the server's first answer")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def welcome(self) -> messages.Welcome:
        """What the server last said about itself."""
        return self._conversation.welcome

    def close(self) -> None:
        """Say goodbye and let everything go. Jobs go on."""
        if self._socket is not None:
            self._conversation.close()
            self._send()
            self._close_socket()
        self._context.term()

    # -- jobs -------------------------------------------------------------------------------------------

    def submit(self, request: JobRequest, images: Mapping[str, bytes] | None = None, watch: bool = False) -> str:
        """Upload the pictures and ask for the job; its id, once the server has stored it.

        Args:
            request: What to make.
            images: Encoded picture files by role.
            watch: Watch the job from its first event on, for callers that read all events themselves.

        Raises:
            ProtocolError: The server refuses; code and sentences say why.
            ClientError: "no_answer".
        """
        identity = self._conversation.submit(request, images, watch=watch)
        return self._answered(identity, messages.Accepted, wait=600.0 if images else ANSWER_SECONDS).job

    def cut_out(self, data: bytes, threshold: float = 0.5) -> messages.Cutout:
        """A picture with the opacity of its subject, as the server finds it.

        Args:
            data: A PNG or JPEG file; uploaded first.
            threshold: Higher cuts away more, 0.01 to 0.99.

        Raises:
            ProtocolError: "bad_image", "busy" or "cut_out_failed".
            ClientError: "no_answer".
        """
        identity = self._conversation.cut_out(Upload(data), threshold)
        return self._answered(identity, messages.Cutout, wait=600.0).answer

    def follow(
        self, job: str, after: int = 0, previews: bool = False, idle: Callable[[], None] | None = None
    ) -> Iterator[events.Event]:
        """What happens to a job, until it ends; reconnects are in between as `ServerGone` and `ServerReady`.

        Args:
            job: Its id.
            after: Number of the last event that is known already.
            previews: Also `PreviewWaiting`; fetch them with `preview`.
            idle: Called several times a second between events; may use this client.

        Raises:
            ProtocolError: "unknown_job".
        """
        self._backlog = [event for event in self._backlog if getattr(event, "job", None) != job]
        identity = self._conversation.watch(job, after, previews)
        while True:
            for event in self._take(lambda event: _concerns(event, job, identity)):
                if isinstance(event, events.Refused):
                    raise event.error
                if not isinstance(event, events.Answered):
                    yield event
                ended = event.state.state.is_terminal if isinstance(event, events.JobChanged) else False
                if ended or (isinstance(event, events.Answered) and self._knew_the_end(event.answer, after)):
                    self._conversation.unwatch(job)
                    self._send()
                    return
            self._pump(POLL_SECONDS)
            if idle is not None:
                idle()

    def preview(self, job: str, kind: str) -> messages.Mesh | messages.Views | None:
        """The newest preview ("mesh" or "views") of a followed job."""
        return self._conversation.take_preview(job, kind)

    def wait(self, job: str, limit: float = 3600.0) -> messages.State:
        """Wait until a job ends; its last state.

        Raises:
            ProtocolError: "unknown_job".
            ClientError: "no_answer" after `limit` seconds.
        """
        until = time.monotonic() + limit
        for event in self._follow_until(job, until):
            if isinstance(event, events.JobChanged) and event.state.state.is_terminal:
                return event.state
        raise ClientError("no_answer", f"Job {job} did not end within {limit:g} s.", "Wait longer.")

    def cancel(self, job: str) -> JobState:
        """End a job; its state now."""
        return self._steer(self._conversation.cancel(job))

    def finish(self, job: str) -> JobState:
        """ "Use Now"; its state now."""
        return self._steer(self._conversation.finish(job))

    def pause(self, job: str) -> JobState:
        """Pause a job; its state now."""
        return self._steer(self._conversation.pause(job))

    def resume(self, job: str) -> JobState:
        """Resume a paused job; its state now."""
        return self._steer(self._conversation.resume(job))

    def remove(self, job: str) -> JobState:
        """Forget an ended job and its files."""
        return self._steer(self._conversation.remove(job))

    def move(self, job: str, before: str = "") -> JobState:
        """Put a queued job before another, or at the end."""
        return self._steer(self._conversation.move(job, before))

    def jobs(self, most: int = 50) -> list[JobSummary]:
        """The newest jobs, newest first."""
        found: list[JobSummary] = []
        while len(found) < most:
            after = found[-1].job if found else ""
            identity = self._conversation.list_jobs(min(most - len(found), 50), after, thumbnails=False)
            page = self._answered(identity, messages.Jobs).answer
            found += page.jobs
            if not page.more:
                break
        return found

    def job(self, job: str) -> JobSummary:
        """One job. Raises ProtocolError "unknown_job"."""
        for summary in self.jobs(10_000):
            if summary.job == job:
                return summary
        raise ProtocolError("unknown_job", f"There is no job {job}.", "It may have been removed.")

    def refresh(self) -> messages.Welcome:
        """Ask for devices and measured times again."""
        self._conversation.refresh()
        self._until(lambda event: isinstance(event, events.ServerReady), ANSWER_SECONDS, "the server's answer")
        return self.welcome

    # -- files ----------------------------------------------------------------------------------------------

    def download(self, artifact: Artifact, path: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Fetch an artifact; an interrupted download goes on where it stopped. The file appears whole or not at all.

        Args:
            artifact: From a finished job.
            path: Where to put it.
            on_progress: Called with bytes there and bytes in all.

        Raises:
            ProtocolError: "unknown_blob", "bad_hash" or "storage_full".
        """
        partial = path.with_name(f".{path.name}.{artifact.sha256[:12]}.part")
        have, digest = _hashed(partial, artifact.size)
        with open(partial, "ab") as file:
            file.truncate(have)
            identity = self._conversation.download(artifact, file.write, have, digest)
            while True:
                for event in self._take(lambda event: getattr(event, "id", None) == identity):
                    if isinstance(event, events.DownloadFailed):
                        if event.error.code == "bad_hash":
                            file.truncate(0)
                        raise event.error
                    if isinstance(event, events.DownloadProgressed) and on_progress is not None:
                        on_progress(event.have, artifact.size)
                    if isinstance(event, events.Downloaded):
                        file.close()
                        partial.replace(path)
                        return
                self._pump(POLL_SECONDS)

    # -- the socket ---------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._close_socket(0)
        self._socket, self._monitor = open_monitored(self._context, self._endpoint)
        self._handshake = Handshake()
        self._looked = time.monotonic()
        self._conversation.open(time.monotonic())

    def _close_socket(self, linger: int | None = None) -> None:
        if self._socket is not None:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._socket.close(linger)
            self._socket = None

    def _pump(self, wait: float) -> None:
        """Send, receive and keep alive once, waiting at most `wait` seconds for something to happen.

        Raises ClientError where the server does not let this key in.
        """
        self._send()
        wanted = zmq.POLLIN | (zmq.POLLOUT if self._conversation.outbox else 0)  # connected: what waits can go
        if self._socket.poll(1000 * wait, wanted) & zmq.POLLIN:
            for _ in range(100):
                try:
                    frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    break
                self._backlog += self._conversation.receive([frame.buffer for frame in frames], time.monotonic())
        now = time.monotonic()
        happened = self._conversation.tick(now)
        self._backlog += happened
        if any(isinstance(event, events.ServerGone) for event in happened):
            self._open()  # a new handshake tells whether it is away or no longer lets this key in
        while self._monitor.get(zmq.EVENTS) & zmq.POLLIN:
            self._handshake.take(self._monitor.recv_multipart(zmq.NOBLOCK))
        if not self._conversation.ready and (self._handshake.is_hopeless or now - self._looked > limits.PING_SECONDS):
            moved = self._look_again(now)
            if self._handshake.is_hopeless and not moved:
                refused = self._handshake.reason is Reason.REFUSED
                raise ClientError(
                    "key_refused" if refused else "wrong_server", *sentences(self._handshake.reason, self._endpoint)
                )
        self._send()

    def _look_again(self, now: float) -> bool:
        """The server may have come back on another port or with another key: read the connection file again.

        Returns:
            Whether it is to be reached elsewhere or otherwise, and the socket is a new one.
        """
        self._looked = now
        try:
            endpoint = self._find()
        except ClientError:
            return False  # not back yet
        if endpoint == self._endpoint:
            return False
        self._endpoint = endpoint
        self._open()
        return True

    def _send(self) -> None:
        outbox = self._conversation.outbox
        while outbox:
            try:
                self._socket.send_multipart(outbox[0], zmq.NOBLOCK)
            except zmq.Again:
                return
            outbox.popleft()

    # -- waiting ----------------------------------------------------------------------------------------------------

    def _take(self, wanted: Callable[[events.Event], bool]) -> Iterator[events.Event]:
        """Events of the backlog that `wanted` says, removed from it."""
        while True:
            position = next((k for k, event in enumerate(self._backlog) if wanted(event)), None)
            if position is None:
                return
            yield self._backlog.pop(position)

    def _until(self, wanted: Callable[[events.Event], bool], wait: float, what: str) -> events.Event:
        until = time.monotonic() + wait
        while True:
            for event in self._take(lambda event: wanted(event) or isinstance(event, events.ServerIncompatible)):
                if isinstance(event, events.ServerIncompatible):
                    raise ClientError("incompatible", event.error.what, event.error.remedy)
                return event
            if time.monotonic() > until:
                why, remedy = sentences(self._handshake.reason, self._endpoint)
                raise ClientError("no_answer", f"Waited {wait:g} s for {what}. {why}", remedy)
            self._pump(min(POLL_SECONDS, max(until - time.monotonic(), 0.0)))

    def _answered(self, identity: int, kind: type[M], wait: float = ANSWER_SECONDS) -> events.Answered:
        event = self._until(
            lambda event: isinstance(event, events.Answered | events.Refused) and event.id == identity,
            wait,
            f"an answer ({kind.TYPE})",
        )
        if isinstance(event, events.Refused):
            raise event.error
        return event

    def _steer(self, identity: int) -> JobState:
        return JobState(self._answered(identity, messages.Done).answer.state)

    def _follow_until(self, job: str, until: float) -> Iterator[events.Event]:
        for event in self.follow(job):
            yield event
            if time.monotonic() > until:
                return

    def _knew_the_end(self, answer: messages.Message, after: int) -> bool:
        """True where the job has ended and the caller had heard of it already: nothing more will come."""
        return isinstance(answer, messages.Subscribed) and answer.state.is_terminal and answer.last_sequence <= after


def open_socket(context: zmq.Context, endpoint: Endpoint) -> zmq.Socket:
    """A DEALER set up as docs/protocol.md section 2 asks, connecting in the background.

    Args:
        context: The socket's context.
        endpoint: Where, and with which keys.
    """
    socket = _prepared_socket(context, endpoint)
    socket.connect(endpoint.address)
    return socket


def open_monitored(context: zmq.Context, endpoint: Endpoint) -> tuple[zmq.Socket, zmq.Socket]:
    """The same with its monitor socket, whose messages are for `Handshake.take`.

    To close both: `disable_monitor()` of the first, close the second, close the first.

    Args:
        context: The sockets' context.
        endpoint: Where, and with which keys.
    """
    socket = _prepared_socket(context, endpoint)
    monitor = socket.get_monitor_socket(EVENTS)
    socket.connect(endpoint.address)
    return socket, monitor


def _prepared_socket(context: zmq.Context, endpoint: Endpoint) -> zmq.Socket:
    socket = context.socket(zmq.DEALER)
    socket.linger = 500
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.MAX_BUFFER_BYTES)
    socket.setsockopt(zmq.RCVHWM, 64)
    socket.setsockopt(zmq.IPV6, ":" in endpoint.host)
    if endpoint.is_encrypted:
        socket.curve_serverkey = endpoint.server_key.encode()
        socket.curve_publickey = endpoint.client_public.encode()
        socket.curve_secretkey = endpoint.client_secret.encode()
    return socket


def _concerns(event: events.Event, job: str, identity: int) -> bool:
    if isinstance(event, events.ServerGone | events.ServerReady):
        return True
    if isinstance(event, events.Answered | events.Refused):
        return event.id == identity
    return getattr(event, "job", None) == job


def _hashed(path: Path, most: int) -> tuple[int, object]:
    """Bytes of an earlier try, and their digest so far."""
    digest = hashlib.sha256()
    have = 0
    if path.exists() and path.stat().st_size < most:
        with open(path, "rb") as file:
            while piece := file.read(limits.MIB):
                digest.update(piece)
                have += len(piece)
    return have, digest
