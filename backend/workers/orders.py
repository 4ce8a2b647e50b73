"""What the service tells a new worker on its standard input, and what the end of that input means.

Knows file descriptors. The service holds the other end of the pipe: when it dies, however that happens, the system
closes the pipe and this process ends at once, so that no job is done twice.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

LONGEST = 64 * 1024
ORPHANED = 75  # exit status of a worker whose service is gone


@dataclass(frozen=True)
class Orders:
    """One line of JSON from the service.

    Args:
        endpoint: Address of the private socket.
        server_key: Its public key.
        public: This worker's public key.
        secret: This worker's secret key.
        home: The service's folder.
        device: "auto", "cpu", "cuda:0", ...
        name: For the log.
    """

    endpoint: str
    server_key: str
    public: str
    secret: str
    home: Path
    device: str
    name: str

    def __repr__(self) -> str:
        return f"Orders({self.name}, {self.endpoint}, {self.device})"  # no secrets in logs


def take_orders() -> tuple[Orders, int]:
    """Read the line; standard input then is empty for everybody else.

    Returns:
        The orders and the private descriptor to give to `end_with_service`.

    Raises:
        ValueError: No orders came; this program is started by `dreamlift serve`, not by hand.
    """
    descriptor = os.dup(0)  # not inherited by processes that a pipeline starts
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST:
        piece = os.read(descriptor, 4096)
        if not piece:
            raise ValueError("No orders on standard input; a worker is started by `dreamlift serve`, not by hand.")
        line += piece
    fields = json.loads(line)
    return Orders(**{**fields, "home": Path(fields["home"])}), descriptor


def end_with_service(descriptor: int) -> None:
    """End this process as soon as the service is gone.

    Args:
        descriptor: From `take_orders`.
    """

    def watch() -> None:
        while os.read(descriptor, 4096):
            continue
        os._exit(ORPHANED)

    threading.Thread(target=watch, name="service-watch", daemon=True).start()
