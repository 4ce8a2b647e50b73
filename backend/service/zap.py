"""Who may open a connection: answers libzmq's ZAP questions (RFC 27) during every CURVE handshake.

Knows the client list and the keys made for workers. Runs in the service's one loop, without a thread. A refused peer
never gets a byte of our protocol.
"""

from __future__ import annotations

import logging

import zmq
from zmq.utils import z85

from dreamlift.service.keys import KeyRing

CLIENTS, WORKERS = b"clients", b"workers"
_log = logging.getLogger(__name__)


class Gatekeeper:
    """Answers on `inproc://zeromq.zap.01`.

    Args:
        context: The sockets' context.
        ring: The client list.
    """

    def __init__(self, context: zmq.Context, ring: KeyRing):
        self._ring = ring
        self.workers: dict[str, str] = {}  # public key to worker name, filled by the supervisor
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")

    def answer(self) -> None:
        """Answer every question that waits."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.socket.send_multipart(self._reply(frames))

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _reply(self, frames: list[bytes]) -> list[bytes]:
        version, request, domain, address = (*frames, b"", b"", b"", b"")[:4]
        mechanism = frames[5] if len(frames) > 5 else b""
        user = ""
        if version == b"1.0" and mechanism == b"CURVE" and len(frames) == 7 and len(frames[6]) == 32:
            user = self._admit(domain, z85.encode(frames[6]).decode())
        if user:
            return [version, request, b"200", b"OK", user.encode(), b""]
        _log.warning("refused a connection from %s", address.decode("ascii", "replace"))
        return [b"1.0", request, b"400", b"unknown key", b"", b""]

    def _admit(self, domain: bytes, public: str) -> str:
        if domain == WORKERS:
            return self.workers.get(public, "")
        if domain == CLIENTS:
            self._ring.refresh()
            return public if self._ring.allows(public) else ""
        return ""
