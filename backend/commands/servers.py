"""Where servers are: the one of this computer, those that were paired under a name, and pairing strings.

Knows files. Opens no connection. The list holds secret keys, so only its owner can read it. The extension keeps a list
of its own: it must work without this package.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from dreamlift.commands.outcomes import CommandError, Exit
from dreamlift.protocol.pairing import PREFIX, Endpoint, PairingError, parse_pairing
from dreamlift.service.home import write_private
from dreamlift.service.settings import default_home

LOCAL = "local"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def server_argument(where: str) -> str:
    """What `dreamlift.client.Client` takes as its server.

    Args:
        where: "local", a pairing string, or a name that `pair_server` stored.

    Returns:
        A pairing string, or "" for the server of this computer.

    Raises:
        CommandError: with the exit code UNREACHABLE where no such server is known.
    """
    if where == LOCAL:
        return ""
    if where.startswith(PREFIX):
        return where
    servers = paired_servers()
    if where not in servers:
        known = ", ".join([LOCAL, *servers])
        remedy = f"There are: {known}. Name another with `dreamlift keys pair {_suggested(where)} 'dreamlift-1...'`."
        raise CommandError(f"No server is called {where!r}.", remedy, "unknown_server", Exit.UNREACHABLE)
    return servers[where]


def paired_servers() -> dict[str, str]:
    """Pairing strings by name, in the order of pairing."""
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        what = f"{_file()} is damaged ({error})."
        raise CommandError(what, "Delete it and pair again.", "bad_servers") from error
    return dict(content.get("servers", {}))


def pair_server(name: str, pairing: str) -> Endpoint:
    """Remember a server under a name; the same name again replaces it.

    Args:
        name: Letters, digits, dots and dashes; not "local".
        pairing: What `dreamlift keys add` printed on the server.

    Returns:
        Where it is.

    Raises:
        CommandError: the name or the string cannot be used.
    """
    if not _NAME.match(name) or name == LOCAL:
        raise CommandError(f"{name!r} is not a name for a server.", "Use letters, digits, dots and dashes.", "bad_name")
    endpoint = _parsed(pairing)
    _write({**paired_servers(), name: "".join(pairing.split())})
    return endpoint


def forget_server(name: str) -> None:
    """Drop a paired server. Raises CommandError where there is none of that name."""
    servers = paired_servers()
    if name not in servers:
        known = ", ".join(servers) or "none"
        raise CommandError(f"No server is called {name!r}.", f"There are: {known}.", "unknown_server")
    del servers[name]
    _write(servers)


def _parsed(pairing: str) -> Endpoint:
    try:
        return parse_pairing(pairing)
    except PairingError as error:
        raise CommandError(str(error), "", "bad_pairing") from error


def _suggested(where: str) -> str:
    return where if _NAME.match(where) else "NAME"


def _file() -> Path:
    return default_home() / "servers.json"


def _write(servers: dict[str, str]) -> None:
    _file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(_file(), json.dumps({"format": 1, "servers": servers}, indent=1))
