"""The cheapest cut of a picture in two: each pixel's wish against the length of the edge between the parts.

Knows arrays. It minimises sum(w |grad u| + u f) over u in [0, 1], whose solution cut at one half is the minimum cut
(Chan, Esedoglu, Nikolova 2006), by the primal-dual iteration of Chambolle and Pock (2011), algorithm 1. A graph cut on
eight neighbours approximates the same energy, with the grid showing in its edges.
"""

from __future__ import annotations

import numpy as np

STEP = 0.35  # of both variables; the product of the two must stay below 1 / 8, the squared norm of the gradient


def minimum_cut(wish: np.ndarray, weight: np.ndarray, steps: int = 150, start: np.ndarray | None = None) -> np.ndarray:
    """Cut.

    Args:
        wish: What it costs to take a pixel, in the unit of `weight`; negative where it wants to be taken. (h, w).
        weight: What a pixel's length of edge costs there. (h, w), not negative.
        steps: Of the iteration.
        start: Where it begins. (h, w) in [0, 1]; None begins with the wishes alone.

    Returns:
        (h, w) float32 in [0, 1]: above one half where the pixel is taken.
    """
    wish, weight = wish.astype(np.float32), weight.astype(np.float32)
    u = (wish < 0).astype(np.float32) if start is None else start.astype(np.float32)
    ahead, down, right = u.copy(), np.zeros_like(u), np.zeros_like(u)
    for _ in range(steps):
        down[:-1] += STEP * (ahead[1:] - ahead[:-1])
        right[:, :-1] += STEP * (ahead[:, 1:] - ahead[:, :-1])
        shrink = np.minimum(1, weight / np.maximum(np.hypot(down, right), 1e-8))
        down *= shrink
        right *= shrink
        flow = down + right
        flow[1:] -= down[:-1]
        flow[:, 1:] -= right[:, :-1]
        before, u = u, np.clip(u + STEP * (flow - wish), 0, 1)
        ahead = 2 * u - before
    return u
