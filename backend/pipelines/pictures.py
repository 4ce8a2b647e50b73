"""Pictures from outside: decoded within limits, turned upright, and laid on a plain background.

Knows files' bytes and what can be wrong with them. Knows no models and no torch. A picture comes from anybody: only PNG
and JPEG are opened, its size is read before its pixels are, and whatever is wrong ends as a `RequestError`.
Cutting an object out of its background is not done here.
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

from .context import Context, RequestError

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
    return Picture(pixels, bool(pixels[..., 3].min() < 255))


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


def tell_background(picture: Picture, context: Context) -> None:
    """Warn where nothing tells the object from its background."""
    if not picture.is_cut_out:
        what = "The picture has no transparent background, so all of it is taken for the object."
        context.warn("no_alpha", what, "Cut the object out and save it as PNG with transparency.")


def on_background(picture: Picture, grey: int) -> np.ndarray:
    """The whole picture on a plain square, nothing cut off.

    Args:
        picture: As it came.
        grey: Of the square, 0 to 255.

    Returns:
        (S, S, 3) uint8, S being the picture's longer side.
    """
    height, width = picture.pixels.shape[:2]
    side = max(height, width)
    return _laid(Image.fromarray(picture.pixels), side, ((side - width) // 2, (side - height) // 2), grey)


def recentred(picture: Picture, size: int, border: float, grey: int) -> np.ndarray:
    """The object in the middle of a plain square, its longer side filling what the border leaves.

    A picture without transparency is all object and keeps no border: it is laid on the square as it is.

    Args:
        picture: As it came.
        size: Of the square, pixels.
        border: Share of the square's side that stays empty, both sides together, in [0, 1).
        grey: Of the square, 0 to 255.

    Returns:
        (size, size, 3) uint8.
    """
    image = Image.fromarray(picture.pixels)
    room = size
    if picture.is_cut_out:
        image, room = image.crop(image.getchannel("A").getbbox()), int(size * (1 - border))
    scale = room / max(image.size)
    # Pillow multiplies by the opacity before it resizes, so that no colour of what is transparent bleeds in.
    image = image.resize(tuple(max(1, round(side * scale)) for side in image.size), Image.Resampling.LANCZOS)
    return _laid(image, size, ((size - image.width) // 2, (size - image.height) // 2), grey)


def _laid(image: Image.Image, side: int, corner: tuple[int, int], grey: int) -> np.ndarray:
    square = Image.new("RGBA", (side, side), (grey, grey, grey, 255))
    square.alpha_composite(image, corner)
    return np.asarray(square.convert("RGB"))
