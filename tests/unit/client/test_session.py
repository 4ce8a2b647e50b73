"""Why a client cannot get in, in words, at a real service with keys. What it does once it is in: test_server.py."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from live_service import LiveService

from dreamlift.client import session
from dreamlift.client.finding import ClientError, find_server
from dreamlift.client.session import Client
from dreamlift.protocol import limits
from dreamlift.protocol.messages import JobRequest
from dreamlift.protocol.pairing import Endpoint, format_pairing
from dreamlift.service.keys import add_client, make_key_pair, revoke_client

KEY = make_key_pair()


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with LiveService(tmp_path_factory.mktemp("home")) as live:
        yield live


@pytest.fixture
def right(live) -> Endpoint:
    return find_server(home=live.home)


def refusal(endpoint: Endpoint, wait: float = 30.0) -> ClientError:
    with pytest.raises(ClientError) as caught:
        Client(format_pairing(endpoint), wait=wait)
    return caught.value


def test_a_key_that_the_server_does_not_know_is_said(right):
    error = refusal(replace(right, client_public=KEY.public, client_secret=KEY.secret))
    assert error.code == "key_refused" and str(right.port) in error.what and "dreamlift keys add" in error.remedy


def test_a_server_with_other_keys_is_said(right):
    error = refusal(replace(right, server_key=KEY.public))
    assert error.code == "wrong_server" and "not the server of this key" in error.what


def test_a_server_that_wants_keys_is_said(right):
    error = refusal(Endpoint(right.host, right.port))
    assert error.code == "wrong_server" and "wants a key" in error.what


def test_a_program_that_takes_connections_and_says_nothing_is_said(right):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        error = refusal(replace(right, port=mute.getsockname()[1]), wait=0.5)
    assert error.code == "no_answer" and "says nothing" in error.what


def test_a_port_where_nobody_listens_is_said(right):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refusal(replace(right, port=port), wait=0.5)
    assert error.code == "no_answer" and "Nobody listens" in error.what and "dreamlift serve" in error.remedy


def test_a_key_that_is_revoked_while_its_client_waits_for_a_job_ends_the_waiting(live, right, monkeypatch):
    monkeypatch.setattr(limits, "SERVER_SILENCE_SECONDS", 3.0)
    pairing = add_client(live.home, "studio", "127.0.0.1", right.port)
    with Client(pairing) as client:
        job = client.submit(JobRequest(prompt="steps=1000 pause=0.05"))
        following = client.follow(job)
        next(following)
        revoke_client(live.home, "studio")
        with pytest.raises(ClientError) as caught:
            for _ in following:
                continue
    assert caught.value.code == "key_refused"
    with live.client() as local:
        local.cancel(job)
        local.wait(job, 60)


def test_a_connection_file_that_is_renewed_in_time_is_followed(live, right, tmp_path, monkeypatch):
    """A service that lost its keys takes its old port before it writes the new file: the old one names a stranger."""
    good = (live.home / "connection.json").read_text()
    (tmp_path / "connection.json").write_text(good.replace(right.server_key, KEY.public))
    found = []

    def find_and_renew(server, home):
        found.append(find_server(server, home))
        (tmp_path / "connection.json").write_text(good)
        return found[-1]

    monkeypatch.setattr(session, "find_server", find_and_renew)
    with Client(home=tmp_path, wait=30.0) as client:
        assert client.welcome.server == "dreamlift"
    assert found[0].server_key == KEY.public and found[-1] == right
