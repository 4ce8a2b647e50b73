"""Pictures from outside: what is read, how it lies on its background, and what is refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from fakes.tiny_view_models import as_file, cut_out
from PIL import Image

from dreamlift.pipelines.context import RequestError
from dreamlift.preprocessing import decoding
from dreamlift.preprocessing.decoding import read_picture
from dreamlift.preprocessing.placing import on_background, recentred


def half(size=(40, 20)):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, (200, 0, 0))
    image.paste((0, 0, 200), (size[0] // 2, 0, *size))
    return image


def huge(width, height):
    """A PNG that promises many pixels and has none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_a_cut_out_picture_keeps_its_transparency():
    picture = read_picture(as_file(cut_out()))
    assert picture.is_cut_out and picture.pixels.shape == (40, 60, 4)
    assert picture.pixels[20, 30].tolist() == [200, 30, 30, 255] and picture.pixels[0, 0, 3] == 0


@pytest.mark.parametrize(
    "data",
    [
        as_file(half(), "JPEG"),
        as_file(half().convert("CMYK"), "JPEG"),
        as_file(half().convert("P")),
        as_file(half().convert("L")),
        as_file(half().convert("RGBA")),
        as_file(half(), "GIF"),
        as_file(half(), "BMP"),
        as_file(half(), "TIFF"),
        as_file(half(), "WEBP"),
    ],
    ids=["jpeg", "cmyk", "palette", "grey", "opaque alpha", "gif", "bmp", "tiff", "webp"],
)
def test_other_kinds_are_read_and_are_not_cut_out(data):
    picture = read_picture(data)
    assert picture.pixels.shape == (20, 40, 4) and not picture.is_cut_out


def test_16_bits_of_grey_become_8():
    image = Image.fromarray(np.full((20, 20), 32896, np.uint16))
    assert read_picture(as_file(image)).pixels[0, 0].tolist() == [128, 128, 128, 255]


def test_a_phone_s_note_about_its_rotation_is_followed():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the left side comes to the top
    pixels = read_picture(as_file(half(), "JPEG", exif=exif, quality=95)).pixels
    assert pixels.shape == (40, 20, 4)
    assert pixels[5, 10, 0] > 150 and pixels[35, 10, 2] > 150


def test_a_broken_note_spoils_no_picture():
    exif = b"Exif\0\0" + b"MM\0*\0\0\0\x08" + b"\xff\xff" + b"\x01\x12" * 9
    assert read_picture(as_file(half(), "JPEG", exif=exif)).pixels.shape == (20, 40, 4)


def test_a_large_picture_is_reduced():
    assert max(read_picture(as_file(Image.new("L", (3000, 1500)))).pixels.shape) == decoding.WORKING_SIDE


GOOD = as_file(half((400, 200)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"\x89PNG\r\n\x1a\n",
        GOOD[: len(GOOD) // 2],
        GOOD[:60] + b"\0" * 40 + GOOD[100:],
        as_file(half(), "PPM"),
        huge(100_000, 100_000),
        huge(20_000, 100),
        huge(8_000, 8_000),
        as_file(half((8, 8))),
        as_file(Image.new("RGBA", (40, 40))),
    ],
    ids="empty,text,start,cut,damaged,ppm,bomb,wide,many pixels,tiny,transparent".split(","),
)
def test_what_is_no_usable_picture_is_refused_in_words(data):
    with pytest.raises(RequestError) as caught:
        read_picture(data)
    assert caught.value.code == "bad_image"
    assert caught.value.what.endswith(".") and caught.value.remedy.endswith(".")


def test_too_many_bytes_are_refused_unread(monkeypatch):
    monkeypatch.setattr(decoding, "MOST_BYTES", 10)
    with pytest.raises(RequestError, match="MiB"):
        read_picture(GOOD)


def test_a_picture_lies_whole_on_a_square():
    laid = on_background(read_picture(as_file(cut_out())), 128)
    assert laid.shape == (60, 60, 3)
    assert laid[0, 0].tolist() == [128] * 3 and laid[30, 30].tolist() == [200, 30, 30]


def test_the_object_is_brought_to_the_middle_with_its_border():
    image = cut_out((100, 80), (2, 3, 42, 23))  # 40 by 20 pixels in a corner
    laid = recentred(read_picture(as_file(image)), 200, 0.3, 255)
    inside = np.argwhere(laid[..., 1] < 128)
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    assert (right - left, bottom - top) == (140, 70)
    assert abs(left + right - 200) <= 1 and abs(top + bottom - 200) <= 1 and laid[0, 0].tolist() == [255] * 3


def test_a_picture_without_transparency_is_not_cut():
    laid = recentred(read_picture(as_file(half())), 64, 0.3, 255)
    assert laid[32, 0, 0] > 150 and laid[32, 63, 2] > 150 and laid[0, 0].tolist() == [255] * 3
