"""The one thing that a picture shows, cut out of its background.

Knows the order of the ways: the picture's own transparency, the user's mask. Knows no files
(`decoding`) and no pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dreamlift.pipelines.context import RequestError

from .decoding import read_picture
from .placing import FILL, recentred_rgba

THRESHOLD = 0.5
Matting = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 sRGB to opacity (H, W) float32 in [0, 1]


class Remark(NamedTuple):
    """Something that the artist should know and that stops nothing; `context.warn(*remark)` takes it."""

    code: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Subject:
    """One thing, cut out.

    Args:
        rgba: sRGB, not multiplied by the opacity, and opacity; upright, the picture's whole area. (H, W, 4) uint8.
        method: "alpha", "mask", "matting", "plane" or "grabcut": what told the thing from its background.
        warnings: For the artist, in the order of what happened.
    """

    rgba: np.ndarray
    method: str
    warnings: tuple[Remark, ...] = ()

    def square(self, size: int, fill: float = FILL) -> np.ndarray:
        """As the priors were trained: in the middle of a square, whose side its longer side fills to a share.

        Args:
            size: Of the square, pixels.
            fill: That share, in (0, 1].

        Returns:
            (size, size, 4) uint8, transparent around it.
        """
        return recentred_rgba(self.rgba, size, fill)


def subject(
    data: bytes, mask: bytes | None = None, *, matting: Matting | None = None, threshold: float = THRESHOLD
) -> Subject:
    """Cut out the one thing that a picture shows.

    Args:
        data: A picture file, as somebody gave it.
        mask: A picture file of the same size, white where the thing is; it wins over everything else.
        matting: A model that finds the opacity; None goes without.
        threshold: How sure a pixel must be to belong to the thing, in (0, 1); higher cuts away more.

    Returns:
        The thing, never empty.

    Raises:
        RequestError: "bad_image" or "bad_mask" of a file that cannot be read, "no_subject" where nothing can be found,
            "needs_mask" where nothing tells it from its background.
    """
    picture = read_picture(data)
    if mask is not None:
        marked = read_picture(mask).pixels
        if marked.shape != picture.pixels.shape:
            sizes = [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (picture.pixels, marked)]
            what = f"The picture has {sizes[0]} pixels and its mask {sizes[1]}."
            raise RequestError("bad_mask", what, "Give a mask of the picture's size.")
        rgba = np.dstack([picture.pixels[..., :3], marked[..., 1]])
        return Subject(rgba, "mask")
    if picture.is_cut_out:
        return Subject(picture.pixels, "alpha")
    what = "Nothing tells the subject from its background."
    raise RequestError("needs_mask", what, "Cut it out and save it as PNG with transparency, or give a mask.")
