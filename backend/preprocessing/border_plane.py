"""A background of one smooth colour field, or of up to three: fitted to the picture's border, and what differs.

Knows colours on a small picture. Knows no files and does not judge what it found (`judging`). Studio shots, product
pictures and renders have one field; a wall behind a table has two. `grabcut` is for the others.

A field is a quadratic in x and y for each channel, so that a gradient and a vignette fit. It is fitted to the border
alone, again and again without what disagrees, because the subject may reach the border.
"""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.cluster.vq import kmeans2

BAND = 0.03  # of the shorter side: how far inside the picture its border reaches
ROUNDS = 6
MOST_FIELDS = 3
SMOOTHINGS = (0.7, 2.0)  # pixels; the second is for a sensor's or a film's noise
OUTLIER = 3.5  # standard deviations beyond which a border pixel is not background
FLOOR = 1.6 / 255  # least standard deviation: JPEG's own noise
MOST_RESIDUAL = 2.6 / 255  # standard deviation of the smoothed border about its fields; above it they say nothing
LEAST_AGREEING = 0.75  # share of the border that must be background
MEETING = 4  # pixels: where two fields meet, colours between theirs are background too
DISTANCE = 5.0  # standard deviations from every field that make a pixel the subject's
HALO, HALO_REACH = 0.09, 4  # share of the strongest difference so many pixels around that is JPEG's ringing
SHADOW_HUE = 0.045  # largest difference between the channels' darkening, as a share
SHADOW_DARKEST = 0.45  # darker than this share of the background is not shadow but thing
SHADOW_SLOPE = 3.0 / 255  # steepest change a pixel inside a soft shadow
MOST_SHADOW = 0.6  # of what differs: if more than this looks like shadow, the thing has the background's hue


@dataclass(frozen=True)
class Background:
    """The background as the picture's border tells it.

    Args:
        colour: Of the field that each pixel is nearest to. (h, w, 3) float32, may leave [0, 1] a little.
        distance: How far each pixel is from it, in standard deviations. (h, w) float32.
        residual: Standard deviation of the border about its fields, the largest channel's.
        agreeing: Share of the border that is background.
        fields: How many there are.
    """

    colour: np.ndarray
    distance: np.ndarray
    residual: float
    agreeing: float
    fields: int

    @property
    def is_sure(self) -> bool:
        """Whether the border is made of smooth colour fields."""
        return self.residual <= MOST_RESIDUAL and self.agreeing >= LEAST_AGREEING


def border(shape: tuple[int, int], share: float = BAND) -> np.ndarray:
    """(h, w) bool: within `share` of the shorter side from the edge, at least two pixels."""
    width = max(2, round(min(shape) * share))
    inside = np.zeros(shape, bool)
    inside[width:-width, width:-width] = True
    return ~inside


def fit_background(colours: np.ndarray) -> Background:
    """The simplest background that explains the border; one that is not sure where none does.

    Args:
        colours: sRGB. (h, w, 3) float32 in [0, 1].
    """
    first = None
    for fields in range(1, MOST_FIELDS + 1):
        for smoothing in SMOOTHINGS:
            found = _fit(ndimage.gaussian_filter(colours, (smoothing, smoothing, 0)), fields)
            if found is not None and found.is_sure:
                return found
            first = first or found
    return first


def clustered(sample: np.ndarray, count: int) -> np.ndarray:
    """Groups of like colours by k-means, the same every time.

    Args:
        sample: (N, 3), N at least 1.
        count: Most groups; fewer where there are fewer colours.

    Returns:
        (N,) int: each one's group; a group may be empty.
    """
    count = min(count, len(np.unique(sample.round(3), axis=0)))
    if count == 1:
        return np.zeros(len(sample), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of empty groups
        return kmeans2(sample, count, iter=10, minit="++", seed=0)[1]


def _fit(colours: np.ndarray, fields: int) -> Background | None:
    """`fields` fields, each fitted to one group of the border's colours; None where no group has a corner."""
    h, w = colours.shape[:2]
    band = border((h, w))
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1)
    seen = colours[band]
    groups = clustered(seen, fields)
    fitted = []
    for group in range(fields):
        mine = groups == group
        # A colour that no corner has is taken for a subject that reaches the border, not for ground or wall.
        if fields == 1 or mine.any() and _has_a_corner(mine, band):
            fitted.append(_fit_field(terms[band], seen, mine))
    if not fitted:
        return None
    off, agrees = np.stack([seen - terms[band] @ each[0] for each in fitted]), np.stack([each[1] for each in fitted])
    nearest = np.stack([_mahalanobis(o, o[a]) for o, a in zip(off, agrees, strict=True)]).argmin(0)
    agreeing = agrees.any(0)
    about = np.take_along_axis(off, nearest[None, :, None], 0)[0][agreeing]
    planes = np.stack([terms @ solution for solution, _ in fitted])
    samples = [o[a] for o, a in zip(off, agrees, strict=True)]
    distances = np.stack([_far(colours - plane, sample) for plane, sample in zip(planes, samples, strict=True)])
    closest = distances.argmin(0)
    colour = np.take_along_axis(planes, closest[None, ..., None], 0)[0]
    distance = np.minimum(distances.min(0), _far_from_mixtures(colours, planes, samples, closest))
    residual = float(about.std(0).max())
    return Background(colour, distance.astype(np.float32), residual, float(agreeing.mean()), len(fitted))


