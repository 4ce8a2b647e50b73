"""Everything that can be chosen about a service. Knows numbers and paths, no sockets."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from dreamlift.protocol.connection_file import home_folder

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class ServiceError(RuntimeError):
    """The service cannot run like this, in words to act on.

    Args:
        code: Short stable name, such as "already_running".
        what: One sentence: what is wrong, with the value.
        remedy: One sentence: what to do.
    """

    def __init__(self, code: str, what: str, remedy: str):
        super().__init__(f"{what} {remedy}")
        self.code = code
        self.what = what
        self.remedy = remedy


def default_home() -> Path:
    """This user's folder for keys, jobs and the connection file; `DREAMLIFT_HOME` overrides it."""
    return Path(home_folder(os.environ, sys.platform)).expanduser().absolute()


@dataclass(frozen=True)
class ServiceSettings:
    """How to run a service.

    Args:
        home: Folder of keys, database, files and logs; made where it is missing.
        host: Address to listen on; "0.0.0.0" for all of IPv4.
        port: TCP port; 0 takes the last one again, or any free one the first time.
        insecure_loopback: Speak without keys; only with a loopback host.
        devices: One worker for each: "auto", "cpu", "cuda:0", ...
        worker_command: How to start a worker; it reads its orders from standard input.
        cut_out_command: How to start the process that cuts one picture out; it is given the file and a threshold.
        cut_out_seconds: How long that may take.
        attempts: How many workers a job may lose before it fails.
        worker_silence: Seconds without a word after which a worker is ended and counts as lost.
        worker_start_silence: The same before its first word: imports may be slow.
        cancel_grace: Seconds a worker has to obey a cancel before it is ended.
        restart_delay: Seconds before a lost worker is started again; doubles up to `restart_delay_most`.
        restart_delay_most: Upper end of the doubling.
        unfinished_jobs: How many jobs may be queued, paused or running.
        keep_jobs: How many ended jobs are kept with their files.
        keep_orphans: Seconds an upload without a job is kept.
        free_bytes: Space on the disk that uploads leave free.
    """

    home: Path = field(default_factory=default_home)
    host: str = "127.0.0.1"
    port: int = 0
    insecure_loopback: bool = False
    devices: tuple[str, ...] = ("auto",)
    worker_command: tuple[str, ...] = (sys.executable, "-m", "dreamlift.workers")
    cut_out_command: tuple[str, ...] = (sys.executable, "-m", "dreamlift.workers.cut_out")
    cut_out_seconds: float = 120.0
    attempts: int = 3
    worker_silence: float = 60.0
    worker_start_silence: float = 180.0
    cancel_grace: float = 20.0
    restart_delay: float = 0.5
    restart_delay_most: float = 30.0
    unfinished_jobs: int = 1000
    keep_jobs: int = 200
    keep_orphans: float = 24 * 3600.0
    free_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        if self.insecure_loopback and self.host not in LOOPBACK:
            raise ServiceError(
                "not_loopback",
                f"Without keys the service may listen on loopback only, not on {self.host}.",
                "Leave --insecure-loopback away, or use --host 127.0.0.1.",
            )
        if not 0 <= self.port <= 65535:
            raise ServiceError("bad_port", f"{self.port} is not a TCP port.", "Use a number from 0 to 65535.")
        if not self.devices:
            raise ServiceError("no_devices", "A service needs at least one worker.", 'Use devices=("auto",).')
