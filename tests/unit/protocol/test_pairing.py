"""Pairing strings: what is written is read again, and what was mistyped is refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamlift.protocol.pairing import PREFIX, Endpoint, PairingError, format_pairing, parse_pairing

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
ENDPOINT = Endpoint("studio.example", 47826, KEY, KEY[::-1], KEY)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "studio.example", "fe80::1%eth0"])
def test_a_pairing_string_is_read_as_it_was_written(host):
    endpoint = Endpoint(host, 1234, KEY, KEY, KEY)
    text = format_pairing(endpoint)
    assert parse_pairing(text) == endpoint
    assert len(text.split()) == 1


def test_line_breaks_and_spaces_of_a_paste_are_dropped():
    text = format_pairing(ENDPOINT)
    assert parse_pairing(f"  {text[:40]}\n  {text[40:]} \n") == ENDPOINT


def test_ipv6_gets_brackets():
    assert Endpoint("::1", 5).address == "tcp://[::1]:5"
    assert Endpoint("127.0.0.1", 5).address == "tcp://127.0.0.1:5"


def test_secrets_do_not_show_in_logs():
    assert KEY not in repr(ENDPOINT)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.characters(codec="ascii"))
def test_a_changed_character_is_noticed(position, character):
    text = format_pairing(ENDPOINT)
    position %= len(text)
    changed = text[:position] + character + text[position + 1 :]
    if "".join(changed.split()) != text:
        try:
            assert parse_pairing(changed) == ENDPOINT  # base64 padding bits carry nothing
        except PairingError:
            pass


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    for candidate in (text, PREFIX + text, PREFIX + text + ".00000000"):
        with pytest.raises(PairingError):
            parse_pairing(candidate)


@pytest.mark.parametrize(
    "fields",
    [
        ("", 1),
        ("a b", 1),
        ("host/path", 1),
        ("host", 0),
        ("host", 65536),
        ("host", "1"),
        ("host", 1, KEY),
        ("host", 1, "short", KEY, KEY),
    ],
)
def test_an_impossible_endpoint_is_refused(fields):
    with pytest.raises(PairingError):
        Endpoint(*fields)
