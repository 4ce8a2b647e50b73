"""Who is connected and what each one is still to be told: answers, kept events in order, the latest previews.

Knows the store's events and a function that sends. Knows no commands. A client that reads slowly holds up nobody: what
does not fit into its pipe is tried again later, and previews it was too slow for are skipped.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dreamlift.protocol import codec, limits, messages
from dreamlift.service.store import Store

MAX_UNSENT = 64  # answers a client may leave unread before it is dropped
_log = logging.getLogger(__name__)

Preview = messages.Mesh | messages.Views


class PeerGone(Exception):
    """The connection of a session is no longer there."""


# Gives frames to one peer: True where they were taken, False where its pipe is full. Raises PeerGone.
Send = Callable[[bytes, list[codec.Buffer]], bool]


@dataclass
class Latest:
    """The newest of everything that is not kept, for one job. `serial` counts its previews."""

    progress: messages.Progress | None = None
    progress_serial: int = 0
    previews: dict[str, Preview] = field(default_factory=dict)  # by kind
    serial: int = 0


@dataclass
class _Subscription:
    sequence: int
    previews: bool
    progress_serial: int = 0
    sent: dict[str, int] = field(default_factory=dict)  # kind to the serial of the last preview sent
    unseen: dict[str, int] = field(default_factory=dict)  # kind to the serial that is on its way


@dataclass
class Session:
    """One connected client.

    Args:
        peer: Its routing id.
        name: Its key's name, for the log.
        heard: When it last said something, monotonic seconds.
    """

    peer: bytes
    name: str
    heard: float
    subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    unsent: deque[list[codec.Buffer]] = field(default_factory=deque)


class Sessions:
    """Every connected client.

    Args:
        store: Where kept events are read.
        send: Gives frames to a peer without waiting.
    """

    def __init__(self, store: Store, send: Send):
        self._store = store
        self._send = send
        self._sessions: dict[bytes, Session] = {}
        self._latest: dict[str, Latest] = {}
        self._dirty: set[str] = set()  # jobs with news since the last `deliver`
        self._blocked: set[bytes] = set()  # peers whose pipe was full

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, peer: bytes) -> Session | None:
        """The session of a peer, if it said hello."""
        return self._sessions.get(peer)

    def open(self, peer: bytes, name: str, now: float) -> Session:
        """A peer said hello. A repeated hello keeps its subscriptions."""
        session = self._sessions.get(peer)
        if session is None:
            session = self._sessions[peer] = Session(peer, name, now)
            _log.info("%s connected", name)
        return session

    def drop(self, peer: bytes) -> None:
        """Forget a peer."""
        session = self._sessions.pop(peer, None)
        self._blocked.discard(peer)
        if session is not None:
            _log.info("%s disconnected", session.name)

    def drop_silent(self, now: float) -> None:
        """Forget everybody who has not said anything for `limits.CLIENT_SILENCE_SECONDS`."""
        for session in list(self._sessions.values()):
            if now - session.heard > limits.CLIENT_SILENCE_SECONDS:
                self.drop(session.peer)

    # -- subscriptions ---------------------------------------------------------------------------------

    def subscribe(self, session: Session, job: str, after: int, previews: bool) -> None:
        """Tell a client what happened to a job after event `after`, and what happens from now on."""
        session.subscriptions[job] = _Subscription(after, previews)
        self._dirty.add(job)

    def unsubscribe(self, session: Session, job: str) -> None:
        """Stop telling."""
        session.subscriptions.pop(job, None)

    def seen(self, session: Session, job: str, kind: str, serial: int) -> None:
        """A client took a preview: the next may go."""
        subscription = session.subscriptions.get(job)
        if subscription is not None and subscription.unseen.get(kind) == serial:
            del subscription.unseen[kind]
            self._dirty.add(job)

    # -- news --------------------------------------------------------------------------------------------

    def mark(self, job: str) -> None:
        """The store has new events of this job."""
        self._dirty.add(job)

    def progress(self, job: str, progress: messages.Progress) -> None:
        """A newer progress."""
        latest = self._latest.setdefault(job, Latest())
        latest.progress = progress
        latest.progress_serial += 1
        self._dirty.add(job)

    def preview(self, job: str, preview: Preview) -> None:
        """A newer preview; the one of its kind before it is forgotten."""
        latest = self._latest.setdefault(job, Latest())
        latest.serial += 1
        latest.previews[preview.TYPE] = replace(preview, serial=latest.serial)
        self._dirty.add(job)

    def forget(self, job: str) -> None:
        """No worker holds the job now: its previews and progress are no longer true."""
        if job in self._latest:
            self._latest[job].progress = None
            self._latest[job].previews.clear()
        # The serials of watched jobs are kept: a later attempt goes on counting.
        watched = {watched for session in self._sessions.values() for watched in session.subscriptions}
        for known, latest in list(self._latest.items()):
            if latest.progress is None and not latest.previews and known not in watched:
                del self._latest[known]

    def last_words(self, job: str, sequence: int, event: messages.State) -> None:
        """A job was removed: tell those who watch, who then have nothing more to hear."""
        for session in list(self._sessions.values()):
            if session.subscriptions.pop(job, None) is not None:
                self.answer(session, event, 0, job, sequence)
        self.forget(job)

    # -- sending ----------------------------------------------------------------------------------------------

    def answer(
        self, session: Session, message: messages.Message, id: int = 0, job: str = "", sequence: int = 0
    ) -> None:
        """Send now, or later where the client's pipe is full. A client that reads nothing at all is dropped."""
        session.unsent.append(codec.encode(message, id=id, job=job, sequence=sequence))
        if len(session.unsent) > MAX_UNSENT:
            _log.warning("%s does not read its answers", session.name)
            self.drop(session.peer)
        else:
            self._guarded(session, self._flush)

    def deliver(self) -> None:
        """Send whatever is new to whoever wants it and can take it now."""
        dirty, self._dirty = self._dirty, set()
        blocked, self._blocked = self._blocked, set()
        for session in list(self._sessions.values()):
            jobs = session.subscriptions if session.peer in blocked else dirty & session.subscriptions.keys()
            if jobs or session.unsent:
                self._guarded(
                    session, lambda s, jobs=tuple(jobs): self._flush(s) and all(self._tell(s, j) for j in jobs)
                )

    def _guarded(self, session: Session, act: Callable[[Session], bool]) -> None:
        try:
            if not act(session):
                self._blocked.add(session.peer)
        except PeerGone:
            self.drop(session.peer)

    def _flush(self, session: Session) -> bool:
        while session.unsent:
            if not self._send(session.peer, session.unsent[0]):
                return False
            session.unsent.popleft()
        return True

    def _tell(self, session: Session, job: str) -> bool:
        subscription = session.subscriptions[job]
        while events := self._store.events_after(job, subscription.sequence):
            for sequence, event in events:
                if not self._send(session.peer, codec.encode(event, job=job, sequence=sequence)):
                    return False
                subscription.sequence = sequence
        latest = self._latest.get(job)
        if latest is None:
            return True
        if latest.progress is not None and subscription.progress_serial < latest.progress_serial:
            if not self._send(session.peer, codec.encode(latest.progress, job=job)):
                return False
            subscription.progress_serial = latest.progress_serial
        return not subscription.previews or self._tell_previews(session.peer, job, subscription, latest)

    def _tell_previews(self, peer: bytes, job: str, subscription: _Subscription, latest: Latest) -> bool:
        for kind, preview in latest.previews.items():
            if kind in subscription.unseen or subscription.sent.get(kind, 0) >= preview.serial:
                continue
            if not self._send(peer, codec.encode(preview, job=job)):
                return False
            subscription.sent[kind] = subscription.unseen[kind] = preview.serial
        return True
