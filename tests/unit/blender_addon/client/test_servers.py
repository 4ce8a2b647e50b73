"""The list of servers: kept, private, and robust against what people paste."""

from __future__ import annotations

import os
import stat
import sys

import pytest
from blender_addon.protocol.connection_file import ConnectionFile, format_connection
from blender_addon.protocol.pairing import Endpoint, PairingError, format_pairing

from blender_addon.client.servers import THIS_COMPUTER, ServerList, local_endpoint

KEY = "a" * 40
STUDIO = Endpoint("studio.local", 7451, KEY, KEY, KEY)


def test_a_pasted_line_with_breaks_is_kept_over_a_restart(tmp_path):
    path = tmp_path / "deep" / "servers.json"
    text = format_pairing(STUDIO)
    ServerList(path).add(f"  {text[:30]}\n{text[30:]} ")
    again = ServerList(path)
    assert again.names() == [THIS_COMPUTER, "studio.local"]
    assert again.endpoint("studio.local") == STUDIO


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX")
def test_the_file_is_its_owners_alone(tmp_path):
    servers = ServerList(tmp_path / "servers.json")
    servers.add(format_pairing(STUDIO))
    assert stat.S_IMODE(os.stat(servers.path).st_mode) == 0o600


def test_the_same_address_again_replaces_and_the_same_name_gets_a_number(tmp_path):
    servers = ServerList(tmp_path / "servers.json")
    servers.add(format_pairing(STUDIO), "render")
    servers.add(format_pairing(STUDIO), "render")
    assert servers.names() == [THIS_COMPUTER, "render"]
    servers.add(format_pairing(Endpoint("10.0.0.7", 1, KEY, KEY, KEY)), "render")
    assert servers.names() == [THIS_COMPUTER, "render", "render 2"]


def test_removing_the_one_in_use_goes_back_to_this_computer(tmp_path):
    servers = ServerList(tmp_path / "servers.json")
    servers.add(format_pairing(STUDIO), "studio")
    servers.use("studio")
    assert ServerList(servers.path).in_use == "studio"
    servers.remove("studio")
    assert ServerList(servers.path).in_use == THIS_COMPUTER
    with pytest.raises(ValueError, match="studio"):
        servers.use("studio")


@pytest.mark.parametrize("text", ["", "hello", "dreamlift-1.AAAA.00000000", format_pairing(STUDIO)[:-1]])
def test_what_is_no_pairing_string_is_refused_with_a_sentence(tmp_path, text):
    with pytest.raises(PairingError, match="pairing string"):
        ServerList(tmp_path / "servers.json").add(text)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "in_use": 1, "servers": [1]}'])
def test_a_damaged_list_starts_empty(tmp_path, text):
    path = tmp_path / "servers.json"
    path.write_text(text)
    assert ServerList(path).names() == [THIS_COMPUTER]


def test_the_connection_file_is_read_or_counts_as_missing(tmp_path):
    path = tmp_path / "connection.json"
    assert local_endpoint(path) is None
    path.write_text(format_connection(ConnectionFile(STUDIO, 1)))
    assert local_endpoint(path) == STUDIO
    path.write_bytes(b"\xff\xfe{")
    assert local_endpoint(path) is None


def test_no_secret_is_shown_in_a_log(tmp_path):
    server = ServerList(tmp_path / "servers.json").add(format_pairing(STUDIO))
    assert KEY not in repr(server) and server.pairing not in repr(server)
