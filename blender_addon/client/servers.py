# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers this computer may use: the one on it, found by its connection file, and those that were paired.

Knows files and pairing strings; opens no connection. The list holds secret keys, so it is a file of its own that only
its owner can read, and not part of Blender's preferences, which people pass around.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ..protocol.connection_file import LONGEST, NAME, home_folder, parse_connection
from ..protocol.pairing import Endpoint, PairingError, parse_pairing

log = logging.getLogger(__name__)

THIS_COMPUTER = "This Computer"
_FORMAT = 1


@dataclass(frozen=True)
class Server:
    """One paired server. `pairing` is secret."""

    name: str
    pairing: str

    @property
    def endpoint(self) -> Endpoint:
        """Where it is; raises PairingError where the string cannot be used."""
        return parse_pairing(self.pairing)

    def __repr__(self) -> str:
        return f"Server({self.name!r})"


def connection_file() -> Path:
    """Where the service of this user on this computer says how to reach it; may not exist."""
    return Path(home_folder(os.environ, sys.platform)) / NAME


def local_endpoint(path: Path) -> Endpoint | None:
    """How to reach the service on this computer, None where none says so.

    Args:
        path: The connection file.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return parse_connection(file.read(LONGEST)).endpoint
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, PairingError) as error:
        log.warning("%s cannot be used: %s", path, error)
        return None


class ServerList:
    """Paired servers and the one in use, kept in a file.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path
        self.servers: list[Server] = []
        self.in_use = THIS_COMPUTER
        self._load()

    def names(self) -> list[str]:
        """All that can be chosen, this computer first."""
        return [THIS_COMPUTER, *(server.name for server in self.servers)]

    def endpoint(self, name: str) -> Endpoint | None:
        """Where a server is; None where this computer's service is not there or the name is unknown.

        Raises PairingError where a pairing string cannot be used.
        """
        if name == THIS_COMPUTER:
            return local_endpoint(connection_file())
        server = next((server for server in self.servers if server.name == name), None)
        return None if server is None else server.endpoint

    def add(self, pairing: str, name: str = "") -> Server:
        """Take in a pasted pairing string; the same address again replaces the old entry.

        Raises PairingError with what to do where the text is not one.
        """
        endpoint = parse_pairing(pairing)
        kept = [each for each in self.servers if not _same_place(each, endpoint)]
        taken = {THIS_COMPUTER, *(each.name for each in kept)}
        name = wanted = name.strip() or endpoint.host
        number = 2
        while name in taken:
            name, number = f"{wanted} {number}", number + 1
        server = Server(name, "".join(pairing.split()))
        self.servers = [*kept, server]
        self._save()
        return server

    def remove(self, name: str) -> None:
        """Forget a server."""
        self.servers = [server for server in self.servers if server.name != name]
        if self.in_use == name:
            self.in_use = THIS_COMPUTER
        self._save()

    def use(self, name: str) -> None:
        """Choose the server to talk to; unknown names raise ValueError."""
        if name not in self.names():
            raise ValueError(f"there is no server {name!r}; there are {', '.join(self.names())}")
        self.in_use = name
        self._save()

    def _load(self) -> None:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            if document["format"] != _FORMAT:
                raise ValueError(f"format {document['format']}")
            self.servers = [Server(str(each["name"]), str(each["pairing"])) for each in document["servers"]]
            self.in_use = str(document["in_use"]) if document["in_use"] in self.names() else THIS_COMPUTER
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the list of servers %s cannot be read and starts empty: %s", self.path, error)

    def _save(self) -> None:
        servers = [{"name": server.name, "pairing": server.pairing} for server in self.servers]
        text = json.dumps({"format": _FORMAT, "in_use": self.in_use, "servers": servers}, indent=1)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        # Created for its owner alone from the first byte on; a later chmod would leave a moment for others to read.
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(new, self.path)


def _same_place(server: Server, endpoint: Endpoint) -> bool:
    try:
        known = server.endpoint
    except PairingError:
        return False
    return (known.host, known.port) == (endpoint.host, endpoint.port)
