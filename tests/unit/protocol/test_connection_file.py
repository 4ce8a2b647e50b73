"""The connection file's text and where it lies on each system."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from dreamlift.protocol.connection_file import ConnectionFile, format_connection, home_folder, parse_connection
from dreamlift.protocol.pairing import Endpoint, PairingError

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


def test_the_file_is_read_as_it_was_written():
    connection = ConnectionFile(Endpoint("127.0.0.1", 5555, KEY, KEY, KEY), 42, "0.1.0", "ab")
    assert parse_connection(format_connection(connection)) == connection


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", '{"format": 2}', '{"format": 1}', '{"format": 1, "host": 5, "port": 1}']
)
def test_another_text_is_refused(text):
    with pytest.raises(PairingError):
        parse_connection(text)


@pytest.mark.parametrize(
    ("environment", "platform", "folder"),
    [
        ({"DREAMLIFT_HOME": "/x"}, "linux", "/x"),
        ({"HOME": "/home/a"}, "linux", "/home/a/.local/share/dreamlift"),
        ({"HOME": "/home/a", "XDG_DATA_HOME": "/data"}, "linux", "/data/dreamlift"),
        ({"HOME": "/Users/a"}, "darwin", "/Users/a/Library/Application Support/dreamlift"),
        ({"LOCALAPPDATA": "/l"}, "win32", "/l/dreamlift"),
        ({"USERPROFILE": "/u"}, "win32", "/u/AppData/Local/dreamlift"),
    ],
)
def test_the_home_of_each_system(environment, platform, folder):
    assert home_folder(environment, platform) == PurePath(folder)
