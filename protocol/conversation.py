"""A client's side of the conversation, without sockets: frames in, events out, frames to send in `outbox`.

Knows hello, commands and their answers, watched jobs with replay, uploads, downloads, previews (latest wins),
heartbeats and reconnects. Knows no sockets, no clock (the caller passes `now`, seconds of any monotonic clock) and no
bpy: the add-on's timer and the command line's loop both drive it like this:

    conversation.open(now)
    while True:
        for frames in whatever_the_socket_has():
            handle(conversation.receive(frames, now))
        handle(conversation.tick(now))
        while conversation.outbox and try_send(conversation.outbox[0]):
            conversation.outbox.popleft()

Every command may be sent twice without harm; that is how it survives a lost connection.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import events, limits, messages
from .codec import Buffer, Envelope, decode, encode
from .errors import ProtocolError
from .states import JobState
from .transfers import Download, Upload

RESEND_SECONDS = 10.0  # an unanswered command is sent again after this long


@dataclass
class _Pending:
    message: messages.Message
    job: str
    sent: float
    owned: bool  # True where the owner of the conversation asked for it and wants the answer


@dataclass
class _Watch:
    sequence: int
    previews: bool


class Conversation:
    """One client talking to one service.

    Args:
        client: Who is talking, such as "blender 5.2".
        client_version: Of the program.
    """

    def __init__(self, client: str, client_version: str = ""):
        self.outbox: deque[list[Buffer]] = deque()
        self.welcome: messages.Welcome | None = None  # of the present or last connection
        self.ready = False  # True while the server answers
        self._client, self._client_version = client, client_version
        self._now = self._heard = self._sent = 0.0
        self._is_open = False
        self._next_id = 1
        self._hello_id = 0
        self._pending: dict[int, _Pending] = {}
        self._watches: dict[str, _Watch] = {}
        self._previews: dict[tuple[str, str], messages.Mesh | messages.Views] = {}
        self._uploads: dict[str, Upload] = {}
        self._waiting: dict[int, tuple[messages.Message, set[str]]] = {}  # commands whose pictures are on their way
        self._downloads: dict[int, Download] = {}
        self._watch_on_accept: dict[int, bool] = {}

    # -- the connection ----------------------------------------------------------------------------

    def open(self, now: float) -> None:
        """A socket was opened (or opened again): say hello. Commands given before are kept."""
        self._now = self._heard = now
        self._is_open = True
        self.ready = False
        self._say_hello()

    def close(self) -> None:
        """Say goodbye: one last message lies in `outbox`; nothing else is sent after it."""
        self.outbox.clear()
        if self._is_open:
            self._send(messages.Bye())
        self._is_open = self.ready = False

    def receive(self, frames: list[Buffer], now: float) -> list[events.Event]:
        """Take one message in. Never raises for what the server sent."""
        self._now = self._heard = now
        try:
            envelope = decode(frames, messages.FROM_SERVER)
        except ProtocolError as error:
            return [events.Unreadable(error)]
        message = envelope.message
        if isinstance(message, messages.Ping):
            self._send(messages.Pong(), id=envelope.id)
            return []
        if isinstance(message, messages.ANSWERS):
            return self._take_answer(envelope)
        return self._take_event(envelope)

    def tick(self, now: float) -> list[events.Event]:
        """Keep the connection alive; call it a few times a second."""
        self._now = now
        if not self._is_open:
            return []
        if not self.ready:
            if not self.outbox and now - self._sent >= limits.PING_SECONDS:
                self._say_hello()
            return []
        silence = now - self._heard
        if silence > limits.SERVER_SILENCE_SECONDS:
            self.ready = False
            self._say_hello()
            return [events.ServerGone(silence)]
        for identity, pending in self._pending.items():
            if now - pending.sent > RESEND_SECONDS:
                self._transmit(identity, pending)
        if now - self._sent >= limits.PING_SECONDS:
            self._send(messages.Ping(), id=self._new_id())
        return []

    # -- commands; each returns the id that `Answered` or `Refused` will carry ---------------------

    def command(self, message: messages.Message, job: str = "") -> int:
        """Send any command of `messages.COMMANDS`."""
        return self._ask(message, job, owned=True)

    def submit(
        self, request: messages.JobRequest, images: Mapping[str, bytes | Upload] | None = None, *, watch: bool = True
    ) -> int:
        """Ask for a job; its pictures are uploaded first. Answered with `Accepted`.

        Args:
            request: What to make; its `images` may already name blobs that the server has.
            images: Encoded picture files by role, added to the request's.
            watch: Watch the job, with previews, as soon as it is accepted.

        Raises:
            ProtocolError: The request or a picture could never be accepted.
        """
        uploads = {role: data if isinstance(data, Upload) else Upload(data) for role, data in (images or {}).items()}
        named = {role: upload.sha256 for role, upload in uploads.items()}
        request = replace(request, images={**request.images, **named})
        message = messages.Submit(token=secrets.token_hex(16), request=request)
        encode(message)  # refuses a bad request here and now
        identity = self._new_id()
        self._watch_on_accept[identity] = watch
        self._ask_with(message, uploads.values(), identity)
        return identity

    def cut_out(self, picture: Upload, threshold: float = 0.5) -> int:
        """Have a picture's subject told from its background; it is uploaded first. Answered with `Cutout`."""
        identity = self._new_id()
        self._ask_with(messages.CutOut(sha256=picture.sha256, threshold=threshold), [picture], identity)
        return identity

    def cancel(self, job: str) -> int:
        """End a job and drop what it made. Answered with `Done`."""
        return self.command(messages.Cancel(), job)

    def finish(self, job: str) -> int:
        """ "Use Now": turn what there is into an asset. Answered with `Done`."""
        return self.command(messages.Finish(), job)

    def pause(self, job: str) -> int:
        """Save a checkpoint and give the device away. Answered with `Done`."""
        return self.command(messages.Pause(), job)

    def resume(self, job: str) -> int:
        """Put a paused job back into the queue. Answered with `Done`."""
        return self.command(messages.Resume(), job)

    def remove(self, job: str) -> int:
        """Forget an ended job and its files. Answered with `Done`."""
        return self.command(messages.Remove(), job)

    def move(self, job: str, before: str = "") -> int:
        """Put a queued job before another, or at the end. Answered with `Done`."""
        return self.command(messages.Move(before=before), job)

    def list_jobs(self, limit: int = 20, after: str = "", thumbnails: bool = True) -> int:
        """Ask for one page of jobs, newest first. Answered with `Jobs`."""
        return self.command(messages.ListJobs(limit=limit, after=after, thumbnails=thumbnails))

    def refresh(self) -> int:
        """Ask for the server's devices and measured times again. Gives `ServerReady`, not `Answered`."""
        return self._say_hello()

    def watch(self, job: str, after: int = 0, previews: bool = True) -> int:
        """Follow a job from event `after` on, over every reconnect. Answered with `Subscribed`."""
        self._watches[job] = _Watch(after, previews)
        return self._ask(self._subscription(job), job, owned=True)

    def unwatch(self, job: str) -> None:
        """Stop following a job."""
        if self._watches.pop(job, None) is not None:
            self._ask(messages.Unsubscribe(), job, owned=False)
        self._drop_previews(job)

    def last_sequence(self, job: str) -> int:
        """Number of the newest event received of a watched job: keep it to go on after a restart of this program."""
        return self._watches[job].sequence if job in self._watches else 0

    def take_preview(self, job: str, kind: str) -> messages.Mesh | messages.Views | None:
        """The newest preview of a kind ("mesh" or "views"), None without one; the server then sends the next."""
        preview = self._previews.pop((job, kind), None)
        if preview is not None and self.ready:
            self._send(messages.Seen(kind=kind, serial=preview.serial), job=job)
        return preview

    def download(
        self, artifact: messages.Artifact, write: Callable[[memoryview], Any], have: int = 0, digest: Any = None
    ) -> int:
        """Fetch an artifact piece by piece; see `transfers.Download`. Gives `Downloaded` or `DownloadFailed`."""
        download = Download(artifact, write, have, digest)
        identity = self._new_id()
        self._downloads[identity] = download
        self._ask(download.query(), "", owned=False, identity=identity)
        return identity

    # -- sending -----------------------------------------------------------------------------------

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _say_hello(self) -> int:
        self._hello_id = self._new_id()
        if not self.ready:
            self.outbox.clear()  # whatever was meant for the old connection is in `_pending`
        hello = messages.Hello(
            client=self._client, client_version=self._client_version, versions=limits.SUPPORTED_VERSIONS
        )
        self._send(hello, id=self._hello_id)
        return self._hello_id

    def _send(self, message: messages.Message, id: int = 0, job: str = "") -> None:
        self.outbox.append(encode(message, id=id, job=job))
        self._sent = self._now

    def _ask(self, message: messages.Message, job: str, owned: bool, identity: int = 0) -> int:
        identity = identity or self._new_id()
        pending = _Pending(message, job, self._now, owned)
        encode(message, id=identity, job=job)  # a command that could never be read is refused here, with its reason
        self._pending[identity] = pending
        if self.ready:
            self._transmit(identity, pending)
        return identity

    def _ask_with(self, message: messages.Message, uploads: Iterable[Upload], identity: int) -> None:
        """Ask once the server has these pictures."""
        missing = set()
        for upload in uploads:
            missing.add(upload.sha256)
            if upload.sha256 not in self._uploads:
                self._uploads[upload.sha256] = upload
                self._ask(upload.query(), "", owned=False)
        if missing:
            self._waiting[identity] = (message, missing)
        else:
            self._ask(message, "", owned=True, identity=identity)

    def _transmit(self, identity: int, pending: _Pending) -> None:
        pending.sent = self._now
        if isinstance(pending.message, messages.Subscribe) and pending.job in self._watches:
            pending.message = self._subscription(pending.job)  # more may have arrived since it was asked first
        self._send(pending.message, id=identity, job=pending.job)

    def _subscribe(self, job: str) -> None:
        asked = any(p.job == job and isinstance(p.message, messages.Subscribe) for p in self._pending.values())
        if not asked:
            self._ask(self._subscription(job), job, owned=False)

    def _subscription(self, job: str) -> messages.Subscribe:
        watch = self._watches[job]
        return messages.Subscribe(after=watch.sequence, previews=watch.previews)

    # -- answers -----------------------------------------------------------------------------------

    def _take_answer(self, envelope: Envelope) -> list[events.Event]:
        answer = envelope.message
        if isinstance(answer, messages.Welcome):
            return self._take_welcome(answer) if envelope.id == self._hello_id else []
        if isinstance(answer, messages.Error):
            return self._take_error(envelope)
        pending = self._pending.pop(envelope.id, None)
        if pending is None:
            return []  # a pong, or the second answer to a command that was sent twice
        if isinstance(answer, messages.Chunk):
            return self._take_chunk(envelope.id, answer)
        if isinstance(answer, messages.BlobState):
            return self._take_blob_state(answer)
        if isinstance(answer, messages.Accepted) and self._watch_on_accept.pop(envelope.id, False):
            self._watches.setdefault(envelope.job, _Watch(0, True))
            self._subscribe(envelope.job)
        if not pending.owned:
            return []
        return [events.Answered(envelope.id, pending.message, envelope.job or pending.job, answer)]

    def _take_welcome(self, welcome: messages.Welcome) -> list[events.Event]:
        restarted = self.welcome is not None and self.welcome.server_run != welcome.server_run
        was_ready, self.ready = self.ready, True
        self.welcome = welcome
        if not was_ready:
            for identity, pending in list(self._pending.items()):
                self._transmit(identity, pending)
            for job in self._watches:
                self._subscribe(job)
        return [events.ServerReady(welcome, restarted)]

    def _take_error(self, envelope: Envelope) -> list[events.Event]:
        message = envelope.message
        error = ProtocolError(message.code, message.what, message.remedy, message.suggestion)
        error.id, error.job = envelope.id, envelope.job
        if message.code == "no_session":
            if self.ready or self._now - self._sent > 0.5:  # one hello for a burst of these
                self.ready = False
                self._say_hello()
            return []
        if envelope.id == self._hello_id and message.code == "version_unsupported":
            self._is_open = self.ready = False
            return [events.ServerIncompatible(error)]
        pending = self._pending.pop(envelope.id, None)
        if pending is None:
            return [events.Unreadable(error)] if envelope.id in (0, self._hello_id) else []
        if isinstance(pending.message, messages.BlobQuery | messages.BlobChunk):
            return self._take_upload_error(pending.message, error)
        if envelope.id in self._downloads:
            download = self._downloads.pop(envelope.id)
            return [events.DownloadFailed(envelope.id, download.artifact, error)]
        if isinstance(pending.message, messages.Subscribe):
            self._watches.pop(pending.job, None)
        self._watch_on_accept.pop(envelope.id, None)
        silent = isinstance(pending.message, messages.Unsubscribe)
        return [] if silent else [events.Refused(envelope.id, pending.message, pending.job, error)]

    # -- transfers ---------------------------------------------------------------------------------

    def _take_blob_state(self, state: messages.BlobState) -> list[events.Event]:
        upload = self._uploads.get(state.sha256)
        if upload is None:
            return []
        size = len(upload.data)
        if not state.complete:
            if state.have < size:
                self._ask(upload.piece(state.have, self._chunk_bytes()), "", owned=False)
            return [events.UploadProgressed(state.sha256, state.have, size)]
        del self._uploads[state.sha256]
        for identity, (message, missing) in list(self._waiting.items()):
            missing.discard(state.sha256)
            if not missing:
                del self._waiting[identity]
                self._ask(message, "", owned=True, identity=identity)
        return [events.UploadProgressed(state.sha256, size, size)]

    def _take_upload_error(
        self, command: messages.BlobQuery | messages.BlobChunk, error: ProtocolError
    ) -> list[events.Event]:
        upload = self._uploads.get(command.sha256)
        if upload is None:
            return []
        if error.code == "wrong_offset":
            self._ask(upload.query(), "", owned=False)
            return []
        del self._uploads[command.sha256]
        refused: list[events.Event] = []
        for identity, (message, missing) in list(self._waiting.items()):
            if command.sha256 in missing:
                del self._waiting[identity]
                self._watch_on_accept.pop(identity, None)
                refused.append(events.Refused(identity, message, "", error))
        return refused

    def _take_chunk(self, identity: int, chunk: messages.Chunk) -> list[events.Event]:
        download = self._downloads.get(identity)
        if download is None:
            return []
        try:
            download.add(chunk)
            if download.is_complete:
                download.check()
        except (ProtocolError, OSError) as problem:
            del self._downloads[identity]
            if isinstance(problem, OSError):
                problem = ProtocolError("storage_full", f"{download.artifact.name} could not be written: {problem}.")
            return [events.DownloadFailed(identity, download.artifact, problem)]
        progressed = events.DownloadProgressed(identity, download.artifact, download.have)
        if not download.is_complete:
            self._ask(download.query(self._chunk_bytes()), "", owned=False, identity=identity)
            return [progressed]
        del self._downloads[identity]
        return [progressed, events.Downloaded(identity, download.artifact)]

    def _chunk_bytes(self) -> int:
        return self.welcome.limits.chunk_bytes if self.welcome else limits.CHUNK_BYTES

    # -- events ------------------------------------------------------------------------------------

    def _take_event(self, envelope: Envelope) -> list[events.Event]:
        job, message = envelope.job, envelope.message
        watch = self._watches.get(job)
        if watch is None:
            return []
        if isinstance(message, messages.Progress):
            return [events.JobProgressed(job, message)]
        if isinstance(message, messages.Mesh | messages.Views):
            self._previews[job, message.TYPE] = message
            return [events.PreviewWaiting(job, message.TYPE)]
        if envelope.sequence <= watch.sequence:
            return []  # a replay of something already told
        if envelope.sequence > watch.sequence + 1:
            self._subscribe(job)  # one got lost: ask for the rest in order
            return []
        watch.sequence = envelope.sequence
        if isinstance(message, messages.Warning):
            return [events.JobWarned(job, envelope.sequence, message)]
        if message.state is JobState.REMOVED:
            del self._watches[job]
            self._drop_previews(job)
        return [events.JobChanged(job, envelope.sequence, message)]

    def _drop_previews(self, job: str) -> None:
        for key in [key for key in self._previews if key[0] == job]:
            del self._previews[key]
