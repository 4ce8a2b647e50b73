"""`dreamlift cutout` from words to a PNG with transparency."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes.tiny_view_models import as_file
from PIL import Image, ImageDraw

from dreamlift.cli import main
from dreamlift.commands.outcomes import Exit

BOX = (60, 40, 179, 139)


@pytest.fixture(autouse=True)
def photo(tmp_path, monkeypatch):
    """A red box on grey, and a mask of its left half."""
    monkeypatch.chdir(tmp_path)
    image = Image.new("RGB", (240, 180), (200, 200, 196))
    ImageDraw.Draw(image).rectangle(BOX, fill=(200, 30, 30))
    (tmp_path / "photo.jpg").write_bytes(as_file(image, "JPEG", quality=92))
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).rectangle((60, 40, 119, 139), fill=255)
    (tmp_path / "mask.png").write_bytes(as_file(mask))
    return tmp_path


def run(capsys, *words):
    """Exit code and the JSON events of one command."""
    code = main(["cutout", *words, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def opaque(path):
    with Image.open(path) as image:
        assert image.mode == "RGBA" and image.size == (240, 180)
        return np.asarray(image)[..., 3] > 127


def test_the_object_is_written_with_transparency_and_the_method_said(capsys, photo):
    assert main(["cutout", "photo.jpg"]) == Exit.OK
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "photo-cutout.png" in said and "smooth background" in said and "28%" in said
    found = opaque(photo / "photo-cutout.png")
    assert found[40:140, 60:180].mean() > 0.99 and found.sum() < 1.03 * 120 * 100


def test_a_mask_and_a_sheet(capsys, photo):
    code, events = run(capsys, "photo.jpg", "-o", "c.png", "--mask", "mask.png", "--sheet", "s.png")
    assert code == Exit.OK and events[-1]["method"] == "mask" and events[-1]["share"] == pytest.approx(0.1389, abs=1e-3)
    assert opaque(photo / "c.png").sum() == 60 * 100
    with Image.open(photo / "s.png") as sheet:
        assert sheet.size == (3 * 512, 512)
        assert np.asarray(sheet)[256, 1024 + 256].tolist() == pytest.approx([200, 30, 30], abs=12)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("gone.jpg",), "bad_image"),
        (("photo.jpg", "-o", "c.jpg"), "bad_output"),
        (("photo.jpg", "--threshold", "1"), "bad_threshold"),
        (("photo.jpg", "--threshold", "nan"), "bad_threshold"),
        (("mask.png", "--mask", "tall.png"), "bad_mask"),
        (("tall.png",), "no_subject"),
    ],
)
def test_what_cannot_be_cut_out_is_told_and_nothing_written(capsys, photo, words, code):
    (photo / "tall.png").write_bytes(as_file(Image.new("L", (100, 300), 90)))
    before = sorted(path.name for path in photo.iterdir())
    ended, events = run(capsys, *words)
    assert (ended, events[-1]["code"]) == (Exit.USAGE, code)
    assert sorted(path.name for path in photo.iterdir()) == before


def test_what_was_left_out_is_told(capsys, photo):
    with Image.open(photo / "photo.jpg") as image:
        ImageDraw.Draw(image).rectangle((200, 20, 225, 50), fill=(20, 20, 90))
        image.save(photo / "two.png")
    code, events = run(capsys, "two.png", "-o", "c.png")
    assert code == Exit.OK and events[0]["event"] == "warning" and events[0]["code"] == "things_left_out"
    assert not opaque(photo / "c.png")[:60, 195:].any()
