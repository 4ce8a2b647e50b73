"""CURVE keys: the service's own, this account's client key, and the list of clients that may come in.

Knows files under `home.keys` and pairing strings. Knows no sockets; `zap` asks `KeyRing.allows`. The command line's
`dreamlift keys` stands on `add_client`, `list_clients` and `revoke_client`. Threat model: docs/protocol.md section 8.
"""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

import zmq

from dreamlift.protocol.pairing import Endpoint, PairingError, format_pairing
from dreamlift.service.home import Home, read_connection, write_private
from dreamlift.service.settings import ServiceError

LOCAL_NAME = "this-computer"
UNUSED_SECONDS = 24 * 3600.0  # a paired key that was never used expires after this long
_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair, Z85 text."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyPair({self.public[:8]}...)"


@dataclass(frozen=True)
class ClientKey:
    """One client that may come in.

    Args:
        name: Chosen by the owner of the service.
        public: Its public key.
        created: Seconds since 1970.
        used: When it was first used; 0.0 for never.
    """

    name: str
    public: str
    created: float
    used: float = 0.0

    def is_expired(self, now: float) -> bool:
        """True for a paired key that nobody used in time."""
        return self.name != LOCAL_NAME and not self.used and now - self.created > UNUSED_SECONDS


def make_key_pair() -> KeyPair:
    """A new random CURVE key pair."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


class KeyRing:
    """The keys of one home. Reads the list again when the command line changed it.

    Args:
        home: Prepared folders.
    """

    def __init__(self, home: Home):
        self._clients_file = home.keys / "clients.json"
        self._used_file = home.keys / "used.json"
        self.server = _key_pair(home.keys / "server.json")
        self.local = _key_pair(home.keys / "local.json")
        self._stamp: tuple[int, int] | None = None
        self._clients: dict[str, ClientKey] = {}  # by public key
        if not any(client.public == self.local.public for client in self.clients()):
            others = [client for client in self.clients() if client.name != LOCAL_NAME]
            self._write([*others, ClientKey(LOCAL_NAME, self.local.public, time.time())])

    def clients(self) -> list[ClientKey]:
        """Everybody on the list, expired ones too, oldest first."""
        self.refresh()
        return sorted(self._clients.values(), key=lambda client: client.created)

    def refresh(self) -> None:
        """Read the list if its file changed.

        Raises ServiceError "bad_keys" at the first reading. Later a damaged file is logged, and only this account may
        come in until it is mended: a running service goes on with its jobs, and no revoked key comes back.
        """
        stamp = _stamp(self._clients_file)
        if stamp == self._stamp:
            return
        try:
            self._clients = self._read()
        except ServiceError as error:
            if not self._clients:
                raise
            _log.error("%s Until then only this computer is let in.", error)
            self._clients = {key: client for key, client in self._clients.items() if client.name == LOCAL_NAME}
        self._stamp = stamp

    def _read(self) -> dict[str, ClientKey]:
        used = _read_json(self._used_file)
        try:
            entries = _read_json(self._clients_file).get("clients", [])
            return {
                entry["public"]: ClientKey(
                    entry["name"], entry["public"], float(entry["created"]), float(used.get(entry["public"], 0.0))
                )
                for entry in entries
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = f"{self._clients_file} has an entry that cannot be read ({type(error).__name__}: {error})."
            raise ServiceError("bad_keys", what, "Restore it or delete it and pair again.") from error

    def allows(self, public: str) -> bool:
        """Whether a key may come in now. Notes its first use."""
        client = self._clients.get(public)
        now = time.time()
        if client is None or client.is_expired(now):
            return False
        if not client.used:
            self._clients[public] = ClientKey(client.name, public, client.created, now)
            used = {key: known.used for key, known in self._clients.items() if known.used}
            try:
                write_private(self._used_file, json.dumps(used))
            except OSError as error:  # a full disk keeps nobody out; the key only counts as unused after a restart
                _log.error("the first use of %s cannot be noted: %s", client.name, error)
        return True

    def name_of(self, public: str) -> str:
        """The name behind a public key, for the log."""
        return self._clients[public].name if public in self._clients else "?"

    def add(self, name: str) -> KeyPair:
        """Make a key pair and put its public half on the list.

        Raises:
            ServiceError: "bad_name" or "name_taken".
        """
        if not _NAME.match(name):
            raise ServiceError("bad_name", f"{name!r} is not a name.", "Use letters, digits, dots and dashes.")
        if any(client.name == name for client in self.clients()):
            raise ServiceError("name_taken", f"A key named {name} exists.", "Revoke it first or use another name.")
        pair = make_key_pair()
        self._write([*self.clients(), ClientKey(name, pair.public, time.time())])
        return pair

    def revoke(self, name: str) -> None:
        """Take a name off the list.

        Raises:
            ServiceError: "unknown_name", or "local_key" for this account's own.
        """
        clients = self.clients()
        if name == LOCAL_NAME:
            raise ServiceError("local_key", "This account's own key stays.", "Delete the keys folder to make all new.")
        if not any(client.name == name for client in clients):
            known = ", ".join(client.name for client in clients)
            raise ServiceError("unknown_name", f"There is no key named {name}.", f"There are: {known}.")
        self._write([client for client in clients if client.name != name])

    def _write(self, clients: list[ClientKey]) -> None:
        entries = [{"name": c.name, "public": c.public, "created": c.created} for c in clients]
        write_private(self._clients_file, json.dumps({"format": 1, "clients": entries}, indent=1))
        self._stamp = None
        self.refresh()


def add_client(root: Path, name: str, host: str, port: int = 0) -> str:
    """Let another computer in. Works while the service runs and while it does not.

    Args:
        root: The service's home.
        name: For the list, such as "studio-laptop".
        host: Name or address under which that computer reaches this one.
        port: The service's TCP port; 0 takes the one it used last.

    Returns:
        A pairing string. It holds a secret.

    Raises:
        ServiceError: the name is bad or taken, or the port is not known yet.
        PairingError: the host is not one.
    """
    home = _prepared(root)
    port = port or last_port(home)
    if not port:
        raise ServiceError("no_port", "The service has not run yet, so its port is not known.", "Give --port.")
    Endpoint(host, port)  # refuses a bad host before a key is made
    ring = KeyRing(home)
    pair = ring.add(name)
    return format_pairing(Endpoint(host, port, ring.server.public, pair.public, pair.secret))


def list_clients(root: Path) -> list[ClientKey]:
    """Every client on the list of this home, oldest first."""
    return KeyRing(_prepared(root)).clients()


def revoke_client(root: Path, name: str) -> None:
    """Take a client off the list; a running service notices within a second. Raises ServiceError for unknown names."""
    KeyRing(_prepared(root)).revoke(name)


def last_port(home: Home) -> int:
    """The port the service used last; 0 before its first start."""
    try:
        return read_connection(home).endpoint.port
    except PairingError:
        pass  # not running: the number beside it is older and lasts longer
    try:
        return int(home.last_port.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0


def _prepared(root: Path) -> Home:
    home = Home(root)
    home.prepare()
    return home


def _key_pair(path: Path) -> KeyPair:
    if not path.exists():
        pair = make_key_pair()
        write_private(path, json.dumps({"public": pair.public, "secret": pair.secret}))
    stored = _read_json(path)
    try:
        return KeyPair(stored["public"], stored["secret"])
    except KeyError as error:
        raise ServiceError(
            "bad_keys", f"{path} holds no key pair.", "Delete it; paired clients must pair again."
        ) from error


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ServiceError("bad_keys", f"{path} is damaged.", "Restore it or delete it and pair again.") from error


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino
