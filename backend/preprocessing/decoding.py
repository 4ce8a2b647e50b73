"""Pictures from outside: decoded within limits, turned upright, in sRGB.

Knows files' bytes and what can be wrong with them. Knows no models and no torch. A picture comes from anybody: its
kind is told by its bytes, its size is read before its pixels are, and whatever is wrong ends as a `RequestError`.
Which kinds are refused with which words is in `kinds.py`, modes and profiles are in `colours.py`.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from dreamlift.pipelines.context import RequestError

from .colours import reducible, to_srgb
from .judging import Remark
from .kinds import FORMATS, READ, refused

# Importing them tells Pillow of these decoders; without, it would load all that it has before it finds WebP.
DECODERS = (BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)
log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20
MOST_PIXELS = 50_000_000  # 200 MB while it is decoded
MOST_SIDE = 16_384
LEAST_SIDE = 16
MOST_ASPECT = 16  # longer side over shorter: beyond it it is a strip and not a picture of a thing
WORKING_SIDE = 1024  # pixels; larger ones are reduced at once: no model sees more than 512
LEAST_CLEAR = 0.01  # share of the pixels that must be transparent: rounded corners are no cut-out
REMEDY = f"Give a {READ} picture of one object."
# What Pillow raises on bytes that are no picture, cut short or made to do harm.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError, OverflowError, MemoryError)
_BROKEN += (
    struct.error,
    zlib.error,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Args:
        pixels: sRGB and opacity, at most `WORKING_SIDE` a side; opacity is 255 everywhere where it is not cut out.
            (H, W, 4) uint8.
        is_cut_out: Whether some of it is transparent, so that the object is known from its background.
        size: Width and height as it came, upright, pixels.
        remarks: What the artist should know about the file.
    """

    pixels: np.ndarray
    is_cut_out: bool
    size: tuple[int, int]
    remarks: tuple[Remark, ...] = ()


def read_picture(data: bytes) -> Picture:
    """Decode a picture.

    Args:
        data: The bytes of a file; the first frame or page of one that has several.

    Raises:
        RequestError: "bad_image": not a picture of the kinds that are read, damaged, too large, too small, or wholly
            transparent.
    """
    if len(data) > MOST_BYTES:
        what = f"The picture has {len(data) / 2**20:.0f} MiB; {MOST_BYTES >> 20} MiB is the most."
        raise RequestError("bad_image", what, "Save it smaller.")
    if not data:
        raise RequestError("bad_image", "The picture's file is empty.", REMEDY)
    if known := refused(data):
        raise RequestError("bad_image", f"The file is {known[0]}, which is not read here.", known[1])
    kind = "picture"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own; sizes are checked below, and the rest is said in remarks
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                kind = {"MPO": "JPEG", "WEBP": "WebP"}.get(file.format, file.format)
                _check_size(*file.size)
                image, size, remarks = _decode(file)
    except UnidentifiedImageError as error:
        what = f"The file is not a {READ} picture, or its beginning is damaged."
        raise RequestError("bad_image", what, REMEDY) from error
    except RequestError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit comes first, and the size is not known then
        what = f"The picture promises more than the {MOST_PIXELS // 10**6} million pixels that are read here."
        raise RequestError("bad_image", what, "Save it smaller.") from error
    except _BROKEN as error:
        log.info("a %s of %d bytes cannot be decoded: %s: %s", kind, len(data), type(error).__name__, error)
        what = f"The picture cannot be read: the {kind} file is damaged or cut short."
        raise RequestError("bad_image", what, "Save or download it again.") from error
    return _with_opacity(np.asarray(image), size, remarks)


def _decode(file: Image.Image) -> tuple[Image.Image, tuple[int, int], list[Remark]]:
    """First frame, upright, reduced, in sRGB; its size as it came; remarks."""
    remarks = _of_frames(file)
    profile = file.info.get("icc_profile")
    width, height = file.size
    if file.format == "JPEG" and file.mode in ("L", "RGB"):  # decode a large photo at a fraction of its size
        file.draft(file.mode, (2 * WORKING_SIDE, 2 * WORKING_SIDE))
    file.load()
    small = reducible(file)
    small.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.LANCZOS)
    image, of_colours = to_srgb(small, profile)
    upright = _upright(file, image)
    size = (width, height) if (upright.width >= upright.height) == (width >= height) else (height, width)
    return upright, size, [*remarks, *of_colours]


def _of_frames(file: Image.Image) -> list[Remark]:
    if not getattr(file, "is_animated", False) or file.format == "MPO":  # a phone's second picture is no animation
        return []
    file.seek(0)
    if file.format == "TIFF":
        return [Remark("first_page", "The picture has several pages; the first one is used.", "Save the one you mean.")]
    what = "The picture is animated; its first frame is used."
    return [Remark("first_frame", what, "Save the frame that you mean as PNG.")]


def _check_size(width: int, height: int) -> None:
    shown = f"The picture has {width} x {height} pixels."
    if max(width, height) > MOST_SIDE or width * height > MOST_PIXELS:
        remedy = f"Save it with at most {MOST_SIDE} pixels a side and {MOST_PIXELS // 10**6} million in all."
        raise RequestError("bad_image", shown, remedy)
    if min(width, height) < LEAST_SIDE:
        raise RequestError("bad_image", shown, f"Give one of at least {LEAST_SIDE} pixels a side.")
    if max(width, height) > MOST_ASPECT * min(width, height):
        raise RequestError("bad_image", shown, "Crop it to the object: this is a strip.")


def _upright(file: Image.Image, image: Image.Image) -> Image.Image:
    """`image` turned as the EXIF note of `file` says."""
    try:
        exif = file.getexif()
        image.info.pop("exif", None)
        image.info["exif"] = exif.tobytes()
        return ImageOps.exif_transpose(image)
    except _BROKEN as error:  # the pixels are good; only the camera's note about them is not
        log.warning("the picture's EXIF data cannot be read and is ignored: %s", error)
        return image


def _with_opacity(pixels: np.ndarray, size: tuple[int, int], remarks: list[Remark]) -> Picture:
    """The picture, its opacity taken for a cut-out only where it is one."""
    opacity = pixels[..., 3]
    most = int(opacity.max())
    if most == 0:
        raise RequestError("bad_image", "The picture is wholly transparent.", REMEDY)
    is_cut_out = bool((opacity < most // 2).mean() >= LEAST_CLEAR)
    if not is_cut_out:
        return Picture(_opaque(pixels), False, size, tuple(remarks))
    if most < 255:  # a ghost: as if its most opaque place were solid
        pixels = np.dstack([pixels[..., :3], (opacity.astype(np.uint16) * 255 // most).astype(np.uint8)])
    return Picture(pixels, True, size, tuple(remarks))


def _opaque(pixels: np.ndarray) -> np.ndarray:
    """Transparent pixels of a picture that is not cut out, such as rounded corners, in the colour of its edge."""
    clear = pixels[..., 3] < 128
    if not clear.any():
        return np.dstack([pixels[..., :3], np.full(pixels.shape[:2], 255, np.uint8)])
    edge = np.zeros_like(clear)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    seen = pixels[edge & ~clear]
    colour = np.median(seen[:, :3], 0) if len(seen) else np.full(3, 255)
    filled = np.where(clear[..., None], colour, pixels[..., :3]).astype(np.uint8)
    return np.dstack([filled, np.full(clear.shape, 255, np.uint8)])
