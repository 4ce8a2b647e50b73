"""The private channel's paths: only ids and hashes become part of one."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from dreamlift.protocol import worker_channel

HOME = PurePosixPath("/home")


def test_places_under_the_home():
    assert str(worker_channel.blob_path(HOME, "ab" * 32)) == "/home/blobs/ab/" + "ab" * 32
    assert str(worker_channel.attempt_folder(HOME, "0123456789abcdef", 2)) == "/home/jobs/0123456789abcdef/attempt-2"


@pytest.mark.parametrize("name", ["", "..", "../../x", "0123456789ABCDEF", "0123456789abcde/", "0123456789abcdef\n"])
def test_nothing_else_becomes_a_path(name):
    with pytest.raises(ValueError, match="path"):
        worker_channel.job_folder(HOME, name)
    with pytest.raises(ValueError, match="path"):
        worker_channel.blob_path(HOME, name)
