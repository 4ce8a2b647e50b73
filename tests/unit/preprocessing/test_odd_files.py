"""Hostile and odd files, each with the right typed error or the right cut-out: the list is `CASES`, built here.

Where there is a subject, the cut-out is compared with the disc or box that was drawn (intersection over union).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageFilter

from dreamlift.pipelines.context import RequestError
from dreamlift.preprocessing.subject import subject

WIDTH, HEIGHT = 240, 180
DISC = (70, 40, 170, 140)  # left, top, right, bottom
GROUND, RED = (206, 204, 198), (190, 40, 50)
LEAST_IOU = 0.97  # worst seen 0.983 (JPEG of quality 30)


def scene(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT), ground=GROUND, color=RED) -> Image.Image:
    """A disc on plain ground, its edge smooth; with mode RGBA on nothing. The disc scales with the size."""
    big = Image.new("L", (size[0] * 4, size[1] * 4))
    ImageDraw.Draw(big).ellipse([value * 4 * size[0] / WIDTH for value in DISC], fill=255)
    opacity = big.resize(size, Image.Resampling.BOX)
    if mode == "RGBA":
        image = Image.new("RGBA", size, (*color, 0))
        image.putalpha(opacity)
        return image
    image = Image.new("RGB", size, ground)
    image.paste(color, (0, 0), opacity)
    return image.convert(mode)


def disc(size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    return np.asarray(scene("RGBA", size))[..., 3] > 127


def file(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, color: int, rows: bytes, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png16(alpha: bool = False) -> bytes:
    """16 bits a channel, which Pillow itself cannot write in colour."""
    pixels = np.asarray(scene("RGBA" if alpha else "RGB")).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return png(WIDTH, HEIGHT, 16, 6 if alpha else 2, rows)


def turned(orientation: int) -> bytes:
    """A JPEG that lies, with the note that puts it upright."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    return file(scene().transpose(lying), "JPEG", quality=92, exif=exif)


def animated(kind: str) -> bytes:
    frames = [scene(), Image.new("RGB", (WIDTH, HEIGHT), (0, 0, 255)), Image.new("RGB", (WIDTH, HEIGHT))]
    return file(frames[0], kind, save_all=True, append_images=frames[1:])


def with_profile(image: Image.Image, kind: str, **options) -> bytes:
    return file(image, kind, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), **options)


def noise(size=(WIDTH, HEIGHT), seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))


def things(*boxes: tuple[int, int, int, int], mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (WIDTH, HEIGHT), GROUND if mode == "RGB" else (0, 0, 0, 0))
    for box in boxes:
        ImageDraw.Draw(image).rectangle(box, fill=RED if mode == "RGB" else (*RED, 255))
    return image


def boxes(*many: tuple[int, int, int, int]) -> np.ndarray:
    return np.asarray(things(*many, mode="RGBA"))[..., 3] > 0


def premultiplied() -> bytes:
    rgba = np.asarray(scene("RGBA")).copy()
    rgba[..., :3] = (rgba[..., :3].astype(int) * rgba[..., 3:] // 255).astype(np.uint8)
    return file(Image.fromarray(rgba))


def rounded_corners() -> bytes:
    image = scene().convert("RGBA")
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, WIDTH - 1, HEIGHT - 1), 14, fill=255)
    image.putalpha(mask)
    return file(image)


def ghost() -> bytes:
    image = scene("RGBA")
    image.putalpha(image.getchannel("A").point(lambda value: value * 180 // 255))
    return file(image)


def two_tone() -> bytes:
    image = Image.new("RGB", (WIDTH, HEIGHT), (214, 210, 200))
    ImageDraw.Draw(image).rectangle((0, 110, WIDTH, HEIGHT), fill=(120, 100, 84))
    image.paste(RED, (0, 0), scene("RGBA").getchannel("A"))
    return file(image.filter(ImageFilter.GaussianBlur(0.6)), "JPEG", quality=85)


def textured() -> bytes:
    rough = noise(seed=3).convert("L").filter(ImageFilter.GaussianBlur(2)).convert("RGB")
    numbers = (np.asarray(rough).astype(float) - 127) * 6 + (120, 135, 120)
    image = Image.fromarray(numbers.clip(0, 255).astype(np.uint8))
    image.paste(RED, (0, 0), scene("RGBA").getchannel("A"))
    return file(image)


def palette() -> bytes:
    flat = scene("RGBA").quantize(16)
    return file(flat, transparency=flat.getpixel((0, 0)))


GOOD, JPEG = file(scene()), file(scene(), "JPEG", quality=90)
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
AVIF = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(200)
BOMB = png(16_000, 16_000, 8, 2, b"")
TEXT_BOMB = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(40 << 20)))
FLAT = Image.new("RGB", (WIDTH, HEIGHT), GROUND)


@dataclass(frozen=True)
class Case:
    """A file and what must come of it: an error's code and words in it, or the subject, the method and remarks."""

    name: str
    make: Callable[[], bytes]
    error: str = ""
    says: str = ""
    method: str = "plane"
    truth: np.ndarray | None = None
    remarks: tuple[str, ...] = ()


