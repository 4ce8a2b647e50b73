"""GrabCut (Rother et al. 2004): colours of thing and background as two mixtures, learned from the cut they lead to.

Knows colours on a small picture. Knows no files and does not judge what it found (`judging`). Nobody draws a rectangle
here: the picture's border is taken for background, what is unlike it for the thing. The cut itself is `minimum_cut`,
not OpenCV's: docs/images.md has both side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .border_plane import Background, border, clustered
from .minimum_cut import minimum_cut

COMPONENTS = 5  # of each mixture, as published
STEPS = (30, 40, 60, 100)  # of the cut in each round
SMOOTHING = 0.8  # pixels: what the mixtures see is without the sensor's noise
SAMPLE = 6000  # pixels that a mixture is fitted to
FLOOR = 0.02  # least standard deviation of a component in each channel
LENGTH = 20.0  # nats that one pixel of edge costs where the picture is flat
MOST_WISH = 8.0  # nats: no pixel's colour may outvote its neighbours without limit
FRAME = 3.0  # nats against the thing at the very edge of the picture


@dataclass(frozen=True)
class Cut:
    """What was found.

    Args:
        share: Above one half where the thing is. (h, w) float32 in [0, 1].
        contrast: Nats by which an average pixel of the thing is better explained as thing than as background.
    """

    share: np.ndarray
    contrast: float


@dataclass(frozen=True)
class Mixture:
    """Gaussians over colours: weights (K,), means (K, C), inverse roots of the covariances (K, C, C)."""

    weights: np.ndarray
    means: np.ndarray
    whitening: np.ndarray

    @classmethod
    def fit(cls, sample: np.ndarray) -> Mixture:
        """The mixture of k-means' clusters. sample (N, C), N at least 1."""
        step = max(1, len(sample) // SAMPLE)
        sample = sample[::step]
        labels = clustered(sample, COMPONENTS)
        parts = [sample[labels == label] for label in np.unique(labels)]
        floor = FLOOR**2 * np.eye(sample.shape[1])
        spreads = [np.cov(part.T, bias=True) + floor if len(part) > 1 else floor for part in parts]
        roots = np.stack([np.linalg.inv(np.linalg.cholesky(spread)) for spread in spreads])
        return cls(np.array([len(part) for part in parts]) / len(sample), np.stack([p.mean(0) for p in parts]), roots)

    def log_density(self, colours: np.ndarray) -> np.ndarray:
        """(N, C) to (N,), natural logarithm, less a constant that all mixtures share."""
        best = np.full(len(colours), -np.inf, np.float32)
        for weight, mean, root in zip(self.weights, self.means, self.whitening, strict=True):
            off = (colours - mean) @ root.T
            term = np.log(weight) + np.log(np.diag(root)).sum() - 0.5 * (off * off).sum(-1)
            best = np.logaddexp(best, term)
        return best


def grab(colours: np.ndarray, background: Background, threshold: float = 0.5) -> Cut | None:
    """Cut the thing out.

    Args:
        colours: sRGB. (h, w, 3) float32 in [0, 1].
        background: As far as the border has one.
        threshold: Above 0.5 a pixel must be more like the thing to be taken, below 0.5 less.

    Returns:
        The cut; None where everything or nothing was taken.
    """
    h, w = colours.shape[:2]
    band = border((h, w))
    features = ndimage.gaussian_filter(colours, (SMOOTHING, SMOOTHING, 0))
    flat = features.reshape(-1, 3)
    weight = LENGTH * _edge_weight(colours)
    bias = _frame(h, w) + 2 * np.log(threshold / (1 - threshold))
    outside = Mixture.fit(features[band])
    unlike = background.distance if background.is_sure else -outside.log_density(flat).reshape(h, w)
    inside = (unlike > np.quantile(unlike[band], 0.97)) & ~band
    share = None
    for steps in STEPS:
        if not 20 < inside.sum() < inside.size - 20:
            return None
        thing, outside = Mixture.fit(features[inside]), Mixture.fit(features[~inside])
        wish = outside.log_density(flat) - thing.log_density(flat)
        wish = wish.reshape(h, w).clip(-MOST_WISH, MOST_WISH)
        share = minimum_cut(wish + bias, weight, steps, share)
        inside = share > 0.5
    if not inside.any():
        return None
    return Cut(share, float(-wish[inside].mean()))


def _edge_weight(colours: np.ndarray) -> np.ndarray:
    """Near 1 where the picture is flat, small across its edges; the published exp(-beta |difference|^2)."""
    smooth = ndimage.gaussian_filter(colours, (0.8, 0.8, 0))
    square = (np.diff(smooth, axis=0, append=smooth[-1:]) ** 2).sum(-1)
    square += (np.diff(smooth, axis=1, append=smooth[:, -1:]) ** 2).sum(-1)
    return np.exp(-square / (2 * max(float(square.mean()), 1e-7)))


def _frame(h: int, w: int) -> np.ndarray:
    """Nats against the thing: `FRAME` at the edge, nothing a tenth of the shorter side inside."""
    y, x = np.ogrid[0:h, 0:w]
    inside = np.minimum(np.minimum(y, h - 1 - y), np.minimum(x, w - 1 - x)) / (0.1 * min(h, w))
    return FRAME * np.clip(1 - inside, 0, 1)
