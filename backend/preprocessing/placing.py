"""Where a picture's object lies: on a plain square, as it is or recentred.

Knows pixels. Knows no files (`decoding`) and does not cut out (`subject`).
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .decoding import Picture

FILL = 0.8  # share of the square's side that the object's longer side takes


def recentred_rgba(rgba: np.ndarray, size: int, fill: float = FILL) -> np.ndarray:
    """The object in the middle of a transparent square, its longer side taking `fill` of the square's.

    Args:
        rgba: (H, W, 4) uint8, not wholly transparent.
        size: Of the square, pixels.
        fill: Share of the square's side that the longer side of the opacity's bounding box takes, in (0, 1].

    Returns:
        (size, size, 4) uint8.

    Raises:
        ValueError: It is wholly transparent, or `fill` is out of range.
    """
    image = Image.fromarray(rgba)
    box = image.getchannel("A").getbbox()
    if box is None or not 0 < fill <= 1:
        raise ValueError(f"cannot recentre: opacity's box is {box}, fill is {fill} and must be in (0, 1]")
    image = image.crop(box)
    scale = size * fill / max(image.size)
    # Pillow multiplies by the opacity before it resizes, so that no colour of what is transparent bleeds in.
    image = image.resize(tuple(max(1, round(side * scale)) for side in image.size), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return np.asarray(square)


def frame_of(rgba: np.ndarray, fill: float = FILL) -> tuple[float, float, float]:
    """The square around the object whose side its longer side fills to a share.

    Args:
        rgba: (H, W, 4) uint8, not wholly transparent.
        fill: That share, in (0, 1].

    Returns:
        The square's middle, from the left and from the top, and its side, pixels; it may reach beyond the picture.

    Raises:
        ValueError: It is wholly transparent, or `fill` is out of range.
    """
    box = Image.fromarray(rgba).getchannel("A").getbbox()
    if box is None or not 0 < fill <= 1:
        raise ValueError(f"cannot frame: opacity's box is {box}, fill is {fill} and must be in (0, 1]")
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top) / fill


def framed_rgba(rgba: np.ndarray, size: int, frame: tuple[float, float, float]) -> np.ndarray:
    """What a square of a picture shows, exactly there: `recentred_rgba` rounds to whole pixels.

    Args:
        rgba: (H, W, 4) uint8.
        size: Of the result, pixels.
        frame: As `frame_of`; what lies beyond the picture is transparent.

    Returns:
        (size, size, 4) uint8.
    """
    x, y, side = frame
    margin = math.ceil(side)  # the frame's middle lies in the picture
    image = Image.fromarray(np.pad(rgba, ((margin, margin), (margin, margin), (0, 0))))
    left, top = x - side / 2 + margin, y - side / 2 + margin
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, (left, top, left + side, top + side)))


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
