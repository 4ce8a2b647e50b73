"""Files by hash: pieces, resume, damage, full disks, and what is deleted."""

from __future__ import annotations

import hashlib
import os
import time

import numpy as np
import pytest

from dreamlift.protocol import limits
from dreamlift.protocol.errors import ProtocolError
from dreamlift.service.blobs import Blobs
from dreamlift.service.home import Home

DATA = os.urandom(3000)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    return home


@pytest.fixture
def blobs(home):
    return Blobs(home, 0)


def piece(start, end, data=DATA):
    return np.frombuffer(data[start:end], np.uint8)


def refusal(call, *arguments):
    with pytest.raises(ProtocolError) as caught:
        call(*arguments)
    return caught.value.code


def test_pieces_make_a_blob(blobs):
    assert blobs.have(SHA, 3000) == (0, False)
    assert blobs.add(SHA, 3000, 0, piece(0, 1000)) == (1000, False)
    assert blobs.size(SHA) is None
    assert blobs.add(SHA, 3000, 1000, piece(1000, 3000)) == (3000, True)
    data, size = blobs.read(SHA, 500, 100)
    assert data.tobytes() == DATA[500:600] and size == 3000
    assert blobs.have(SHA, 3000) == (3000, True)


def test_an_upload_goes_on_after_a_restart(home, blobs):
    blobs.add(SHA, 3000, 0, piece(0, 1000))
    after = Blobs(home, 0)
    assert after.have(SHA, 3000) == (1000, False)
    assert after.add(SHA, 3000, 1000, piece(1000, 3000)) == (3000, True)


def test_a_piece_in_the_wrong_place_is_refused(blobs):
    blobs.add(SHA, 3000, 0, piece(0, 1000))
    assert refusal(blobs.add, SHA, 3000, 500, piece(500, 700)) == "wrong_offset"
    assert refusal(blobs.add, SHA, 3000, 2000, piece(2000, 3000)) == "wrong_offset"
    assert refusal(blobs.add, SHA, 3000, 1000, piece(0, 0)) == "wrong_offset"
    assert refusal(blobs.add, SHA, 1500, 1000, piece(1000, 3000)) == "frame_too_large"
    assert refusal(blobs.add, SHA, 2**27, 1000, np.zeros(limits.MAX_CHUNK_BYTES + 1, np.uint8)) == "frame_too_large"


def test_damaged_bytes_never_become_a_blob(blobs):
    wrong = bytes(3000)
    assert refusal(blobs.add, SHA, 3000, 0, piece(0, 3000, wrong)) == "bad_hash"
    assert blobs.size(SHA) is None
    assert blobs.add(SHA, 3000, 0, piece(0, 3000)) == (3000, True)


def test_a_repeated_last_piece_is_no_error(blobs):
    blobs.add(SHA, 3000, 0, piece(0, 3000))
    assert blobs.add(SHA, 3000, 0, piece(0, 3000)) == (3000, True)


def test_an_upload_begun_with_another_size_starts_over(blobs):
    blobs.add(SHA, 9000, 0, piece(0, 3000))
    assert blobs.have(SHA, 3000) == (0, False)


def test_reading_what_is_not_there(blobs):
    assert refusal(blobs.read, SHA, 0, 10) == "unknown_blob"
    blobs.add(SHA, 3000, 0, piece(0, 3000))
    assert refusal(blobs.read, SHA, 3000, 10) == "wrong_offset"


def test_a_full_disk_refuses_uploads(home):
    assert refusal(Blobs(home, 2**60).have, SHA, 10) == "storage_full"


def test_only_old_files_that_nobody_wants_are_deleted(home, blobs):
    other = hashlib.sha256(b"other").hexdigest()
    blobs.add(SHA, 3000, 0, piece(0, 3000))
    blobs.add(other, 5, 0, np.frombuffer(b"othe", np.uint8))
    assert blobs.clean(lambda sha: False, 3600) == 0
    old = time.time() - 7200
    os.utime(home.blob(SHA), (old, old))
    os.utime(home.partial / other, (old, old))
    assert blobs.clean(lambda sha: sha == SHA, 3600) == 1
    assert blobs.size(SHA) == 3000
    assert blobs.clean(lambda sha: False, 3600) == 1
    assert blobs.size(SHA) is None


def test_a_workers_file_moves_in(home, blobs, tmp_path):
    made = tmp_path / "made"
    made.write_bytes(DATA)
    blobs.adopt(made, SHA)
    assert blobs.size(SHA) == 3000 and not made.exists()
