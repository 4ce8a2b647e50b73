"""Worker processes: starts them, gives each one job at a time, notices when one is lost, starts it again.

Knows processes and the private channel (docs/protocol.md section 10). Knows no clients and no store: what a worker says
about a job goes to the `Reports` it was given. A worker lives no longer than its service: its standard input closes.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import zmq

from dreamlift.protocol import codec, limits, messages, worker_channel
from dreamlift.protocol.errors import ProtocolError
from dreamlift.service import zap
from dreamlift.service.home import Home
from dreamlift.service.keys import KeyPair, make_key_pair
from dreamlift.service.settings import ServiceSettings
from dreamlift.service.store import Job

STABLE_SECONDS = 60.0  # a worker that lived this long starts again without a growing delay
KILL_SECONDS = 10.0  # a killed process that is still there then hangs in the system, and is left to it
LOG_BYTES = 5_000_000
_log = logging.getLogger(__name__)


class Reports(Protocol):
    """Who hears what workers say about their jobs."""

    def worker_said(self, job: str, message: messages.Message) -> None:
        """Progress, a preview, a thumbnail, a warning or the end of an attempt."""

    def worker_lost(self, job: str, attempt: int) -> None:
        """The process that held this job is gone."""


@dataclass
class Worker:
    """One place for a worker process."""

    name: str
    device: str  # as asked for
    process: subprocess.Popen | None = None
    public: str = ""
    peer: bytes = b""
    pid: int = 0
    device_name: str = ""
    memory_bytes: int = 0
    started: float = 0.0  # monotonic
    heard: float = 0.0
    start_at: float = 0.0
    failures: int = 0
    job: str = ""
    attempt: int = 0
    cancel_by: float = 0.0  # a cancelled job must have ended by then; 0.0 for none
    verdict: str = ""  # why it was killed; the system may take its time to let go of the process

    @property
    def state(self) -> str:
        """As in `messages.Device`."""
        if self.process is None or self.verdict:
            return "down"
        return "starting" if not self.peer else "busy" if self.job else "idle"


class Supervisor:
    """All worker processes of a service.

    Args:
        context: For the private socket.
        settings: Of the service.
        home: Where workers find jobs, and where their logs lie.
        gatekeeper: Admits the keys made here.
        reports: Hears what workers say.
    """

    def __init__(
        self, context: zmq.Context, settings: ServiceSettings, home: Home, gatekeeper: zap.Gatekeeper, reports: Reports
    ):
        self._settings, self._home, self._gatekeeper, self._reports = settings, home, gatekeeper, reports
        self._keys = make_key_pair()
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, limits.MAX_BUFFER_BYTES)
        self.socket.curve_server = True
        self.socket.curve_secretkey = self._keys.secret.encode()
        self.socket.zap_domain = zap.WORKERS
        self._port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.workers = [Worker(f"worker-{k}", device) for k, device in enumerate(settings.devices)]

    # -- for the queue ------------------------------------------------------------------------------------

    def idle(self) -> list[Worker]:
        """Workers that could take a job now."""
        return [worker for worker in self.workers if worker.state == "idle"]

    def holder(self, job: str) -> Worker | None:
        """The worker that holds a job."""
        return next((worker for worker in self.workers if worker.job == job), None)

    def assign(self, worker: Worker, job: Job) -> None:
        """Give a job, whose attempt has begun in the store, to an idle worker."""
        worker.job, worker.attempt, worker.cancel_by = job.id, job.attempt, 0.0
        order = worker_channel.Assign(attempt=job.attempt, request=job.request, finish=job.finish_asked)
        self._send(worker, order, job.id)

    def stop(self, job: str, reason: str) -> bool:
        """Ask the worker of a job to end it; False where no worker holds it."""
        worker = self.holder(job)
        if worker is None:
            return False
        if reason == "cancel":
            worker.cancel_by = time.monotonic() + self._settings.cancel_grace
        self._send(worker, worker_channel.StopJob(attempt=worker.attempt, reason=reason), job)
        return True

    def devices(self) -> tuple[messages.Device, ...]:
        """What the handshake says about the workers."""
        return tuple(
            messages.Device(
                name=worker.device_name or worker.device,
                state=worker.state,
                memory_bytes=worker.memory_bytes,
                job=worker.job,
            )
            for worker in self.workers
        )

    # -- the loop's calls -----------------------------------------------------------------------------------

    def receive(self, frames: list[zmq.Frame]) -> None:
        """Take one message from the private socket."""
        peer, user = frames[0].bytes, frames[1].get("User-Id") if len(frames) > 1 else ""
        worker = next((w for w in self.workers if w.name == user and w.process is not None), None)
        if worker is None:
            return
        try:
            envelope = codec.decode([frame.buffer for frame in frames[1:]], worker_channel.FROM_WORKER)
        except ProtocolError as error:
            _log.error("%s sent something unreadable: %s", worker.name, error)
            return
        worker.heard = time.monotonic()
        message = envelope.message
        if isinstance(message, worker_channel.WorkerHello):  # only now is it idle: its first beat may come before
            worker.peer, worker.pid = peer, message.pid
            worker.device_name, worker.memory_bytes = message.device, message.memory_bytes
        elif envelope.job and envelope.job == worker.job:
            self._about_job(worker, envelope.job, message)

    def tick(self, now: float) -> None:
        """Start what is due, end what is silent or disobedient, report what is lost."""
        for worker in self.workers:
            if worker.process is None:
                if now >= worker.start_at:
                    self._start(worker, now)
                continue
            silence = self._settings.worker_silence if worker.peer else self._settings.worker_start_silence
            if worker.process.poll() is not None:
                self._lost(worker, now, worker.verdict or f"ended with status {worker.process.returncode}")
            elif worker.verdict:
                continue
            elif now - worker.heard > silence:
                self._kill(worker, f"was silent for {silence:g} s")
            elif worker.cancel_by and now > worker.cancel_by:
                self._kill(worker, "did not obey a cancel")

    def close(self) -> None:
        """End every worker and wait for it."""
        for worker in self.workers:
            if worker.process is not None:
                worker.process.stdin.close()  # the signal to end
        deadline = time.monotonic() + 3.0
        for worker in self.workers:
            if worker.process is not None:
                if not _has_ended(worker.process, max(deadline - time.monotonic(), 0.01)):
                    worker.process.kill()
                    if not _has_ended(worker.process, KILL_SECONDS):
                        _log.error("process %d of %s cannot be ended", worker.process.pid, worker.name)
                worker.process = None
        self.socket.close()

    # -- inside -----------------------------------------------------------------------------------------------

    def _about_job(self, worker: Worker, job: str, message: messages.Message) -> None:
        if isinstance(message, worker_channel.Ended):
            if message.attempt != worker.attempt:
                return
            worker.job, worker.cancel_by, worker.failures = "", 0.0, 0
        self._reports.worker_said(job, message)

    def _send(self, worker: Worker, message: messages.Message, job: str = "") -> None:
        try:
            self.socket.send_multipart([worker.peer, *codec.encode(message, job=job)], zmq.NOBLOCK)
        except zmq.ZMQError as error:  # it is dying: `tick` will notice and the job is requeued
            _log.warning("%s cannot be reached: %s", worker.name, error, extra={"job": job or "-"})
            worker.heard = float("-inf")

    def _start(self, worker: Worker, now: float) -> None:
        pair = make_key_pair()
        self._gatekeeper.workers[pair.public] = worker.name
        worker.public, worker.started, worker.heard = pair.public, now, now
        try:
            worker.process = self._spawn(worker)
            worker.process.stdin.write(self._orders(worker, pair))
        except OSError as error:
            if worker.process is None:
                self._lost(worker, now, f"could not be started: {error}")
            else:
                self._kill(worker, f"took no orders: {error}")
            return
        _log.info("%s started, process %d", worker.name, worker.process.pid)

    def _spawn(self, worker: Worker) -> subprocess.Popen:
        log = rotated(self._home.logs / f"{worker.name}.log")
        with open(log, "ab") as output:
            return subprocess.Popen(
                self._settings.worker_command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                bufsize=0,  # closing a pipe whose reader died must not try to write
                **own_group(),
            )

    def _orders(self, worker: Worker, pair: KeyPair) -> bytes:
        orders = {
            "endpoint": f"tcp://127.0.0.1:{self._port}",
            "server_key": self._keys.public,
            "public": pair.public,
            "secret": pair.secret,
            "home": str(self._home.root),
            "device": worker.device,
            "name": worker.name,
        }
        return json.dumps(orders).encode() + b"\n"

    def _kill(self, worker: Worker, why: str) -> None:
        """End a process; `tick` reports it lost once the system has let go of it, which a hanging driver can delay.

        Until then its job stays with it: given to another worker, it could be done twice.
        """
        _log.warning("%s %s and is killed", worker.name, why, extra={"job": worker.job or "-"})
        worker.verdict = why
        worker.process.kill()

    def _lost(self, worker: Worker, now: float, why: str) -> None:
        """The process is gone, or never came to be."""
        _log.warning("%s %s", worker.name, why, extra={"job": worker.job or "-"})
        if worker.process is not None:
            worker.process.stdin.close()
        self._gatekeeper.workers.pop(worker.public, None)
        job, attempt = worker.job, worker.attempt
        worker.failures = 1 if now - worker.started > STABLE_SECONDS else worker.failures + 1
        delay = self._settings.restart_delay * 2 ** min(worker.failures - 1, 10)
        worker.start_at = now + min(delay, self._settings.restart_delay_most)
        worker.process, worker.peer, worker.pid, worker.job = None, b"", 0, ""
        worker.cancel_by, worker.verdict = 0.0, ""
        if job:
            self._reports.worker_lost(job, attempt)


def own_group() -> dict[str, object]:
    """So that Ctrl-C in the service's terminal does not reach the worker first."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _has_ended(process: subprocess.Popen, seconds: float) -> bool:
    """Whether it ends within this time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def rotated(path: Path) -> Path:
    """The path itself, after a log that grew too long was put aside."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        os.replace(path, path.with_suffix(".log.1"))
    return path
