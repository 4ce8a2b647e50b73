"""Pieces of uploads and downloads, and the check of the whole."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from dreamlift.protocol import limits
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.messages import Artifact, Chunk
from dreamlift.protocol.transfers import Download, Upload

DATA = bytes(range(256)) * 10
SIZE = len(DATA)
SHA = hashlib.sha256(DATA).hexdigest()
ARTIFACT = Artifact(name="asset.glb", media_type="model/gltf-binary", size=len(DATA), sha256=SHA)


def chunk(offset, data, size=SIZE, sha=SHA):
    return Chunk(sha256=sha, offset=offset, size=size, data=np.frombuffer(data, np.uint8))


def test_the_pieces_of_an_upload_make_the_whole():
    upload = Upload(DATA)
    assert (upload.query().sha256, upload.query().size) == (SHA, len(DATA))
    pieces = [upload.piece(offset, 1000) for offset in range(0, len(DATA), 1000)]
    assert b"".join(piece.data.tobytes() for piece in pieces) == DATA


@pytest.mark.parametrize("size", [0, limits.MAX_BLOB_BYTES + 1])
def test_an_impossible_upload_is_refused(size, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BLOB_BYTES", 1000)
    with pytest.raises(ProtocolError):
        Upload(bytes(min(size, 1001)))


def test_a_download_writes_the_pieces_in_order_and_checks_the_whole():
    written = []
    download = Download(ARTIFACT, lambda data: written.append(bytes(data)))
    assert download.add(chunk(0, DATA[:100]))
    assert not download.add(chunk(0, DATA[:100])), "a repeated answer is not written twice"
    assert not download.is_complete
    assert download.query().offset == 100
    assert download.add(chunk(100, DATA[100:]))
    download.check()
    assert download.is_complete and b"".join(written) == DATA


def test_a_download_goes_on_where_an_earlier_one_stopped():
    written = []
    download = Download(ARTIFACT, lambda data: written.append(bytes(data)), 500, hashlib.sha256(DATA[:500]))
    download.add(chunk(500, DATA[500:]))
    download.check()
    assert b"".join(written) == DATA[500:]


def test_damage_is_noticed():
    download = Download(ARTIFACT, lambda data: None)
    download.add(chunk(0, DATA[:-1] + b"x"))
    with pytest.raises(ProtocolError) as caught:
        download.check()
    assert caught.value.code == "bad_hash"


@pytest.mark.parametrize("piece", [chunk(0, DATA, size=5), chunk(0, b""), chunk(0, DATA + b"x")])
def test_a_server_that_changes_its_mind_is_refused(piece):
    with pytest.raises(ProtocolError):
        Download(ARTIFACT, lambda data: None).add(piece)