def _far_from_mixtures(
    colours: np.ndarray, planes: np.ndarray, samples: list[np.ndarray], closest: np.ndarray
) -> np.ndarray:
    """Distance from what two fields mix to, along the line where they meet; infinite elsewhere. (h, w)."""
    least = np.full(closest.shape, np.inf)
    for first, second in itertools.combinations(range(len(planes)), 2):
        of_both = [ndimage.binary_dilation(closest == field, iterations=MEETING) for field in (first, second)]
        apart = planes[second] - planes[first]
        share = ((colours - planes[first]) * apart).sum(-1) / np.maximum((apart * apart).sum(-1), 1e-6)
        mixed = planes[first] + share.clip(0, 1)[..., None] * apart
        least = np.where(of_both[0] & of_both[1], np.minimum(least, _far(colours - mixed, samples[first])), least)
    return least


def _far(off: np.ndarray, sample: np.ndarray) -> np.ndarray:
    return _mahalanobis(off.reshape(-1, 3), sample).reshape(off.shape[:2])


def _fit_field(basis: np.ndarray, seen: np.ndarray, mine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (6, 3) of the field of a group of border pixels, and which of the border agree with it (N,)."""
    middle = np.abs(seen - np.median(seen[mine], 0)).max(-1)
    keep = mine & (middle <= np.quantile(middle[mine], 0.7))
    for _ in range(ROUNDS):
        solution = np.linalg.lstsq(basis[keep], seen[keep], rcond=None)[0]
        off = seen - basis @ solution
        agrees = (_mahalanobis(off, off[keep]) < OUTLIER) & mine
        if agrees.sum() < 20:  # nothing agrees with anything: the group stays as it was
            return solution.astype(np.float32), keep
        keep = agrees
    return solution.astype(np.float32), keep


def _has_a_corner(mine: np.ndarray, band: np.ndarray) -> bool:
    marked = np.zeros(band.shape, bool)
    marked[band] = mine
    size = max(2, round(min(band.shape) * BAND))
    corners = (marked[:size, :size], marked[:size, -size:], marked[-size:, :size], marked[-size:, -size:])
    return any(corner.mean() > 0.5 for corner in corners)


def differing(colours: np.ndarray, background: Background, threshold: float = 0.5) -> np.ndarray:
    """What is not background and not its shadow.

    Args:
        colours: As given to `fit_background`.
        background: Of it.
        threshold: 0.5 takes `DISTANCE`; t takes t / (1 - t) times that.

    Returns:
        (h, w) bool.
    """
    other = background.distance > DISTANCE * threshold / (1 - threshold)
    other &= background.distance > HALO * ndimage.maximum_filter(background.distance, 2 * HALO_REACH + 1)
    soft = _shadow(colours, background, other)
    other = other & ~soft if soft.sum() < MOST_SHADOW * max(other.sum(), 1) else other
    return ndimage.binary_opening(other) if background.fields > 1 else other  # what is left of their meeting line


def _shadow(colours: np.ndarray, background: Background, other: np.ndarray) -> np.ndarray:
    """Where the background only gets darker, softly, seen from the background: (h, w) bool."""
    smooth = ndimage.gaussian_filter(colours, (1, 1, 0))
    share = smooth / np.maximum(background.colour, 0.04)
    darkening = share.mean(-1)
    one_hue = np.abs(share - darkening[..., None]).max(-1) < SHADOW_HUE
    slope = np.hypot(*np.gradient(darkening * background.colour.mean(-1)))
    candidates = one_hue & (darkening > SHADOW_DARKEST) & (darkening < 1.0) & (slope < SHADOW_SLOPE)
    return ndimage.binary_propagation(~other, mask=~other | candidates) & other


def _mahalanobis(off: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Distance in the sample's standard deviations, about zero; never finer than `FLOOR`."""
    spread = sample.T @ sample / max(len(sample), 1) + FLOOR**2 * np.eye(3)
    return np.sqrt(np.einsum("ni,ij,nj->n", off, np.linalg.inv(spread), off, optimize=True))
