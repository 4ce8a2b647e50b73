"""A picture beside what is cut out of it and the square that a prior is shown, for somebody to look at.

Knows pixels. Knows no files.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from .subject import Subject

LIGHT, DARK, CHECK = 250, 222, 10  # greys of the chequered ground, and the side of its fields in pixels
GREY = 128  # around the square, as the priors are shown it


def cut_out_sheet(pixels: np.ndarray, found: Subject, tile: int = 512) -> np.ndarray:
    """Three tiles: the picture, its subject on a chequered ground, and the subject as the priors see it.

    Args:
        pixels: The picture. (H, W, 4) uint8.
        found: What was cut out of it.
        tile: Side of a tile, pixels.

    Returns:
        (tile, 3 tile, 3) uint8.
    """
    seen = Image.new("RGBA", (tile, tile), (GREY, GREY, GREY, 255))
    seen.alpha_composite(Image.fromarray(found.square(tile)))
    return np.hstack([on_chequers(pixels, tile), on_chequers(found.rgba, tile), np.asarray(seen.convert("RGB"))])


def on_chequers(rgba: np.ndarray, tile: int) -> np.ndarray:
    """A picture whole, in the middle of a chequered tile.

    Args:
        rgba: (H, W, 4) uint8.
        tile: Side, pixels.

    Returns:
        (tile, tile, 3) uint8.
    """
    image = Image.fromarray(rgba)
    scale = (tile - 8) / max(image.size)
    image = image.resize(tuple(max(1, round(side * scale)) for side in image.size), Image.Resampling.LANCZOS)
    y, x = np.mgrid[0:tile, 0:tile] // CHECK
    ground = np.where((x + y) % 2, DARK, LIGHT).astype(np.uint8)
    square = Image.fromarray(ground).convert("RGBA")
    square.alpha_composite(image, ((tile - image.width) // 2, (tile - image.height) // 2))
    return np.asarray(square.convert("RGB"))
