"""Whether what was cut out can be the one thing that a picture shows, and what the artist should know about it.

Knows cuts as arrays of yes and no. Knows no colours and no files. A job takes minutes, so a cut-out that is certainly
not one thing is refused before it begins, and a doubtful one gets a remark.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from dreamlift.pipelines.context import RequestError

MARK_IT = "Crop the picture to one thing, or mark the one that you mean with a mask."
MASK_IT = "Cut it out and save it as PNG with transparency, or mark it with a mask."
SPECK = 0.01  # of the largest piece: smaller ones are dust
GAP = 0.015  # of the shorter side: pieces nearer than twice this belong together
ALIKE = 0.4  # of the largest: a second thing of this size makes the choice the artist's
NOTICED = 0.03  # of the largest: what is left out at this size is told
MOST_OTHERS = 3  # things of at least a twentieth of the largest beside it, that make the picture a crowded one
LEAST_SIDE, SOFT_SIDE = 24, 96  # pixels of the picture: smaller subjects are refused, or will look soft
MOST_AREA = 0.9  # of the picture; more is no subject on a ground
CUT_OFF = 0.05  # of a side of the picture: a subject that reaches it over more than this is cut off there
SIDES = ("top", "bottom", "left", "right")


class Remark(NamedTuple):
    """Something that the artist should know and that stops nothing; `context.warn(*remark)` takes it."""

    code: str
    what: str
    remedy: str


def one_thing(taken: np.ndarray) -> tuple[np.ndarray, list[Remark]]:
    """The largest thing of a cut that was found without being told where to look.

    Args:
        taken: (h, w) bool.

    Returns:
        The thing alone, (h, w) bool, and what to tell.

    Raises:
        RequestError: "no_subject", "several_subjects", or "needs_mask" where nearly all of the picture was taken.
    """
    things, areas = _things(taken)
    if not areas:
        raise no_subject()
    if areas[0] > MOST_AREA * taken.size:
        raise RequestError("needs_mask", "Nothing tells the subject from its background.", MASK_IT)
    alike = 1 + sum(area >= ALIKE * areas[0] for area in areas[1:])
    others = 1 + sum(area >= 0.05 * areas[0] for area in areas[1:])
    if alike > 1 or others > MOST_OTHERS:
        count = max(alike, others)
        raise RequestError("several_subjects", f"The picture shows {count} separate things.", MARK_IT)
    left_out = sum(area >= NOTICED * areas[0] for area in areas[1:])
    remarks = []
    if left_out:
        what = f"The picture shows {left_out} smaller thing{'s' * (left_out > 1)} beside the subject, left out here."
        remarks.append(Remark("things_left_out", what, "If they belong to it, mark all of it with a mask."))
    return things == 1, remarks


def no_subject() -> RequestError:
    """The error of a picture in which nothing stands out."""
    what = "No subject was found: nothing in the picture stands out from its background."
    return RequestError("no_subject", what, MASK_IT)


def check_size(opacity: np.ndarray, scale: float = 1.0) -> list[Remark]:
    """Refuse a subject of too few pixels; remark on one of few.

    Args:
        opacity: (H, W) uint8.
        scale: Pixels of the picture as it came for each of these.

    Raises:
        RequestError: "no_subject" of an empty one, "small_subject".
    """
    rows, columns = (np.flatnonzero((opacity > 127).any(axis)) for axis in (1, 0))
    if not rows.size:
        raise no_subject()
    tall, wide = (int(index[-1] - index[0]) + 1 for index in (rows, columns))
    side = round(max(tall, wide) * scale)
    what = f"The subject is {round(wide * scale)} x {round(tall * scale)} pixels large in the picture"
    if side < LEAST_SIDE:
        remedy = f"Give a picture in which its longer side has at least {LEAST_SIDE} pixels."
        raise RequestError("small_subject", f"{what}.", remedy)
    if max(tall, wide) < SOFT_SIDE:
        return [Remark("small_subject", f"{what}: the object will look soft.", "A closer picture shows more.")]
    return []


def cut_off(opacity: np.ndarray) -> list[Remark]:
    """Remark on a subject that the picture's edge cuts; one that is trimmed on all four sides is not meant.

    Args:
        opacity: (H, W) uint8.
    """
    edges = (opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1])
    reached = [name for name, edge in zip(SIDES, edges, strict=True) if (edge > 127).mean() > CUT_OFF]
    touched = sum(bool((edge > 127).any()) for edge in edges)
    if not reached or touched == len(SIDES):
        return []
    where = " and ".join(([", ".join(reached[:-1])] if reached[1:] else []) + reached[-1:])
    what = f"The subject reaches the picture's edge ({where}); what is beyond it is guessed."
    return [Remark("cut_off", what, "Give a picture that shows all of it, with some room around it.")]


def pieces(opacity: np.ndarray) -> list[Remark]:
    """Remark on a cut-out that somebody made and that lies in several separate parts.

    Args:
        opacity: (H, W) uint8.
    """
    areas = _things(opacity > 127)[1]
    count = sum(area >= NOTICED * areas[0] for area in areas) if areas else 0
    if count < 2:
        return []
    what = f"The cut-out has {count} separate parts; all of them become one object."
    return [Remark("several_parts", what, "Cut out one thing alone if they do not belong together.")]


def _things(taken: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Labels of the things, 1 the largest, 0 for ground and dust; and their areas in that order."""
    labels, count = ndimage.label(taken, np.ones((3, 3)))
    if not count:
        return labels, []
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    kept = taken & (areas >= max(8, SPECK * areas.max()))[labels]
    width = max(1, round(GAP * min(taken.shape)))
    together, count = ndimage.label(ndimage.binary_dilation(kept, iterations=width))
    together *= kept
    areas = np.bincount(together.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-areas, kind="stable")
    rank = np.zeros(count + 1, int)
    rank[order + 1] = np.arange(1, count + 1)
    return rank[together], [int(area) for area in areas[order] if area]