def refused(name: str, make: bytes | Callable[[], bytes], error: str = "bad_image", says: str = "") -> Case:
    return Case(name, make if callable(make) else lambda: make, error, says)


def found(name: str, make: bytes | Callable[[], bytes], method: str = "plane", remarks=(), truth=None) -> Case:
    return Case(name, make if callable(make) else lambda: make, method=method, remarks=remarks, truth=truth)


CASES = [
    # No pictures at all, or not of a kind that is read.
    refused("empty", b"", says="empty"),
    refused("text", b"hello, this is a picture", says="not a PNG"),
    refused("only a PNG's signature", b"\x89PNG\r\n\x1a\n"),
    refused("web page saved as PNG", b"<!DOCTYPE html><html><body>403</body></html>", says="web page"),
    refused("SVG with a script", SVG, says="SVG"),
    refused("SVG with a PNG behind it", SVG + GOOD, says="SVG"),
    refused("HEIC of a phone", HEIC, says="Export it as JPEG"),
    refused("AVIF", AVIF, says="AVIF"),
    refused("film", b"\0\0\0\x18ftypisom" + bytes(100), says="film"),
    refused("Photoshop", b"8BPS\0\1" + bytes(100), says="Photoshop"),
    refused("PDF", b"%PDF-1.7\n" + bytes(100), says="PDF"),
    refused("archive", b"PK\x03\x04" + bytes(100), says="archive"),
    refused("git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\n", says="git lfs pull"),
    refused("PostScript, which some decoders would run", b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(100), says="PostScript"),
    refused("OpenEXR", b"\x76\x2f\x31\x01" + bytes(100), says="tone mapped"),
    refused("floating-point TIFF", lambda: file(Image.new("F", (64, 64), 0.5), "TIFF"), says="floating-point"),
    # Damaged or made to do harm.
    refused("PNG cut in half", GOOD[: len(GOOD) // 2], says="cut short"),
    refused("JPEG cut in half", JPEG[: len(JPEG) // 2], says="cut short"),
    refused("PNG with zeros inside", GOOD[:80] + bytes(60) + GOOD[140:]),
    refused("PNG without pixels", png(64, 64, 8, 2, b"")),
    refused("WebP cut short", lambda: file(scene(), "WEBP")[:300]),
    refused("GIF cut short", lambda: file(scene(), "GIF")[:200]),
    refused("TIFF whose directory is nowhere", b"II*\0\xff\xff\xff\x7f" + bytes(50)),
    refused("BMP that lies about its size", file(scene(), "BMP")[:18] + struct.pack("<ii", 9000, 9000) + bytes(99)),
    refused("bomb: 256 million pixels in 100 bytes", BOMB, says="million pixels"),
    refused("bomb: 16 million pixels a side", png(0x00FFFFFF, 0x00FFFFFF, 8, 2, b""), says="million pixels"),
    refused("bomb: 40 MiB of comment", lambda: png(64, 64, 8, 2, bytes(64 * 193), TEXT_BOMB)),
    refused("no width", png(0, 64, 8, 2, b"")),
    refused("more than 64 MiB", lambda: GOOD + bytes(64 << 20), says="64 MiB"),
    refused("too wide", lambda: file(Image.new("L", (17_000, 20))), says="17000"),
    refused("a strip", lambda: file(Image.new("L", (1600, 40))), says="strip"),
    refused("8 pixels", lambda: file(scene(size=(8, 6))), says="16 pixels"),
    refused("wholly transparent", lambda: file(Image.new("RGBA", (64, 64))), says="transparent"),
    # Right kinds and odd contents, with the subject known.
    found("plain PNG", GOOD),
    found("JPEG named .png", JPEG),
    found("JPEG of low quality", lambda: file(scene(), "JPEG", quality=30)),
    found("progressive JPEG", lambda: file(scene(), "JPEG", quality=90, progressive=True)),
    found("CMYK JPEG", lambda: file(scene("CMYK"), "JPEG", quality=92), remarks=("no_profile",)),
    found("grey JPEG", lambda: file(scene("L"), "JPEG", quality=92)),
    found("16 bits of grey", lambda: file(Image.fromarray(np.asarray(scene("L")).astype(np.uint16) * 257))),
    found("16 bits of colour", png16),
    found("16 bits of colour and opacity", lambda: png16(alpha=True), "alpha"),
    found("1 bit", lambda: file(scene("L").point(lambda value: 255 * (value > 128)).convert("1"))),
    found("palette", lambda: file(scene().quantize(32))),
    found("palette with a transparent colour", palette, "alpha"),
    found("grey with opacity", lambda: file(scene("RGBA").convert("LA")), "alpha"),
    found("opacity that is 255 everywhere", lambda: file(scene().convert("RGBA"))),
    found("rounded corners of a screenshot", rounded_corners),
    found("cut out", lambda: file(scene("RGBA")), "alpha"),
    found("cut out and saved premultiplied", premultiplied, "alpha"),
    found("cut out, at most 70 % opaque", ghost, "alpha"),
    found("sRGB profile", lambda: with_profile(scene(), "PNG")),
    found("profile of another mode", lambda: with_profile(scene("CMYK"), "JPEG", quality=92), remarks=("bad_profile",)),
    found("profile of rubbish", lambda: file(scene(), icc_profile=b"no profile" * 40), remarks=("bad_profile",)),
    *[found(f"turned by EXIF, {value}", lambda value=value: turned(value)) for value in (3, 6, 8)],
    found(
        "EXIF of rubbish", lambda: file(scene(), "JPEG", quality=90, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    ),
    found("GIF", lambda: file(scene(), "GIF")),
    found("animated GIF", lambda: animated("GIF"), remarks=("first_frame",)),
    found("animated PNG", lambda: animated("PNG"), remarks=("first_frame",)),
    found("animated WebP", lambda: animated("WEBP"), remarks=("first_frame",)),
    found("TIFF of three pages", lambda: animated("TIFF"), remarks=("first_page",)),
    found("TIFF, compressed", lambda: file(scene(), "TIFF", compression="tiff_lzw")),
    found("WebP with opacity", lambda: file(scene("RGBA"), "WEBP", lossless=True), "alpha"),
    found("BMP", lambda: file(scene(), "BMP")),
    found("phone's JPEG with a second picture", lambda: file(scene(), "MPO", save_all=True, append_images=[scene()])),
    found("PNG with an archive behind it", GOOD + b"PK\x03\x04" + bytes(300)),
    found("JPEG with a web page behind it", JPEG + b"<html><script>alert(1)</script></html>"),
    found("12 million pixels", lambda: file(scene().resize((4000, 3000)), "JPEG", quality=80), truth=disc((1024, 768))),
    found("a wall and a table", two_tone),
    found("rough ground", textured, "grabcut"),
    # What it shows is not one thing on a ground.
    refused("one colour", lambda: file(FLAT), "no_subject", "No subject"),
    refused("one colour as JPEG", lambda: file(FLAT, "JPEG"), "no_subject"),
    refused("black", lambda: file(Image.new("RGB", (300, 300))), "no_subject"),
    refused("gradient alone", lambda: file(Image.linear_gradient("L")), "no_subject"),
    refused("noise", lambda: file(noise()), "no_subject|needs_mask"),
    refused("soft noise", lambda: file(noise().filter(ImageFilter.GaussianBlur(3))), "needs_mask|several_subjects"),
    refused(
        "stripes",
        lambda: file(Image.linear_gradient("L").resize((16, 256)).resize((256, 256)).rotate(90)),
        "no_subject",
    ),
    refused(
        "two alike", lambda: file(things((30, 50, 90, 130), (150, 50, 205, 130))), "several_subjects", "2 separate"
    ),
    refused(
        "five alike",
        lambda: file(things(*[(8 + 46 * n, 70, 38 + 46 * n, 110) for n in range(5)])),
        "several_subjects",
        "5 separate",
    ),
    refused("a few pixels", lambda: file(things((100, 80, 110, 90))), "small_subject", "11 x 11"),
    found(
        "large and small",
        lambda: file(things((30, 30, 150, 150), (190, 120, 215, 145))),
        remarks=("things_left_out",),
        truth=boxes((30, 30, 150, 150)),
    ),
    found(
        "small", lambda: file(things((100, 60, 150, 110))), remarks=("small_subject",), truth=boxes((100, 60, 150, 110))
    ),
    found(
        "cut off below", lambda: file(things((60, 60, 170, 179))), remarks=("cut_off",), truth=boxes((60, 60, 170, 179))
    ),
    found(
        "cut out in two parts",
        lambda: file(things((20, 20, 100, 120), (140, 30, 220, 150), mode="RGBA")),
        "alpha",
        ("several_parts",),
        boxes((20, 20, 100, 120), (140, 30, 220, 150)),
    ),
]


def test_there_are_enough_cases_and_each_has_a_name():
    assert len(CASES) >= 40 and len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [case for case in CASES if case.error], ids=lambda case: case.name)
def test_a_file_without_one_subject_is_refused_in_words(case):
    with pytest.raises(RequestError) as caught:
        subject(case.make())
    assert caught.value.code in case.error.split("|")
    assert case.says in f"{caught.value.what} {caught.value.remedy}"
    assert caught.value.what.endswith(".") and caught.value.remedy.endswith(".")


@pytest.mark.parametrize("case", [case for case in CASES if not case.error], ids=lambda case: case.name)
def test_an_odd_file_gives_its_subject(case):
    result = subject(case.make())
    assert result.method == case.method
    assert tuple(remark.code for remark in result.warnings) == case.remarks
    truth = disc() if case.truth is None else case.truth
    taken = result.rgba[..., 3] > 127
    assert taken.shape == truth.shape
    assert (taken & truth).sum() / (taken | truth).sum() >= LEAST_IOU
