# SPDX-License-Identifier: GPL-3.0-or-later
"""One socket under one conversation: drained without waiting, opened again when the server moves.

Knows pyzmq. There are no Python threads: libzmq moves bytes in its own, this side asks with NOBLOCK. Receiving takes
frames as they lie in libzmq's memory; sending copies, because pyzmq starts a Python thread for sends without a copy.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable

import zmq

from ..protocol import events, limits
from ..protocol.conversation import Conversation
from ..protocol.handshake import EVENTS, Handshake, sentences
from ..protocol.pairing import Endpoint, PairingError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # how often the address is looked up again while nobody answers
LINGER_MS = 200  # for the goodbye


class Link(enum.Enum):
    """How it stands with the server."""

    NO_SERVER = "no server"  # nothing says where one is
    CONNECTING = "connecting"
    ONLINE = "online"
    LOST = "lost"  # was online; trying again
    INCOMPATIBLE = "incompatible"  # speaks another version; stays so until `retry`
    BAD_ADDRESS = "bad address"  # the pairing string cannot be used
    REFUSED = "refused"  # somebody is there and these keys do not fit; stays so until `retry` or another address


_SETTLED = (Link.INCOMPATIBLE, Link.REFUSED)  # asking the same address again would give the same answer


class Connection:
    """Talks to the server that `find` names, for as long as it lives.

    Args:
        find: Says where the server is at present, or None; may raise PairingError.
        conversation: What is said.
        context: Of pyzmq; belongs to the caller.
    """

    def __init__(self, find: Callable[[], Endpoint | None], conversation: Conversation, context: zmq.Context):
        self.conversation = conversation
        self.link = Link.NO_SERVER
        self.error = ""  # what is wrong and what to do, for BAD_ADDRESS, INCOMPATIBLE and REFUSED
        self.opened = 0.0  # when the socket was opened, the caller's clock
        self._find = find
        self._context = context
        self._socket: zmq.Socket | None = None
        self._monitor: zmq.Socket | None = None  # libzmq tells there how the handshake goes
        self._handshake = Handshake()
        self._endpoint: Endpoint | None = None
        self._looked = float("-inf")

    def tick(self, now: float, budget: float = 0.008) -> list[events.Event]:
        """Take in what has arrived, say what is to be said. Returns at once.

        Args:
            now: Monotonic seconds.
            budget: Seconds after which the rest waits for the next tick.

        Returns:
            What happened, in order.
        """
        if not self.conversation.ready and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look(now)
        if self._socket is None:
            return []
        happened = self._drain(now, time.perf_counter() + budget)
        happened += self.conversation.tick(now)
        self._flush()
        for event in happened:
            self._note(event)
        if any(isinstance(event, events.ServerGone) for event in happened):
            # A new handshake tells whether the server is away or no longer lets this key in.
            self._open(self._endpoint, now)
        self._look_at_handshake()
        return happened

    def why_not(self) -> str:
        """What is wrong and what to do, while there is an address and no connection; else ""."""
        if self._endpoint is None or self.conversation.ready:
            return ""
        return " ".join(sentences(self._handshake.reason, self._endpoint))

    def wait(self, seconds: float) -> None:
        """Sleep until something arrives, at most this long: for a measured round trip, never for the artist's work."""
        if self._socket is not None:
            self._flush()
            self._socket.poll(seconds * 1000)

    def retry(self) -> None:
        """Somebody pressed Try Again: look for the server now, with a new socket."""
        self._close_socket()
        self._endpoint = None
        self._looked = float("-inf")
        self.link, self.error = Link.CONNECTING, ""

    def close(self) -> None:
        """Say goodbye and give the socket back."""
        if self._socket is not None and self.conversation.ready:
            self.conversation.close()
            self._flush()
        self._close_socket()
        self._endpoint, self.link = None, Link.NO_SERVER

    def _look(self, now: float) -> None:
        try:
            endpoint = self._find()
        except PairingError as error:
            self._close_socket()
            self.link, self.error = Link.BAD_ADDRESS, str(error)
            return
        if endpoint is None:
            if self.link is not Link.LOST:
                self.link = Link.NO_SERVER
            return
        if self.link in _SETTLED and endpoint == self._endpoint:
            return
        if endpoint != self._endpoint or self._socket is None:
            self._open(endpoint, now)

    def _open(self, endpoint: Endpoint, now: float) -> None:
        self._close_socket()
        socket = self._context.socket(zmq.DEALER)
        socket.linger = LINGER_MS
        socket.immediate = True  # do not queue for a server that is not there: what is sent has arrived
        socket.rcvhwm = 64
        socket.maxmsgsize = limits.MAX_BUFFER_BYTES
        socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 2000
        socket.ipv6 = True
        if endpoint.is_encrypted:
            socket.curve_serverkey = endpoint.server_key.encode()
            socket.curve_publickey = endpoint.client_public.encode()
            socket.curve_secretkey = endpoint.client_secret.encode()
        self._monitor, self._handshake = socket.get_monitor_socket(EVENTS), Handshake()
        socket.connect(endpoint.address)
        self._socket, self._endpoint, self.opened = socket, endpoint, now
        if self.link is not Link.LOST:
            self.link = Link.CONNECTING
        self.conversation.open(now)
        log.info("connecting to %r", endpoint)

    def _look_at_handshake(self) -> None:
        while self._monitor.get(zmq.EVENTS) & zmq.POLLIN:
            self._handshake.take(self._monitor.recv_multipart(zmq.NOBLOCK))
        if self._handshake.is_hopeless and not self.conversation.ready:
            self.link, self.error = Link.REFUSED, self.why_not()
            self._close_socket()  # libzmq would knock ten times a second for ever
            log.warning("not let in: %s", self.error)

    def _drain(self, now: float, until: float) -> list[events.Event]:
        happened: list[events.Event] = []
        socket = self._socket
        while socket.get(zmq.EVENTS) & zmq.POLLIN:
            frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            happened += self.conversation.receive([frame.buffer for frame in frames], now)
            if time.perf_counter() > until:
                break
        return happened

    def _flush(self) -> None:
        outbox = self.conversation.outbox
        while outbox:
            try:
                self._socket.send_multipart(outbox[0], zmq.NOBLOCK)
            except zmq.Again:
                return
            outbox.popleft()

    def _note(self, event: events.Event) -> None:
        if isinstance(event, events.ServerReady):
            self.link, self.error = Link.ONLINE, ""
        elif isinstance(event, events.ServerGone):
            self.link = Link.LOST
        elif isinstance(event, events.ServerIncompatible):
            self.link, self.error = Link.INCOMPATIBLE, str(event.error)
        elif isinstance(event, events.Unreadable):
            log.warning("the server sent something unreadable: %s", event.error)

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.disable_monitor()
            self._monitor.close()
            self._socket.close()
            self._socket = None
