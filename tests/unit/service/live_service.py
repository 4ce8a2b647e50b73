"""A live service in a thread of the test's own process, with scripted workers. Closed, it leaves nothing behind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from dreamlift.client.session import Client
from dreamlift.pipelines.catalog import PIPELINES, PipelineDescription
from dreamlift.service.server import Service
from dreamlift.service.settings import ServiceSettings

FAULTS = Path(__file__).resolve().parents[2] / "faults"
WORKER = FAULTS / "scripted_worker.py"


class LiveService:
    """Made, it serves; as a context it closes itself.

    Args:
        home: The service's folder.
        pipelines: What may be asked for.
        settings: Further fields of `ServiceSettings`.
    """

    def __init__(self, home: Path, pipelines: Mapping[str, PipelineDescription] = PIPELINES, **settings):
        self.home = home
        self._pipelines = pipelines
        chosen = {"worker_command": (sys.executable, str(WORKER)), "restart_delay": 0.05, **settings}
        self._settings = ServiceSettings(home=home, **chosen)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self.service: Service | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self._ready.wait(30)
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def __enter__(self) -> LiveService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop and wait."""
        self.service.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def client(self, **options) -> Client:
        """A client of this service."""
        return Client(home=self.home, wait=30.0, **options)

    def _serve(self) -> None:
        try:
            self.service = Service(self._settings, self._pipelines)  # SQLite wants to be made and used in one thread
            self._ready.set()
            try:
                self.service.run()
            finally:
                self.service.close()
        except BaseException as error:
            self._failure = error
            self._ready.set()
