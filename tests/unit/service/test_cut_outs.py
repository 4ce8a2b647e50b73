"""Pictures cut out over real sockets by real processes: right ones, hostile ones, and processes that misbehave."""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from live_service import LiveService
from PIL import Image

from dreamlift.protocol import messages
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.transfers import Upload
from dreamlift.service import cut_outs


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def red_ball(side: int = 64) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[...] = np.where((x**2 + y**2 < 0.4)[..., None], [200, 30, 20, 255], [0, 0, 0, 0])
    return pixels


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with LiveService(tmp_path_factory.mktemp("live")) as service:
        yield service


@pytest.fixture
def client(live):
    with live.client() as client:
        yield client


def speaking(tmp_path, code: str, **settings) -> LiveService:
    """A service whose pictures are cut out by a line of Python."""
    return LiveService(tmp_path, cut_out_command=(sys.executable, "-c", code), **settings)


def refused(client, data: bytes = b"picture") -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        client.cut_out(data)
    return caught.value


def test_a_picture_with_transparency_comes_back_as_it_is(client):
    answer = client.cut_out(png(red_ball()))
    assert answer.method == "alpha"
    np.testing.assert_array_equal(answer.rgba, red_ball())


def test_a_picture_without_a_subject_comes_back_with_its_pixels_and_the_reason(client):
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    answer = client.cut_out(png(noise))
    assert answer.method == "" and not answer.rgba[..., 3].any()
    np.testing.assert_array_equal(answer.rgba[..., :3], noise)
    assert answer.remarks[0].what and answer.remarks[0].remedy


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(99))))
    framed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_bytes_that_are_no_picture_are_refused_and_the_service_lives_on(client):
    for hostile in (b"\x89PNG\r\n\x1a\n" + bytes(200), bomb(), png(red_ball())[:300], b"\xff\xd8\xff" + bytes(9)):
        assert refused(client, hostile).code == "bad_image"
    assert client.cut_out(png(red_ball())).method == "alpha"


def test_a_welcome_names_the_command(client):
    assert "cut_out" in client.welcome.features


def test_a_picture_that_was_not_uploaded_is_refused(client):
    identity = client._conversation.command(messages.CutOut(sha256=Upload(b"never sent").sha256))
    with pytest.raises(ProtocolError) as caught:
        client._answered(identity, messages.Cutout)
    assert caught.value.code == "unknown_blob"


def test_a_process_that_hangs_is_ended_and_the_service_answers_meanwhile(tmp_path):
    with (
        speaking(tmp_path, "import time; time.sleep(60)", cut_out_seconds=1.0) as live,
        live.client() as client,
        live.client() as other,
    ):
        identity = client._conversation.cut_out(Upload(b"picture"))
        while not live.service._cut_outs._wishes:
            client._pump(0.01)
        assert other.jobs() == []
        with pytest.raises(ProtocolError) as caught:
            client._answered(identity, messages.Cutout)
        assert caught.value.code == "cut_out_failed"


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(3)",
        "print('{')",
        "print('[]')",
        "print('x' * 100_000)",
        """print('{"method": "plane", "remarks": [], "height": 4, "width": 4}')""",
        """print('{"method": "plane", "remarks": [], "height": 1000000, "width": 1000000}')""",
        """print('{"method": 7, "remarks": [], "height": 1, "width": 1}', end='\\nabcd')""",
        """print('{"error": {"code": "Not A Code"}}')""",
    ],
)
def test_a_process_that_talks_nonsense_is_an_error_of_its_own(tmp_path, code):
    with speaking(tmp_path, code) as live, live.client() as client:
        assert refused(client).code == "cut_out_failed"


def test_a_command_that_cannot_be_started_is_an_error_of_its_own(tmp_path):
    with LiveService(tmp_path, cut_out_command=("/does/not/exist",)) as live, live.client() as client:
        assert refused(client).code == "cut_out_failed"


def test_the_same_command_again_is_one_and_too_many_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cut_outs, "WAITING", 1)
    with speaking(tmp_path, "import time; time.sleep(60)") as live, live.client() as client:
        conversation, picture = client._conversation, Upload(b"picture")
        first = conversation.cut_out(picture)
        waiting = lambda: live.service._cut_outs._wishes  # noqa: E731
        until(lambda: len(waiting()) == 1, client)
        conversation._transmit(first, conversation._pending[first])  # as after a lost answer
        conversation.cut_out(picture)
        until(lambda: len(waiting()) == 2, client)
        identity = conversation.cut_out(picture)
        with pytest.raises(ProtocolError) as caught:
            client._answered(identity, messages.Cutout)
        assert caught.value.code == "busy" and len(waiting()) == 2
    assert not waiting(), "closing ended them"


def until(condition, client) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "did not happen"
        client._pump(0.01)
