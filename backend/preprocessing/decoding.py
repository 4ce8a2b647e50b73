"""Pictures from outside: decoded within limits and turned upright.

Knows files' bytes and what can be wrong with them. Knows no models and no torch. A picture comes from anybody: only PNG
and JPEG are opened, its size is read before its pixels are, and whatever is wrong ends as a `RequestError`.
Cutting an object out of its background is
`subject.py`, laying it on a square `placing.py`.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from dreamlift.pipelines.context import RequestError

log = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG")
MOST_BYTES = 64 << 20
MOST_PIXELS = 50_000_000  # 200 MB while it is decoded
MOST_SIDE = 16_384
LEAST_SIDE = 16
WORKING_SIDE = 1024  # pixels; larger ones are reduced at once: no model sees more than 512
REMEDY = "Give a PNG or JPEG picture of one object."
# What Pillow raises on bytes that are no picture, cut short or made to do harm.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError, OverflowError, MemoryError)
_BROKEN += (struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Args:
        pixels: sRGB and opacity. (H, W, 4) uint8, at most `WORKING_SIDE` a side.
        is_cut_out: Whether some of it is transparent, so that the object is known from its background.
    """

    pixels: np.ndarray
    is_cut_out: bool
    size: tuple[int, int] = (0, 0)
    remarks: tuple = ()


def read_picture(data: bytes) -> Picture:
    """Decode a picture.

    Args:
        data: The bytes of a PNG or JPEG file.

    Raises:
        RequestError: "bad_image": not a picture of these kinds, damaged, too large, too small, or wholly transparent.
    """
    if len(data) > MOST_BYTES:
        what = f"The picture has {len(data) / 2**20:.0f} MiB; {MOST_BYTES >> 20} MiB is the most."
        raise RequestError("bad_image", what, "Save it smaller.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                _check_size(*file.size)
                image = _opaque_or_not(_upright(file))
    except RequestError:
        raise
    except _BROKEN as error:
        log.info("a picture of %d bytes cannot be decoded: %s: %s", len(data), type(error).__name__, error)
        what = "The picture cannot be read: it is damaged, or not a PNG or JPEG."
        raise RequestError("bad_image", what, REMEDY) from error
    image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    if not pixels[..., 3].any():
        raise RequestError("bad_image", "The picture is wholly transparent.", REMEDY)
    return Picture(pixels, bool(pixels[..., 3].min() < 255), pixels.shape[1::-1])


def _check_size(width: int, height: int) -> None:
    shown = f"The picture has {width} x {height} pixels."
    if max(width, height) > MOST_SIDE or width * height > MOST_PIXELS:
        remedy = f"Save it with at most {MOST_SIDE} pixels a side and {MOST_PIXELS // 10**6} million in all."
        raise RequestError("bad_image", shown, remedy)
    if min(width, height) < LEAST_SIDE:
        raise RequestError("bad_image", shown, f"Give one of at least {LEAST_SIDE} pixels a side.")


def _upright(file: Image.Image) -> Image.Image:
    file.load()
    try:
        return ImageOps.exif_transpose(file)
    except _BROKEN as error:  # the pixels are good; only the camera's note about them is not
        log.warning("the picture's EXIF data cannot be read and is ignored: %s", error)
        return file


def _opaque_or_not(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits grey; Pillow's own conversion would clip it to white
        grey = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))
    return image.convert("RGBA")
