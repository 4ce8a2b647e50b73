"""The worker's end of the private channel: a thread that owns the socket, so that a pipeline is never held up by it.

Knows the messages of `protocol.worker_channel`. Knows no pipelines. Ordered messages are all sent, of previews and
progress only the newest. docs/protocol.md section 10.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque

import zmq

from dreamlift.protocol import codec, messages, worker_channel
from dreamlift.protocol.errors import ProtocolError
from dreamlift.workers.orders import Orders

BEAT_SECONDS = 1.0
RETRY_SECONDS = 0.05
STRENGTH = {"pause": 1, "finish": 2, "cancel": 3}  # a stronger wish replaces a weaker one
LOADING = messages.Progress(stage="Loading", stage_index=0, stage_count=1, step=0, steps=0, fraction=0.0)
_log = logging.getLogger(__name__)


class ServiceChannel:
    """Talks to the service from a thread of its own.

    Args:
        orders: Where and with which keys.
    """

    def __init__(self, orders: Orders):
        self.jobs: queue.Queue[codec.Envelope] = queue.Queue()
        self._orders = orders
        self._context = zmq.Context()
        self._lock = threading.Lock()
        self._ordered: deque[list[codec.Buffer]] = deque()
        self._newest: dict[str, list[codec.Buffer]] = {}
        self._stops: dict[tuple[str, int], str] = {}
        self._closing = False
        self._bell = self._context.socket(zmq.PAIR)  # rung by whoever has something to send
        self._bell.bind("inproc://bell")
        self._thread = threading.Thread(target=self._run, name="service-channel", daemon=True)
        self._thread.start()

    def say(self, message: messages.Message, job: str = "") -> None:
        """Send a message; order is kept."""
        frames = codec.encode(message, job=job)
        with self._lock:
            self._ordered.append(frames)
            self._ring()

    def offer(self, message: messages.Message, job: str) -> None:
        """Send a message unless a newer one of its type overtakes it. Its arrays must not change any more."""
        frames = codec.encode(message, job=job)
        with self._lock:
            self._newest[message.TYPE] = frames
            self._ring()

    def stop_wish(self, job: str, attempt: int) -> str | None:
        """How the service wants this attempt to end; None while it should go on."""
        return self._stops.get((job, attempt))

    def close(self) -> None:
        """Send what waits, for at most a second, and end the thread."""
        with self._lock:
            self._closing = True
            self._ring()
        self._thread.join(3.0)
        self._bell.close(0)
        self._context.term()

    def _ring(self) -> None:
        try:
            self._bell.send(b"", zmq.NOBLOCK)
        except zmq.Again:
            return  # it rings already

    def _run(self) -> None:
        bell = self._context.socket(zmq.PAIR)
        bell.connect("inproc://bell")
        socket = self._connect()
        poller = zmq.Poller()
        poller.register(bell, zmq.POLLIN)
        poller.register(socket, zmq.POLLIN)
        next_beat, wait = 0.0, BEAT_SECONDS
        while not self._closing:
            ready = dict(poller.poll(1000 * wait))
            while bell in ready and bell.poll(0):
                bell.recv()
            while socket in ready and socket.poll(0):
                self._take(socket.recv_multipart(copy=False))
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + BEAT_SECONDS
                self._send(socket, codec.encode(worker_channel.Beat()))
            wait = min(next_beat - now, BEAT_SECONDS) if self._send_waiting(socket) else RETRY_SECONDS
        self._send_waiting(socket)
        socket.close(1000)
        bell.close(0)

    def _connect(self) -> zmq.Socket:
        socket = self._context.socket(zmq.DEALER)
        socket.curve_serverkey = self._orders.server_key.encode()
        socket.curve_publickey = self._orders.public.encode()
        socket.curve_secretkey = self._orders.secret.encode()
        socket.setsockopt(zmq.SNDHWM, 8)  # previews wait here, replaceable, not in the pipe
        socket.connect(self._orders.endpoint)
        return socket

    def _send_waiting(self, socket: zmq.Socket) -> bool:
        """Send everything; False where the pipe is full."""
        while True:
            with self._lock:
                kind = next(iter(self._newest), None)
                if kind is not None:
                    frames = self._newest.pop(kind)
                elif self._ordered:
                    frames = self._ordered.popleft()
                else:
                    return True
            if not self._send(socket, frames):
                with self._lock:
                    if kind is None:
                        self._ordered.appendleft(frames)
                    else:
                        self._newest.setdefault(kind, frames)
                return False

    def _send(self, socket: zmq.Socket, frames: list[codec.Buffer]) -> bool:
        try:
            socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _take(self, frames: list[zmq.Frame]) -> None:
        try:
            envelope = codec.decode([frame.buffer for frame in frames], worker_channel.TO_WORKER)
        except ProtocolError as error:
            _log.error("the service sent something unreadable: %s", error)
            return
        message = envelope.message
        if isinstance(message, worker_channel.Assign):
            self._stops.clear()
            if message.finish:
                self._stops[envelope.job, message.attempt] = "finish"
            self.jobs.put(envelope)
            self.offer(LOADING, envelope.job)  # the process may still be at its imports
        elif isinstance(message, worker_channel.StopJob):
            key = (envelope.job, message.attempt)
            if STRENGTH[message.reason] > STRENGTH.get(self._stops.get(key, ""), 0):
                self._stops[key] = message.reason
