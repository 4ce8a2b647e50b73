"""The connection file: how a client on the same computer and account finds the service.

Knows the file's text and where it lies. Reads and writes no files: the service writes it (mode 0600).
docs/protocol.md section 7.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from .pairing import Endpoint, PairingError

FORMAT = 1
NAME = "connection.json"
LONGEST = 64 * 1024


@dataclass(frozen=True)
class ConnectionFile:
    """What the file says.

    Args:
        endpoint: Where to connect and with which keys.
        pid: The service's process.
        server_version: Of the program.
        server_run: The id of this start, as in `welcome`.
    """

    endpoint: Endpoint
    pid: int
    server_version: str = ""
    server_run: str = ""


def home_folder(environment: Mapping[str, str], platform: str) -> PurePath:
    """The folder that holds the connection file, keys and jobs of this user.

    Args:
        environment: `os.environ`. `DREAMLIFT_HOME` wins over everything.
        platform: `sys.platform`.

    Returns:
        A path of this system; the folder may not exist.
    """
    if environment.get("DREAMLIFT_HOME"):
        return PurePath(environment["DREAMLIFT_HOME"])
    if platform == "win32":
        local = environment.get("LOCALAPPDATA") or PurePath(environment.get("USERPROFILE", "."), "AppData", "Local")
        return PurePath(local, "dreamlift")
    home = environment.get("HOME", ".")
    if platform == "darwin":
        return PurePath(home, "Library", "Application Support", "dreamlift")
    return PurePath(environment.get("XDG_DATA_HOME") or PurePath(home, ".local", "share"), "dreamlift")


def format_connection(connection: ConnectionFile) -> str:
    """The file's text, JSON."""
    content = asdict(connection)
    return json.dumps({"format": FORMAT, **content.pop("endpoint"), **content}, indent=1) + "\n"


def parse_connection(text: str) -> ConnectionFile:
    """Read the file's text.

    Raises:
        PairingError: Not a connection file of this format.
    """
    try:
        content: Any = json.loads(text[:LONGEST])
    except ValueError as error:
        raise PairingError(
            "The connection file is not readable; start the service again to write a new one."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PairingError("The connection file was written by another version; start the service again.")
    keys = {name: content.get(name, "") for name in ("server_key", "client_public", "client_secret")}
    pid = content.get("pid", 0)
    return ConnectionFile(
        endpoint=Endpoint(content.get("host", ""), content.get("port", 0), **keys),
        pid=pid if type(pid) is int else 0,
        server_version=str(content.get("server_version", ""))[:40],
        server_run=str(content.get("server_run", ""))[:32],
    )
