"""Keys: made once, kept private, listed, revoked, expired."""

from __future__ import annotations

import json
import stat
import sys
import time

import pytest
import zmq

from dreamlift.protocol.pairing import PairingError, parse_pairing
from dreamlift.service.home import Home
from dreamlift.service.keys import (
    LOCAL_NAME,
    UNUSED_SECONDS,
    KeyRing,
    add_client,
    list_clients,
    make_key_pair,
    revoke_client,
)
from dreamlift.service.settings import ServiceError


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def refusal(call, *arguments):
    with pytest.raises(ServiceError) as caught:
        call(*arguments)
    return caught.value.code


def test_the_first_start_makes_keys_and_the_next_keeps_them(home):
    ring = KeyRing(home)
    again = KeyRing(home)
    assert (ring.server, ring.local) == (again.server, again.local)
    assert zmq.curve_public(ring.server.secret.encode()).decode() == ring.server.public
    assert ring.allows(ring.local.public)
    assert not ring.allows(make_key_pair().public)
    assert not ring.allows("")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the user's folder private by ACL")
def test_keys_can_be_read_by_their_owner_alone(home):
    KeyRing(home)
    for path in [home.root, home.keys, *home.keys.iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_pairing_string_lets_another_computer_in(home):
    endpoint = parse_pairing(add_client(home.root, "studio", "10.0.0.5", 47826))
    ring = KeyRing(home)
    assert (endpoint.host, endpoint.port, endpoint.server_key) == ("10.0.0.5", 47826, ring.server.public)
    assert zmq.curve_public(endpoint.client_secret.encode()).decode() == endpoint.client_public
    assert ring.allows(endpoint.client_public)
    assert [client.name for client in list_clients(home.root)] == [LOCAL_NAME, "studio"]


def test_a_running_ring_notices_what_the_command_line_changes(home):
    ring = KeyRing(home)
    endpoint = parse_pairing(add_client(home.root, "studio", "h", 1))
    ring.refresh()
    assert ring.allows(endpoint.client_public)
    assert ring.name_of(endpoint.client_public) == "studio"
    revoke_client(home.root, "studio")
    ring.refresh()
    assert not ring.allows(endpoint.client_public)


def test_an_unused_key_expires_and_a_used_one_does_not(home):
    ring = KeyRing(home)
    unused, used = ring.add("unused"), ring.add("used")
    assert ring.allows(used.public)
    stored = json.loads((home.keys / "clients.json").read_text())
    for entry in stored["clients"]:
        entry["created"] = time.time() - UNUSED_SECONDS - 1
    (home.keys / "clients.json").write_text(json.dumps(stored))
    later = KeyRing(home)
    assert not later.allows(unused.public)
    assert later.allows(used.public)
    assert later.allows(later.local.public), "this account's own key does not expire"


def test_names_are_checked(home):
    assert refusal(add_client, home.root, "../x", "h", 1) == "bad_name"
    add_client(home.root, "studio", "h", 1)
    assert refusal(add_client, home.root, "studio", "h", 1) == "name_taken"
    assert refusal(revoke_client, home.root, "nobody") == "unknown_name"
    assert refusal(revoke_client, home.root, LOCAL_NAME) == "local_key"
    assert refusal(add_client, home.root, "other", "h") == "no_port"
    with pytest.raises(PairingError):
        add_client(home.root, "other", "a host", 1)
    assert len(list_clients(home.root)) == 2


def test_the_port_of_the_last_run_is_used(home):
    home.last_port.write_text("4711")
    assert parse_pairing(add_client(home.root, "studio", "h")).port == 4711


@pytest.mark.parametrize("name", ["server.json", "clients.json"])
def test_a_damaged_file_is_said(home, name):
    KeyRing(home)
    (home.keys / name).write_text("{")
    with pytest.raises(ServiceError, match=name):
        KeyRing(home)


def test_secrets_do_not_show(home):
    ring = KeyRing(home)
    assert ring.local.secret not in repr(ring.local)


@pytest.mark.parametrize("damaged", ["{", '{"clients": [{"name": "x"}]}', '{"clients": 5}', "[]"])
def test_a_list_that_is_damaged_while_the_service_runs_locks_others_out_and_ends_nothing(home, caplog, damaged):
    studio = parse_pairing(add_client(home.root, "studio", "10.0.0.5", 47826))
    ring = KeyRing(home)
    assert ring.allows(studio.client_public)
    good = (home.keys / "clients.json").read_text()
    (home.keys / "clients.json").write_text(damaged)
    ring.refresh()
    assert not ring.allows(studio.client_public) and ring.allows(ring.local.public)
    assert "clients.json" in caplog.text and "only this computer" in caplog.text
    (home.keys / "clients.json").write_text(good)
    ring.refresh()
    assert ring.allows(studio.client_public)


def test_a_key_is_let_in_though_its_first_use_cannot_be_noted(home, caplog):
    studio = parse_pairing(add_client(home.root, "studio", "10.0.0.5", 47826))
    ring = KeyRing(home)
    (home.keys / "used.json").unlink(missing_ok=True)
    (home.keys / "used.json").mkdir()  # no file can be put in its place
    assert ring.allows(studio.client_public)
    assert "first use of studio" in caplog.text
