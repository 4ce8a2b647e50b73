"""`dreamlift serve`: one loop, one ROUTER socket on one TCP port, no threads and no torch.

Knows sockets, the order of checks (prove, measure, decode, act) and when things happen. What they mean is in
`commands`, `queue`, `sessions` and `supervisor`. docs/protocol.md is the contract.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import zmq

from dreamlift import __version__
from dreamlift.pipelines.catalog import PIPELINES, PipelineDescription
from dreamlift.protocol import codec, limits, messages
from dreamlift.protocol.connection_file import ConnectionFile, format_connection
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.pairing import Endpoint
from dreamlift.service.blobs import Blobs
from dreamlift.service.commands import Commands, problem_of
from dreamlift.service.cut_outs import CutOuts
from dreamlift.service.database import Database
from dreamlift.service.home import Home, ServiceLock, write_private
from dreamlift.service.keys import KeyRing, last_port
from dreamlift.service.logs import close_log, open_log
from dreamlift.service.queue import JobQueue
from dreamlift.service.sessions import PeerGone, Sessions
from dreamlift.service.settings import ServiceError, ServiceSettings
from dreamlift.service.store import Store
from dreamlift.service.supervisor import Supervisor
from dreamlift.service.zap import CLIENTS, Gatekeeper

TICK_SECONDS = 0.25
CLEAN_SECONDS = 600.0
MESSAGES_A_TURN = 100  # of clients, before workers and timers get their turn
UNREAD_MESSAGES = 32  # a client may leave in its pipe before the rest waits in its session
_log = logging.getLogger(__name__)


class Service:
    """A service on its home folder. Made, it listens; `run` serves until `stop`; `close` lets everything go.

    Make, run and close it in one thread; only `stop` may be called from another.

    Args:
        settings: How to run.
        pipelines: What may be asked for.

    Raises:
        ServiceError: Another service runs on this home, the port is taken, or the settings cannot work.
    """

    def __init__(self, settings: ServiceSettings, pipelines: Mapping[str, PipelineDescription] = PIPELINES):
        self._settings = settings
        self._home = Home(settings.home)
        self._home.prepare()
        self.run_id = secrets.token_hex(16)
        self._stopping = False
        self._resources = ExitStack()  # everything that must be let go, also where the start fails half-way
        try:
            self._open(pipelines)
        except BaseException:
            self._resources.close()
            raise

    def _open(self, pipelines: Mapping[str, PipelineDescription]) -> None:
        settings, resources = self._settings, self._resources
        resources.callback(ServiceLock(self._home).release)
        resources.callback(close_log, open_log(self._home.logs / "service.log"))
        database = Database(self._home.database)
        resources.callback(database.close)
        store = Store(database)
        blobs = Blobs(self._home, settings.free_bytes)
        self._ring = KeyRing(self._home)
        context = zmq.Context()
        resources.callback(context.term)
        self._gatekeeper = Gatekeeper(context, self._ring)
        resources.callback(self._gatekeeper.close)
        self._socket = context.socket(zmq.ROUTER)
        resources.callback(self._socket.close)
        self._listen()
        self._sessions = Sessions(store, self._send)
        self._queue = JobQueue(settings, self._home, store, blobs, self._sessions)
        self._supervisor = Supervisor(context, settings, self._home, self._gatekeeper, self._queue)
        resources.callback(self._supervisor.close)
        self._queue.supervisor = self._supervisor
        self._cut_outs = CutOuts(settings, self._home, blobs, self._sessions)
        resources.callback(self._cut_outs.close)
        self._commands = Commands(
            settings, self.run_id, pipelines, store, blobs, self._sessions, self._queue, self._cut_outs
        )
        self._queue.recover()
        write_private(self._home.last_port, str(self.endpoint.port))
        connection = ConnectionFile(self.endpoint, os.getpid(), __version__, self.run_id)
        write_private(self._home.connection, format_connection(connection))
        _log.info("serving %s on %s, process %d", self._home.root, self.endpoint, os.getpid())

    # -- for its owner --------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `stop` is called."""
        poller = zmq.Poller()
        for socket in (self._gatekeeper.socket, self._socket, self._supervisor.socket):
            poller.register(socket, zmq.POLLIN)
        next_tick = 0.0
        next_clean = time.monotonic() + 5.0
        while not self._stopping:
            ready = dict(poller.poll(1000 * min(TICK_SECONDS, self._cut_outs.pause)))
            now = time.monotonic()
            try:
                self._turn(ready)
                self._cut_outs.tick(now)
                if now >= next_tick:
                    next_tick = now + TICK_SECONDS
                    self._tick(now)
                if now >= next_clean:
                    next_clean = now + CLEAN_SECONDS
                    self._queue.clean()
            except (sqlite3.OperationalError, OSError):  # a full or failing disk: what was not committed is done again
                _log.exception("the disk does not take what the service writes")
                time.sleep(1.0)

    def stop(self) -> None:
        """Make `run` return soon. May be called from a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """End the workers, close everything, take the connection file away. Unfinished jobs stay in the queue."""
        try:
            self._supervisor.close()
            self._queue.recover()
            self._home.connection.unlink(missing_ok=True)
            _log.info("stopped")
        finally:
            self._resources.close()

    def _turn(self, ready: dict[zmq.Socket, int]) -> None:
        if self._gatekeeper.socket in ready:
            self._gatekeeper.answer()
        if self._supervisor.socket in ready:
            self._drain(self._supervisor.socket, self._supervisor.receive)
        if self._socket in ready:
            self._drain(self._socket, self._receive)
        self._queue.give_out()
        self._sessions.deliver()

    # -- the sockets ------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        socket = self._socket
        socket.linger = 200
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a peer that is gone is noticed when it is written to
        socket.setsockopt(zmq.MAXMSGSIZE, limits.MAX_BUFFER_BYTES)
        socket.setsockopt(zmq.SNDHWM, UNREAD_MESSAGES)
        socket.setsockopt(zmq.RCVHWM, 256)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        socket.setsockopt(zmq.IPV6, ":" in self._settings.host)
        if not self._settings.insecure_loopback:
            socket.curve_server = True
            socket.curve_secretkey = self._ring.server.secret.encode()
            socket.zap_domain = CLIENTS
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        self.endpoint = self._own_endpoint(self._bind(socket, host))

    def _bind(self, socket: zmq.Socket, host: str) -> int:
        wanted = [self._settings.port] if self._settings.port else [last_port(self._home), 0]
        for port in dict.fromkeys(wanted):
            try:
                socket.bind(f"tcp://{host}:{port or '*'}")
            except zmq.ZMQError as error:
                if port == wanted[-1]:
                    raise ServiceError(
                        "port_taken",
                        f"Cannot listen on {host}:{port}: {error}.",
                        "Use another --port, or stop the program that has it.",
                    ) from error
                continue
            break
        return int(socket.last_endpoint.rsplit(b":", 1)[1].rstrip(b"\0"))

    def _own_endpoint(self, port: int) -> Endpoint:
        host = self._settings.host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # what a client on this computer connects to
        if self._settings.insecure_loopback:
            return Endpoint(host, port)
        return Endpoint(host, port, self._ring.server.public, self._ring.local.public, self._ring.local.secret)

    def _drain(self, socket: zmq.Socket, take: Callable[[list[zmq.Frame]], None]) -> None:
        for _ in range(MESSAGES_A_TURN):
            try:
                frames = receive_bounded(socket)
            except zmq.Again:
                return
            take(frames)

    def _receive(self, frames: list[zmq.Frame]) -> None:
        peer, user = frames[0].bytes, self._user(frames)
        if user is None:
            return  # revoked since it connected
        now = time.monotonic()
        session = self._sessions.get(peer)
        if session is not None:
            session.heard = now
        try:
            parts = [frame.buffer for frame in frames[1:]]
            envelope = codec.decode(parts, messages.FROM_CLIENT, limits.MAX_COMMAND_BYTES)
            if session is None and isinstance(envelope.message, messages.Bye | messages.Seen):
                return
            if session is None and not isinstance(envelope.message, messages.Hello):
                error = ProtocolError("no_session", "This connection has not said hello.", "Say hello first.")
                error.id = envelope.id
                raise error
        except ProtocolError as error:
            self._refuse(peer, error)
            return
        if isinstance(envelope.message, messages.Bye):
            self._sessions.drop(peer)
            return
        self._commands.act(session or self._sessions.open(peer, user, now), envelope)
        if session is None and not set(envelope.message.versions) & set(limits.SUPPORTED_VERSIONS):
            self._sessions.drop(peer)  # it was told why; what it says next could be misread

    def _user(self, frames: list[zmq.Frame]) -> str | None:
        if self._settings.insecure_loopback:
            return "loopback"
        public = frames[-1].get("User-Id")
        return self._ring.name_of(public) if self._ring.allows(public) else None

    def _refuse(self, peer: bytes, error: ProtocolError) -> None:
        session = self._sessions.get(peer)
        if session is not None:
            self._sessions.answer(session, problem_of(error), error.id, error.job)
            return
        try:
            self._send(peer, codec.encode(problem_of(error), id=error.id, job=error.job))
        except PeerGone:
            return  # it left before it could be told

    def _send(self, peer: bytes, frames: list[codec.Buffer]) -> bool:
        try:
            self._socket.send_multipart([peer, *frames], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                raise PeerGone from error
            raise
        return True

    def _tick(self, now: float) -> None:
        self._ring.refresh()
        self._sessions.drop_silent(now)
        self._supervisor.tick(now)
        self._queue.reconcile()


def receive_bounded(socket: zmq.Socket) -> list[zmq.Frame]:
    """One multipart message, keeping no more frames than a message may have and one too many to notice.

    Raises zmq.Again where nothing waits.
    """
    frames = [socket.recv(zmq.NOBLOCK, copy=False)]
    while frames[-1].more:
        frame = socket.recv(copy=False)
        if len(frames) < limits.MAX_FRAMES + 2:
            frames.append(frame)
        else:
            frames[-1] = frame
    return frames


def run_service(settings: ServiceSettings, ready: Callable[[Endpoint], None] | None = None) -> int:
    """Run a service until SIGINT or SIGTERM.

    Args:
        settings: How to run.
        ready: Called once it listens, with the endpoint that local clients use.

    Returns:
        0 after a stop in good order.

    Raises:
        ServiceError: It cannot start; the sentences are for people.
    """
    service = Service(settings)
    previous = {number: signal.signal(number, lambda *_: service.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if ready is not None:
            ready(service.endpoint)
        service.run()
    finally:
        service.close()
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0
