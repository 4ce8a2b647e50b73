"""The one thing that a picture shows, cut out of its background.

Knows the order of the ways: a mask, the picture's own transparency, a matting model whose weights are here, the fit of
the border's colours, GrabCut; then it asks for a mask. Knows no pipeline. The ways are in the files beside this one;
what each of them can and cannot do is measured in docs/images.md.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from dreamlift.pipelines.context import RequestError

from . import judging, mattes
from . import matting as models
from .border_plane import differing, fit_background
from .decoding import Picture, read_picture
from .grabcut import grab
from .judging import MASK_IT, Remark
from .matting import Matting
from .placing import FILL, frame_of, framed_rgba, recentred_rgba

log = logging.getLogger(__name__)

THRESHOLD = 0.5
WORKING_SIDE = 320  # pixels, longer side, of the picture in which the thing is looked for
LEAST_CONTRAST = 3.0  # nats by which GrabCut must tell thing from background


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

    def framed(self, size: int, fill: float = FILL) -> np.ndarray:
        """The same, placed to a fraction of a pixel: for what is measured in it. (size, size, 4) uint8."""
        return framed_rgba(self.rgba, size, frame_of(self.rgba, fill))


def subject(
    data: bytes, mask: bytes | None = None, *, matting: Matting | None = None, threshold: float = THRESHOLD
) -> Subject:
    """Cut out the one thing that a picture shows.

    Args:
        data: A picture file, as somebody gave it.
        mask: A picture file of the same shape, white where the thing is; it wins over everything else.
        matting: A model that finds the opacity; None takes the one whose file is on this machine, if any.
        threshold: How sure a pixel must be to belong to the thing, in (0, 1); higher cuts away more.

    Returns:
        The thing, never empty.

    Raises:
        RequestError: "bad_image" or "bad_mask" of a file that cannot be read or used, "no_subject", "several_subjects"
            or "small_subject" of what was found, "needs_mask" where nothing tells it from its background.
        ValueError: `threshold` is out of range.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold} and must be between 0 and 1, both excluded")
    picture = read_picture(data)
    if mask is not None:
        found = _by_mask(picture, mask, threshold)
    elif picture.is_cut_out:
        found = _by_alpha(picture, threshold)
    else:
        found = _by_itself(picture, matting, threshold)
    scale = max(picture.size) / max(picture.pixels.shape[:2])
    opacity = found.rgba[..., 3]
    remarks = [*found.warnings, *judging.check_size(opacity, scale), *judging.cut_off(opacity)]
    return Subject(found.rgba, found.method, tuple(remarks))


def _by_mask(picture: Picture, mask: bytes, threshold: float) -> Subject:
    opacity = _mask_of(mask, picture)
    if picture.is_cut_out:  # there are no colours where it is transparent
        opacity = opacity * (picture.pixels[..., 3] / 255)
    rgba = np.dstack([picture.pixels[..., :3], _as_bytes(mattes.moved_edge(opacity, threshold))])
    if not (rgba[..., 3] > 127).any():
        what = "The mask marks nothing that can be seen."
        raise RequestError("bad_mask", what, "Paint the subject white and the rest black.")
    return Subject(rgba, "mask", (*picture.remarks, *judging.pieces(rgba[..., 3])))


def _mask_of(data: bytes, picture: Picture) -> np.ndarray:
    """Opacity (H, W) float in [0, 1] of a mask file, in the picture's size."""
    try:
        mask = read_picture(data)
    except RequestError as error:
        what = error.what.replace("The picture", "The mask", 1)
        raise RequestError("bad_mask", what, "Give a grey PNG of the picture's size, white on the subject.") from error
    height, width = picture.pixels.shape[:2]
    tall, wide = mask.pixels.shape[:2]
    if abs(wide / tall / (width / height) - 1) > 0.02:
        shown = [f"{size[0]} x {size[1]}" for size in (picture.size, mask.size)]
        what = f"The picture has {shown[0]} pixels and its mask {shown[1]}: they do not lie on each other."
        raise RequestError("bad_mask", what, "Give a mask of the picture's size, upright as the picture is shown.")
    white = mask.pixels[..., :3].max(-1).astype(np.float32) / 255 * (mask.pixels[..., 3] / 255)
    if not (white > 0.5).any() and mask.is_cut_out:  # painted in black on nothing: what is painted is meant
        white = mask.pixels[..., 3].astype(np.float32) / 255
    if white.min() > 0.5:
        what = "The mask is white everywhere and marks nothing."
        raise RequestError("bad_mask", what, "Paint the subject white and the rest black.")
    large = Image.fromarray(white.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(large)


def _by_alpha(picture: Picture, threshold: float) -> Subject:
    rgba = mattes.without_fringe(picture.pixels)
    opacity = mattes.moved_edge(rgba[..., 3].astype(np.float32) / 255, threshold)
    rgba = np.dstack([rgba[..., :3], _as_bytes(opacity)])
    return Subject(rgba, "alpha", (*picture.remarks, *judging.pieces(rgba[..., 3])))


def _by_itself(picture: Picture, matting: Matting | None, threshold: float) -> Subject:
    """Without anybody's word: by a model where there is one, else by the colours."""
    remarks: tuple[Remark, ...] = ()
    if matting is None:
        matting, remarks = models.find()
    if matting is not None:
        try:
            return _by_model(picture, matting, threshold)
        except RequestError as error:
            if error.code != "no_subject":
                raise
            log.info("the matting model finds nothing; the colours decide")
    found = _by_colours(picture, threshold)
    return Subject(found.rgba, found.method, (*remarks, *found.warnings))


def _by_model(picture: Picture, matting: Matting, threshold: float) -> Subject:
    colours = picture.pixels[..., :3]
    opacity = mattes.moved_edge(matting(colours), threshold)
    taken, remarks = judging.one_thing(opacity > 0.5)
    opacity = np.where(_near(taken, opacity.shape), opacity, 0)
    rgba = mattes.without_fringe(np.dstack([colours, _as_bytes(opacity)]))
    return Subject(rgba, "matting", (*picture.remarks, *remarks))


def _near(taken: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """What is taken and the soft edge around it."""
    return ndimage.binary_dilation(taken, iterations=max(2, round(0.01 * max(shape))))


def _by_colours(picture: Picture, threshold: float) -> Subject:
    """By the border's colours where they are smooth, else by GrabCut."""
    small = Image.fromarray(picture.pixels[..., :3])
    small.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.LANCZOS)
    colours = np.asarray(small).astype(np.float32) / 255
    background = fit_background(colours)
    if background.is_sure:
        method, share = "plane", differing(colours, background, threshold).astype(np.float32)
    else:
        method, cut = "grabcut", grab(colours, background, threshold)
        if cut is None or cut.contrast < LEAST_CONTRAST:
            log.info("GrabCut cannot tell thing from background: %s", "nothing" if cut is None else cut.contrast)
            what = "Nothing tells the subject from its background: their colours are too much alike."
            raise RequestError("needs_mask", what, MASK_IT)
        share = cut.share
    taken, remarks = judging.one_thing(share > 0.5)
    rgba = mattes.matte(picture.pixels[..., :3], np.where(taken, share, 0))
    return Subject(rgba, method, (*picture.remarks, *remarks))


def _as_bytes(opacity: np.ndarray) -> np.ndarray:
    return (opacity * 255).round().clip(0, 255).astype(np.uint8)
