"""The service's folder: where everything lies, the lock that admits one service, the connection file.

Knows paths and file modes. Every name in a path is made here or checked by the wire's patterns before; nothing that a
client sends becomes a path.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dreamlift.protocol import connection_file, worker_channel
from dreamlift.protocol.connection_file import ConnectionFile
from dreamlift.protocol.pairing import PairingError
from dreamlift.service.settings import ServiceError


class Home:
    """Paths under one folder. `prepare` makes the folders, readable by their owner alone.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path):
        self.root = Path(root).absolute()
        self.database = self.root / "service.db"
        self.lock = self.root / "service.lock"
        self.connection = self.root / connection_file.NAME
        self.last_port = self.root / "last_port"
        self.keys = self.root / "keys"
        self.blobs = self.root / "blobs"
        self.partial = self.blobs / "partial"
        self.jobs = self.root / "jobs"
        self.logs = self.root / "logs"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self.root, self.keys, self.blobs, self.partial, self.jobs, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def blob(self, sha256: str) -> Path:
        """Where the complete blob with this hash lies."""
        return worker_channel.blob_path(self.root, sha256)

    def job(self, job: str) -> Path:
        """The folder of a job's checkpoint and attempts."""
        return worker_channel.job_folder(self.root, job)

    def attempt(self, job: str, attempt: int) -> Path:
        """Where one attempt puts its artifacts."""
        return worker_channel.attempt_folder(self.root, job, attempt)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class ServiceLock:
    """Held by the one service of a home; the system lets go of it when the process dies, however that happens.

    Raises ServiceError "already_running" where another process holds it.
    """

    def __init__(self, home: Home):
        self._file = open(home.lock, "a+", encoding="utf-8")  # noqa: SIM115 - held as long as the service lives
        try:
            _lock(self._file)
        except OSError as error:
            self._file.close()
            raise ServiceError(
                "already_running",
                f"A service already runs on {home.root}{_running(home)}.",
                "Use that one, stop it first, or set DREAMLIFT_HOME to another folder.",
            ) from error

    def release(self) -> None:
        """Let the next service in."""
        self._file.close()


def _lock(file: object) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _running(home: Home) -> str:
    try:
        found = read_connection(home)
    except PairingError:
        return ""
    return f" (process {found.pid}, port {found.endpoint.port})"


def read_connection(home: Home) -> ConnectionFile:
    """The connection file of this home.

    Raises:
        PairingError: There is none, or it cannot be read.
    """
    try:
        text = home.connection.read_text(encoding="utf-8")
    except OSError as error:
        raise PairingError(f"No service has written {home.connection}; start one with `dreamlift serve`.") from error
    return connection_file.parse_connection(text)
