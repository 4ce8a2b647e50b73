"""From a rough cut to opacity and clean colours at the picture's own resolution.

Knows pixels. Knows no files and does not find the subject. An edge pixel mixes the colours of thing and ground,
c = a F + (1 - a) B: with F from the nearest pixel well inside and B from the nearest well outside, a is the
least-squares answer, and F is the colour that it keeps, so that no fringe of the old ground remains.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

BAND = 2.5  # pixels of the rough cut: how far from its edge the true one may lie
CORE = 0.7  # of the thickest place near by: how deep inside a thin part its own colour is taken
LEAST_CONTRAST = 0.05  # between F and B; below it opacity cannot be told from colour
SOLID = 0.97  # opacity from which a pixel keeps its own colour
FRINGE = 0.01  # of the longer side: how far a fringe of a ready cut-out reaches, beside two pixels


def matte(colours: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Opacity and clean colours of a rough cut.

    Args:
        colours: The whole picture. (H, W, 3) uint8 sRGB.
        share: Above one half where the thing is, at a lower resolution. (h, w) float32 in [0, 1].

    Returns:
        (H, W, 4) uint8.
    """
    height, width = colours.shape[:2]
    large = Image.fromarray(share.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    rough = np.asarray(large)
    taken = rough > 0.5
    reach = BAND * max(height / share.shape[0], 1.0)
    rows, columns = _around(taken, int(3 * reach) + 2)
    rgba = np.dstack([colours, np.zeros((height, width), np.uint8)])
    part = colours[rows, columns].astype(np.float32) / 255
    opacity, inner = _solve(part, taken[rows, columns], rough[rows, columns], reach)
    mixed = (opacity < SOLID)[..., None]
    rgba[rows, columns, :3] = (np.where(mixed, inner, part) * 255).round().clip(0, 255)
    rgba[rows, columns, 3] = (opacity * 255).round()
    return rgba


def _solve(colours: np.ndarray, taken: np.ndarray, rough: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Opacity (H, W) and the thing's own colour at each pixel (H, W, 3)."""
    depth, height = ndimage.distance_transform_edt(taken), ndimage.distance_transform_edt(~taken)
    thickest = ndimage.maximum_filter(depth, size=2 * int(reach) + 1)
    core = taken & (depth >= np.minimum(reach, CORE * thickest))
    ground = height > reach
    inner = _nearest(colours, core)
    outer = _nearest(colours, ground) if ground.any() else np.zeros_like(colours)
    apart = inner - outer
    square = (apart * apart).sum(-1)
    solved = ((colours - outer) * apart).sum(-1) / np.maximum(square, 1e-6)
    solved = np.where(square > LEAST_CONTRAST**2, (solved - 0.05) / 0.9, rough)
    # The rough cut is not wrong by more than its band; a shadow beside the thing is no half of it.
    lowest, highest = np.clip((depth - 1) / reach, 0, 1), np.clip(1.2 - (height - 1) / reach, 0, 1)
    opacity = np.clip(np.where(ground, 0, solved), lowest, highest)
    return np.where(core, 1, opacity).astype(np.float32), inner


def _nearest(colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    """At each pixel the colour of the nearest known one, smoothed over its known neighbours. (H, W, 3)."""
    weight = ndimage.gaussian_filter(known.astype(np.float32), 1.0)[..., None]
    mean = ndimage.gaussian_filter(colours * known[..., None], (1, 1, 0)) / np.maximum(weight, 1e-4)
    index = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return mean[tuple(index)]


def _around(taken: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The box of what is taken, with a margin."""
    found = []
    for axis in (1, 0):
        index = np.flatnonzero(taken.any(axis))
        found.append(slice(max(0, int(index[0]) - margin), int(index[-1]) + 1 + margin))
    return found[0], found[1]


def without_fringe(rgba: np.ndarray) -> np.ndarray:
    """A ready cut-out whose edge carries no colour of an old ground, nor black where it was saved premultiplied.

    Args:
        rgba: (H, W, 4) uint8.

    Returns:
        The same with the opacity as it was; colours change where it is partial. (H, W, 4) uint8.
    """
    opacity = rgba[..., 3].astype(np.float32) / 255
    partial = (opacity > 0) & (opacity < SOLID)
    solid = opacity >= SOLID
    if not partial.any() or not solid.any():
        return rgba
    colours = rgba[..., :3].astype(np.float32) / 255
    if is_premultiplied(rgba):
        colours = np.where(
            partial[..., None], np.clip(colours / np.maximum(opacity, 1 / 255)[..., None], 0, 1), colours
        )
    reach = 2 + FRINGE * max(rgba.shape[:2])
    near = partial & (ndimage.distance_transform_edt(~solid) <= reach)  # farther in it is glass or hair, not an edge
    colours = np.where(near[..., None], _nearest(colours, solid), colours)
    return np.dstack([(colours * 255).round().astype(np.uint8), rgba[..., 3]])


def is_premultiplied(rgba: np.ndarray) -> bool:
    """Whether no partly transparent pixel is brighter than its opacity, as only multiplied colours are.

    Args:
        rgba: (H, W, 4) uint8.
    """
    partial = (rgba[..., 3] > 0) & (rgba[..., 3] < 250)
    solid = rgba[..., 3] >= 250
    if partial.sum() < 16 or not solid.any():
        return False
    brightest = rgba[..., :3].max(-1).astype(int)
    if np.quantile(brightest[solid], 0.9) < 64:  # a dark thing looks like that either way
        return False
    return bool((brightest[partial] <= rgba[..., 3][partial].astype(int) + 2).mean() > 0.995)


def moved_edge(opacity: np.ndarray, threshold: float) -> np.ndarray:
    """Opacity with its edge moved: what was `threshold` becomes one half, 0 and 1 stay.

    Args:
        opacity: (H, W) float32 in [0, 1].
        threshold: In (0, 1); 0.5 changes nothing.
    """
    return opacity if threshold == 0.5 else opacity ** (np.log(0.5) / np.log(threshold))
