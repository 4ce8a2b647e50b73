"""A matting model of the user's own: which file is taken, what is said where it cannot be used, what comes of it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from fakes.tiny_view_models import as_file
from PIL import Image, ImageDraw

from dreamlift.preprocessing import matting
from dreamlift.preprocessing.subject import subject


def picture():
    """A white disc on stripes, which no fit of the border's colours can explain."""
    image = Image.new("RGB", (160, 120))
    for x in range(0, 160, 8):
        ImageDraw.Draw(image).rectangle((x, 0, x + 3, 119), fill=(90, 90, 90))
    ImageDraw.Draw(image).ellipse((40, 20, 120, 100), fill=(255, 255, 255))
    return image


def disc():
    y, x = np.mgrid[0:120, 0:160]
    return ((x - 80) ** 2 + (y - 60) ** 2) < 40**2


def by_brightness(colours):
    """A matting model that knows white things."""
    return (colours.min(-1) > 200).astype(np.float32)


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    length = len(value)
    return bytes([number << 3 | 2, length & 127 | 128, length >> 7]) + value


def onnx_model(side: int = 32) -> bytes:
    """The mean of three channels, as an ONNX file: (1, 3, side, side) to (1, 1, side, side)."""

    def tensor(name: bytes, channels: int) -> bytes:
        dims = b"".join(field(1, field(1, size)) for size in (1, channels, side, side))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    axes = field(1, b"axes") + field(8, 1) + bytes([20 << 3 & 255 | 128, 1, 7])
    node = field(1, b"x") + field(2, b"y") + field(4, b"ReduceMean") + field(5, axes)
    graph = field(1, node) + field(2, b"g") + field(11, tensor(b"x", 3)) + field(12, tensor(b"y", 1))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def test_a_model_finds_what_colours_cannot():
    found = subject(as_file(picture()), matting=by_brightness)
    taken = found.rgba[..., 3] > 127
    assert found.method == "matting" and (taken & disc()).sum() / (taken | disc()).sum() > 0.97


def test_a_mask_and_the_picture_s_own_transparency_come_first():
    cut = picture().convert("RGBA")
    cut.putalpha(Image.fromarray((disc() * 255).astype(np.uint8)))
    assert subject(as_file(cut), matting=by_brightness).method == "alpha"
    mask = as_file(Image.fromarray((disc() * 255).astype(np.uint8)))
    assert subject(as_file(picture()), mask, matting=by_brightness).method == "mask"


def test_where_the_model_sees_nothing_the_colours_decide():
    plain = Image.new("RGB", (160, 120), (60, 60, 60))
    ImageDraw.Draw(plain).rectangle((50, 30, 110, 90), fill=(160, 30, 30))
    assert subject(as_file(plain), matting=lambda colours: np.zeros(colours.shape[:2], np.float32)).method == "plane"


def test_the_best_file_of_the_store_is_taken_and_a_named_one_wins(tmp_path):
    folder = tmp_path / "matting"
    folder.mkdir()
    here = {"DREAMLIFT_MODELS": str(tmp_path)}
    assert matting.find_file(here) is None
    for name in ("u2net.onnx", "BiRefNet-general.onnx", "isnet-general-use.onnx", "other.onnx"):
        (folder / name).write_bytes(b"")
    assert matting.find_file(here).name == "BiRefNet-general.onnx"
    assert matting.find_file({**here, "DREAMLIFT_MATTING": "/x/u2netp.onnx"}).name == "u2netp.onnx"
    assert matting.find_file({**here, "DREAMLIFT_MATTING": "off"}) is None


@pytest.mark.parametrize("name", ["u2net.onnx", "mystery.onnx", "gone/u2net.onnx"])
def test_a_file_that_cannot_be_used_is_told_and_stops_nothing(tmp_path, name):
    if "/" not in name:
        (tmp_path / name).write_bytes(b"no model")
    model, remarks = matting.find({"DREAMLIFT_MATTING": str(tmp_path / name)})
    assert model is None and [remark.code for remark in remarks] == ["matting_unavailable"]
    assert "DREAMLIFT_MATTING=off" in remarks[0].remedy


def test_an_onnx_file_is_run(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="the extra dreamlift[matting] is not installed")
    (tmp_path / "u2net-mean.onnx").write_bytes(onnx_model())
    monkeypatch.setenv("DREAMLIFT_MATTING", str(tmp_path / "u2net-mean.onnx"))
    found = subject(as_file(picture()))
    taken = found.rgba[..., 3] > 127
    assert found.method == "matting" and (taken & disc()).sum() / (taken | disc()).sum() > 0.9


def test_cutting_out_needs_no_torch():
    code = "import dreamlift.preprocessing.subject, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
