"""Pairing strings: everything another computer needs to connect, as one line to paste.

Knows how to write and read them. Makes no keys and opens no connections (the service and the clients' glue do).
The string holds a secret: whoever reads it can connect until it is revoked. docs/protocol.md section 8.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

import msgpack

PREFIX = "dreamlift-1."
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}\Z")
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")
LONGEST = 1000


class PairingError(ValueError):
    """A pairing string or connection file that cannot be used, in words to act on."""


@dataclass(frozen=True)
class Endpoint:
    """Where a service listens and the keys to talk to it.

    Args:
        host: Name or address, without brackets.
        port: TCP port, 1 to 65535.
        server_key: The service's public CURVE key, 40 characters of Z85; "" where the service runs without keys.
        client_public: This client's public key.
        client_secret: This client's secret key.
    """

    host: str
    port: int
    server_key: str = ""
    client_public: str = ""
    client_secret: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) or not _HOST.match(self.host):
            raise PairingError(f"{self.host!r} is not a host name or address.")
        if type(self.port) is not int or not 1 <= self.port <= 65535:
            raise PairingError(f"{self.port!r} is not a TCP port; it must be a number from 1 to 65535.")
        keys = (self.server_key, self.client_public, self.client_secret)
        if any(keys) and not all(isinstance(key, str) and _Z85.match(key) for key in keys):
            raise PairingError("A key is not 40 characters of Z85; copy the whole text again.")

    @property
    def is_encrypted(self) -> bool:
        """True where CURVE is used."""
        return bool(self.server_key)

    @property
    def address(self) -> str:
        """The ZeroMQ address, with brackets round an IPv6 host."""
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Endpoint({self.host}:{self.port}, {'CURVE' if self.is_encrypted else 'no keys'})"  # no secrets in logs


def format_pairing(endpoint: Endpoint) -> str:
    """One line without spaces: prefix, base64url of a msgpack list, 8 hex digits of its SHA-256."""
    fields = [endpoint.host, endpoint.port, endpoint.server_key, endpoint.client_public, endpoint.client_secret]
    packed = msgpack.packb(fields)
    text = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    return f"{PREFIX}{text}.{hashlib.sha256(packed).hexdigest()[:8]}"


def parse_pairing(text: str) -> Endpoint:
    """Read a pairing string; spaces and line breaks that came with the paste are dropped.

    Raises:
        PairingError: Not a pairing string, cut off or mistyped.
    """
    text = "".join(text.split())
    if not text.startswith(PREFIX) or len(text) > LONGEST:
        raise PairingError(
            f"A pairing string starts with {PREFIX}; copy the whole line that `dreamlift keys add` printed."
        )
    payload, _, check = text[len(PREFIX) :].partition(".")
    try:
        packed = base64.b64decode(payload + "=" * (-len(payload) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise PairingError("The pairing string has a character that does not belong there; copy it again.") from error
    if hashlib.sha256(packed).hexdigest()[:8] != check:
        raise PairingError("The pairing string is cut off or mistyped; copy the whole line again.")
    try:
        fields = msgpack.unpackb(packed, max_str_len=300, max_array_len=8, max_map_len=0, max_bin_len=0, max_ext_len=0)
    except (ValueError, msgpack.UnpackException) as error:
        raise PairingError("The pairing string's content is not readable; make a new one.") from error
    if not isinstance(fields, list) or len(fields) != 5:
        raise PairingError("The pairing string was made by another version; make a new one there.")
    return Endpoint(*fields)
