"""The monitor's events, in the orders in which libzmq 4.3.5 was seen to send them, and the reason they make."""

from __future__ import annotations

import struct

import pytest
import zmq

from dreamlift.protocol import handshake
from dreamlift.protocol.handshake import Handshake, Reason, sentences
from dreamlift.protocol.pairing import Endpoint

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
CONNECT, CLOSE, LEAVE, GOOD = handshake.CONNECTED, handshake.CLOSED, handshake.DISCONNECTED, handshake.SUCCEEDED
BROKEN = (CONNECT, handshake.FAILED_NO_DETAIL, LEAVE)


def reason(*told) -> Reason | None:
    """Events, or (event, value)."""
    followed = Handshake()
    for event in told:
        number, value = event if isinstance(event, tuple) else (event, 0)
        followed.take([struct.pack("=HI", number, value), b"tcp://127.0.0.1:1"])
    return followed.reason


def test_the_numbers_are_pyzmqs():
    for name, number in (
        ("CONNECTED", handshake.CONNECTED),
        ("CLOSED", handshake.CLOSED),
        ("DISCONNECTED", handshake.DISCONNECTED),
        ("HANDSHAKE_FAILED_NO_DETAIL", handshake.FAILED_NO_DETAIL),
        ("HANDSHAKE_SUCCEEDED", handshake.SUCCEEDED),
        ("HANDSHAKE_FAILED_PROTOCOL", handshake.FAILED_PROTOCOL),
        ("HANDSHAKE_FAILED_AUTH", handshake.FAILED_AUTH),
    ):
        assert zmq.Event[name] == number and handshake.EVENTS & number


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((), Reason.NOBODY),
        ((CLOSE, CLOSE), Reason.NOBODY),
        ((CONNECT,), Reason.SILENT),
        ((CONNECT, GOOD), None),
        ((CONNECT, GOOD, LEAVE), Reason.NOBODY),
        ((CONNECT, GOOD, LEAVE, CONNECT, GOOD), None),
        ((CONNECT, (handshake.FAILED_AUTH, 400), LEAVE), Reason.REFUSED),
        ((CONNECT, (handshake.FAILED_AUTH, 300), LEAVE), Reason.NOBODY),  # the server asks to come again
        (BROKEN * 2, Reason.NOBODY),
        (BROKEN * 3, Reason.STRANGER),
        ((*BROKEN * 3, CONNECT), Reason.STRANGER),
        ((*BROKEN * 2, CLOSE, *BROKEN), Reason.NOBODY),  # a server that ends and starts breaks off now and then
        ((*BROKEN * 3, CONNECT, GOOD), None),
        ((CONNECT, handshake.FAILED_PROTOCOL, LEAVE), Reason.STRANGER),
    ],
)
def test_events_make_a_reason(told, expected):
    assert reason(*told) is expected


@pytest.mark.parametrize("endpoint", [Endpoint("studio", 47826, KEY, KEY, KEY), Endpoint("studio", 47826)])
@pytest.mark.parametrize("each", [None, *Reason])
def test_every_reason_has_its_words(each, endpoint):
    what, remedy = sentences(each, endpoint)
    assert "studio:47826" in what and what.endswith(".") and remedy[-1] in ".?"
    assert len(what) + len(remedy) < 170, "it must fit into six lines of the panel"
    assert KEY not in what + remedy
