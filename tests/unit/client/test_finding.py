"""Finding the server: connection file, pairing string, and what is said when neither works."""

from __future__ import annotations

import pytest

from dreamlift.client.finding import ClientError, find_server
from dreamlift.protocol.connection_file import ConnectionFile, format_connection
from dreamlift.protocol.pairing import Endpoint, format_pairing

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
ENDPOINT = Endpoint("127.0.0.1", 4711, KEY, KEY, KEY)


def refusal(*arguments):
    with pytest.raises(ClientError) as caught:
        find_server(*arguments)
    return caught.value


def test_the_connection_file_of_the_home_is_read(tmp_path, monkeypatch):
    (tmp_path / "connection.json").write_text(format_connection(ConnectionFile(ENDPOINT, 1)))
    assert find_server(home=tmp_path) == ENDPOINT
    monkeypatch.setenv("DREAMLIFT_HOME", str(tmp_path))
    assert find_server() == ENDPOINT


def test_a_pairing_string_wins(tmp_path):
    other = Endpoint("studio", 5, KEY, KEY, KEY)
    (tmp_path / "connection.json").write_text(format_connection(ConnectionFile(ENDPOINT, 1)))
    assert find_server(format_pairing(other), tmp_path) == other


def test_no_server_says_how_to_start_one(tmp_path):
    error = refusal("", tmp_path)
    assert error.code == "no_server" and "dreamlift serve" in error.remedy


def test_a_damaged_file_and_a_bad_string_are_said(tmp_path):
    (tmp_path / "connection.json").write_text("{")
    assert refusal("", tmp_path).code == "no_server"
    (tmp_path / "connection.json").write_bytes(b"\xff\xfe{")  # no UTF-8
    assert refusal("", tmp_path).code == "no_server"
    assert refusal("dreamlift-1.x", tmp_path).code == "bad_pairing"
    assert refusal("nonsense").code == "bad_pairing"
