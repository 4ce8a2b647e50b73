"""A residual on a textured mesh that explains many soft pictures at once, with edges and without their noise.

Knows sparse linear maps from nodes to pixels and pairs of neighbouring nodes. Knows no mesh, no prior and no camera.

    r* = argmin_r  1/2 sum_k w_k |(G E r)_k - y_k|^2 + v/2 sum_(i,j) s_ij |c_i + r_i - c_j - r_j|^2 + keep/2 |r|^2
    s_ij = max(eps^2 / (d_ij^2 + eps^2), least) / eps,  d_ij the difference of the c + r of now, smoothed a little

G is the softness of the pictures themselves: what explains soft pictures after G is sharper than they are. s_ij lets go
of neighbours that differ (Perona and Malik 1990) and holds those that do not, so noise is smoothed and an edge is not;
the differences are taken after smoothing (Catte et al. 1992), since a single odd node is noise and no edge. Solved by
reweighting s_ij, each time with a few steps of conjugate gradients from where the last ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

Apply = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FitSettings:
    """How a residual is fitted.

    Args:
        variation: v above.
        edge: eps above, sRGB: smaller differences are smoothed like noise.
        smoothing: Times that every node takes the mean of its neighbours before differences are taken.
        keep: Pull of every node towards the baked colour.
        least: Share of s that is left at any edge. At 0 a node that few pixels see beside one takes any colour, and
            a row of odd dots lies along it.
        reweightings: How often s_ij is taken anew.
        steps: Of conjugate gradients after each.
    """

    variation: float = 2e-3
    edge: float = 0.02
    smoothing: int = 2
    keep: float = 1e-3
    least: float = 0.05
    reweightings: int = 8
    steps: int = 8


def fit(
    effect: sparse.csr_matrix,  # (M, K)
    wanted: np.ndarray,  # (M, 3)
    weights: np.ndarray,  # (M,)
    baked: np.ndarray,  # (K, 3)
    neighbours: np.ndarray,  # (E, 2)
    settings: FitSettings,
    soften: Apply = lambda pixels: pixels,
) -> np.ndarray:
    """Find the residual.

    Args:
        effect: E, nodes to pixels. (M, K).
        wanted: y, what the pixels should gain. (M, 3) float32.
        weights: w of each pixel. (M,).
        baked: c, colours of the nodes without a residual. (K, 3).
        neighbours: Pairs (i, j). (E, 2) integer.
        settings: Numbers of the sum above.
        soften: G, on pixels (M, 3); symmetric.

    Returns:
        (K, 3) float32.
    """
    forward, backward = effect, effect.T.tocsr()
    difference = _difference(neighbours, len(baked))
    gather = difference.T.tocsr()
    around = abs(gather) @ abs(difference)  # a node as often as it has neighbours, and each of them once
    shares = np.maximum(np.asarray(around.sum(1), np.float32), 1)
    weights = weights[:, None].astype(np.float32)
    data = backward @ soften(weights * wanted.astype(np.float32))
    diagonal = 2 * np.asarray(backward.power(2) @ weights)  # about, for Jacobi's preconditioner
    residual = np.zeros_like(baked, dtype=np.float32)
    for _ in range(settings.reweightings):
        smooth = baked + residual
        for _ in range(settings.smoothing):
            smooth = around @ smooth / shares
        slope = np.square(difference @ smooth).sum(1, keepdims=True)
        hold = np.maximum(settings.edge**2 / (slope + settings.edge**2), settings.least)
        stiff = (settings.variation / settings.edge * hold).astype(np.float32)

        def normal(x: np.ndarray, stiff: np.ndarray = stiff) -> np.ndarray:
            tied = gather @ (stiff * (difference @ x))
            seen = soften(weights * soften(forward @ x))
            return backward @ seen + tied + settings.keep * x

        right = data - gather @ (stiff * (difference @ baked))
        scale = diagonal + 2 * (abs(gather) @ stiff) + settings.keep
        residual = _conjugate_gradients(normal, right, residual, 1 / scale, settings.steps)
    return residual


def _difference(neighbours: np.ndarray, nodes: int) -> sparse.csr_matrix:
    count = len(neighbours)
    values = np.concatenate([np.ones(count), -np.ones(count)]).astype(np.float32)
    places = (np.tile(np.arange(count), 2), neighbours.T.ravel())
    return sparse.csr_matrix((values, places), (count, nodes), dtype=np.float32)


def _conjugate_gradients(apply: Apply, right: np.ndarray, x: np.ndarray, inverse: np.ndarray, steps: int) -> np.ndarray:
    """Preconditioned conjugate gradients, each column a system of its own."""
    rest = right - apply(x)
    direction = inverse * rest
    energy = (rest * direction).sum(0)
    for _ in range(steps):
        image = apply(direction)
        length = energy / np.maximum((direction * image).sum(0), 1e-20)
        x = x + length * direction
        rest = rest - length * image
        ahead = inverse * rest
        after = (rest * ahead).sum(0)
        direction = ahead + after / np.maximum(energy, 1e-20) * direction
        energy = after
    return x.astype(np.float32)
