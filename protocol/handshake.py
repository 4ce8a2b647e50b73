"""Why a connection does not come about: what libzmq's socket monitor tells, folded into one reason for people.

Knows the monitor's frames (zmq_socket_monitor(3)) and words. Knows no sockets: the extension and the command line's
client each own one, ask it for `EVENTS` and give what comes to `Handshake`. docs/protocol.md section 8.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence

from .pairing import Endpoint

# The events' numbers in libzmq's zmq.h.
CONNECTED, CLOSED, DISCONNECTED = 0x0001, 0x0080, 0x0200
FAILED_NO_DETAIL, SUCCEEDED, FAILED_PROTOCOL, FAILED_AUTH = 0x0800, 0x1000, 0x2000, 0x4000
EVENTS = CONNECTED | CLOSED | DISCONNECTED | FAILED_NO_DETAIL | SUCCEEDED | FAILED_PROTOCOL | FAILED_AUTH

TRY_LATER = 300  # the ZAP status of a server that cannot say at the moment; libzmq then tries again by itself
FAILURES = 3  # handshakes in a row that must break off: one alone also happens when a server is just ending


class Reason(enum.Enum):
    """Why there is no connection."""

    NOBODY = "nobody"  # no TCP connection
    SILENT = "silent"  # a TCP connection, and then nothing
    STRANGER = "stranger"  # whoever is there breaks off: other keys, or another program
    REFUSED = "refused"  # the right server, which does not let this key in


class Handshake:
    """Follows one socket from `connect` on. `reason` is None while the connection stands."""

    def __init__(self):
        self.reason: Reason | None = Reason.NOBODY
        self._failures = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether waiting changes nothing: these keys do not fit this server."""
        return self.reason in (Reason.STRANGER, Reason.REFUSED)

    def take(self, frames: Sequence[bytes]) -> None:
        """Take in one message of the monitor socket: event and value in the first frame, the address in the second."""
        event, value = struct.unpack("=HI", frames[0])
        if event == SUCCEEDED:
            self.reason, self._failures = None, 0
        elif event == CLOSED:
            self.reason, self._failures = Reason.NOBODY, 0
        elif event == CONNECTED and self.reason is Reason.NOBODY:
            self.reason = Reason.SILENT
        elif event == DISCONNECTED and self.reason in (None, Reason.SILENT):
            self.reason = Reason.NOBODY
        elif event == FAILED_AUTH and value != TRY_LATER:
            self.reason = Reason.REFUSED
        elif event == FAILED_PROTOCOL:  # the two speak differently (one with keys, one without): libzmq tries no more
            self.reason = Reason.STRANGER
        elif event == FAILED_NO_DETAIL:
            self._failures += 1
            if self._failures >= FAILURES:
                self.reason = Reason.STRANGER


def sentences(reason: Reason | None, endpoint: Endpoint) -> tuple[str, str]:
    """What is wrong and what to do, one sentence each.

    Args:
        reason: Of a `Handshake`; None where the connection stands and the server says nothing all the same.
        endpoint: Where the client tried.
    """
    where = f"{endpoint.host}:{endpoint.port}"
    if reason is Reason.REFUSED:
        return (
            f"The server at {where} refuses this computer's key.",
            "Make a new one there with `dreamlift keys add NAME` and pair again.",
        )
    if reason is Reason.STRANGER and not endpoint.is_encrypted:
        return (
            f"Whoever listens at {where} wants a key, and there is none.",
            "Pair with that server, or start it again.",
        )
    if reason is Reason.STRANGER:
        return (
            f"Whoever listens at {where} is not the server of this key.",
            "Start that server again, or pair with it anew: `dreamlift keys add NAME` there.",
        )
    if reason is Reason.SILENT:
        return (
            f"{where} takes the connection and then says nothing.",
            "It is another program, or a server that hangs: look at its log and start it again.",
        )
    if reason is None:
        return f"The server at {where} is connected but does not answer.", "Look at its log, or start it again."
    return (
        f"Nobody listens at {where}.",
        "Is `dreamlift serve` running there, and does a firewall let this port through?",
    )
