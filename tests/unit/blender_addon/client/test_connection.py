"""One socket under one conversation, against a real service with keys: let in, not let in, let in no longer."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
import zmq
from blender_addon.protocol import limits
from blender_addon.protocol.conversation import Conversation
from blender_addon.protocol.pairing import Endpoint, parse_pairing
from live_service import LiveService

from blender_addon.client.connection import Connection, Link
from dreamlift.client.finding import find_server
from dreamlift.service.keys import add_client, make_key_pair, revoke_client

KEY = make_key_pair()


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with LiveService(tmp_path_factory.mktemp("home")) as live:
        yield live


@pytest.fixture
def right(live) -> Endpoint:
    found = find_server(home=live.home)
    return Endpoint(found.host, found.port, found.server_key, found.client_public, found.client_secret)


class Tried:
    """A connection to the endpoint that `where` holds; as a context it closes itself."""

    def __init__(self, endpoint: Endpoint):
        self.where = endpoint
        self.context = zmq.Context()
        self.connection = Connection(lambda: self.where, Conversation("test", "0"), self.context)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.context.term()

    def until(self, condition, seconds=20.0):
        """Tick until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.connection.link, self.connection.error)
            self.connection.tick(time.monotonic())
            time.sleep(0.01)

    def becomes(self, link: Link) -> Connection:
        """Wait for a link."""
        self.until(lambda: self.connection.link is link)
        return self.connection


def test_a_key_that_the_server_does_not_know_is_said_and_knocks_no_more(right):
    with Tried(replace(right, client_public=KEY.public, client_secret=KEY.secret)) as tried:
        connection = tried.becomes(Link.REFUSED)
        assert "refuses this computer's key" in connection.error and "dreamlift keys add" in connection.error
        assert connection._socket is None
        for _ in range(5):
            connection.tick(time.monotonic() + 60)
        assert connection.link is Link.REFUSED and connection._socket is None


def test_a_server_with_other_keys_is_said(right):
    with Tried(replace(right, server_key=KEY.public)) as tried:
        assert "not the server of this key" in tried.becomes(Link.REFUSED).error


def test_try_again_and_a_new_address_connect_anew(right):
    with Tried(replace(right, server_key=KEY.public)) as tried:
        tried.becomes(Link.REFUSED)
        tried.connection.retry()
        assert tried.connection.link is Link.CONNECTING and tried.connection.error == ""
        tried.becomes(Link.REFUSED)
        tried.where = right  # the connection file was written again
        tried.becomes(Link.ONLINE)
        assert tried.connection.why_not() == "" and tried.connection.error == ""


def test_a_key_that_is_taken_off_the_list_is_noticed_by_the_connection_that_stands(live, right, monkeypatch):
    monkeypatch.setattr(limits, "SERVER_SILENCE_SECONDS", 3.0)
    pairing = add_client(live.home, "studio", "127.0.0.1", right.port)
    with Tried(parse_pairing(pairing)) as tried:
        tried.becomes(Link.ONLINE)
        revoke_client(live.home, "studio")
        assert "refuses" in tried.becomes(Link.REFUSED).error


def test_while_nobody_is_there_it_says_where_it_looks(right):
    with Tried(replace(right, port=1)) as tried:
        tried.until(lambda: tried.connection.link is Link.CONNECTING)
        assert "Nobody listens at 127.0.0.1:1." in tried.connection.why_not()


def test_no_thread_of_python_is_started(right):
    before = threading.active_count()
    with Tried(right) as tried:
        tried.becomes(Link.ONLINE)
        assert threading.active_count() == before
