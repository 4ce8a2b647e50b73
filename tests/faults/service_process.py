"""A real service in a process of its own, with scripted workers: started, killed and started again by tests.

Knows processes and the client. Leaves no process behind: `close` kills the service and every worker it started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from dreamlift.client.session import Client

HERE = Path(__file__).resolve().parent
WORKER = HERE / "scripted_worker.py"
SERVE = """
import json, sys
from pathlib import Path
from dreamlift.service.server import run_service
from dreamlift.service.settings import ServiceSettings
options = json.loads(sys.argv[1])
options["home"] = Path(options["home"])
for name in ("worker_command", "devices"):
    if name in options:
        options[name] = tuple(options[name])
run_service(ServiceSettings(**options))
"""


class ServiceProcess:
    """One home and the service that runs on it, if any.

    Args:
        folder: An empty folder; the home and the journal of the scripted workers go there.
        options: Further fields of `ServiceSettings`.
    """

    def __init__(self, folder: Path, **options):
        self.home = folder / "home"
        self.journal = folder / "journal.jsonl"
        self.output = folder / "output.txt"
        command = [sys.executable, str(WORKER)]
        self._options = {"home": str(self.home), "worker_command": command, "restart_delay": 0.1, **options}
        self._process: subprocess.Popen | None = None
        self._ours: set[int] = set()

    def __enter__(self) -> ServiceProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The service's process."""
        return self._process.pid

    @property
    def has_died(self) -> bool:
        """True where the service was started and is no longer there, without having been killed or stopped here."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start the service; returns at once."""
        environment = {**os.environ, "DREAMLIFT_TEST_JOURNAL": str(self.journal), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SERVE, json.dumps(self._options)]
        with open(self.output, "ab") as output:
            self._process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def client(self, wait: float = 30.0) -> Client:
        """A client, once the service answers."""
        until = time.monotonic() + wait
        while not (self.home / "connection.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        return Client(home=self.home, wait=wait)

    def workers(self) -> list[psutil.Process]:
        """Worker processes that live now."""
        try:
            found = psutil.Process(self.pid).children()
        except psutil.NoSuchProcess:
            found = []
        self._ours.update(child.pid for child in found)
        return [child for child in found if child.status() != psutil.STATUS_ZOMBIE]

    def kill(self) -> None:
        """kill -9 of the service alone."""
        self.workers()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self._process.terminate()
        return self._process.wait(30)

    def kill_worker(self) -> bool:
        """kill -9 of one worker, if one lives."""
        for worker in self.workers():
            try:
                worker.kill()
            except psutil.NoSuchProcess:
                continue
            return True
        return False

    def said(self) -> list[dict]:
        """The scripted workers' journal."""
        if not self.journal.exists():
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def close(self) -> None:
        """Kill everything that this home started and wait until it is gone."""
        if self._process is None:
            return
        self.workers()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        until = time.monotonic() + 10
        while any(_lives(pid) for pid in self._ours) and time.monotonic() < until:
            time.sleep(0.02)
        left = [pid for pid in self._ours if _lives(pid)]
        for pid in left:
            psutil.Process(pid).kill()
        assert not left, f"workers {left} outlived their service"


def _lives(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and str(WORKER) in process.cmdline()
    except psutil.NoSuchProcess:
        return False
