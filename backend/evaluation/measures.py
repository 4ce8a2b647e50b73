"""How like two solids are: silhouettes, depth, volume, class, colour. Definitions: docs/evaluation.md.

Knows models and their views. Knows no priors and no pipelines.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from skimage.color import rgb2lab
from torch import Tensor

from dreamlift.evaluation.models import Model, key_of, model_of_truth
from dreamlift.evaluation.views import Views, views_of
from dreamlift.training.objects import CLASSES, COLOURS, ProceduralObject

DEPTH_REACH = 0.2  # depth difference, in units of the longest side, from which two pixels have nothing in common
LEAST_SHARE = 0.05  # of a painted region that the asset must cover before its colour there means anything


def silhouette_iou(one: Views, other: Views) -> float:
    """Intersection over union of the silhouettes, mean over the views."""
    both = (one.mask & other.mask).sum((1, 2))
    either = (one.mask | other.mask).sum((1, 2)).clamp(min=1)
    return float((both / either).mean())


def volume_iou(one: Model, other: Model) -> float:
    """Intersection over union of the volumes on the common grid."""
    either = np.count_nonzero(one.inside | other.inside)
    return float(np.count_nonzero(one.inside & other.inside) / max(either, 1))


def shape_agreement(one: Views, other: Views) -> float:
    """Silhouette IoU in which a common pixel counts less the farther apart the depths are; mean over the views.

    A pixel counts max(0, 1 - |difference| / DEPTH_REACH).
    """
    both = one.mask & other.mask
    near = (1 - (one.depth - other.depth).abs() / DEPTH_REACH).clamp(min=0) * both
    either = (one.mask | other.mask).sum((1, 2)).clamp(min=1)
    return float((near.sum((1, 2)) / either).mean())


def nearest_class(views: Views) -> str:
    """The class whose mean object agrees best in silhouette and depth."""
    return max(CLASSES, key=lambda kind: shape_agreement(views, _class_views(kind)))


@functools.lru_cache(maxsize=64)
def truth_views(item_key: tuple) -> Views:
    """Views of a true object, by `key_of`; cached like its model."""
    return views_of(model_of_truth(item_key))


def _class_views(kind: str) -> Views:
    return truth_views((kind, "red", None, None, None))


def colours_found(views: Views, item: ProceduralObject) -> tuple[str | None, ...]:
    """The colour that the asset has for each colour its prompt names.

    Args:
        views: Of the asset.
        item: The prompt's object. Its first colour, and the second where the prompt names one, are looked for where the
            true object shows them; a prompt with one colour is compared over the whole object.

    Returns:
        Names from `COLOURS`, one for each named colour; None where the asset has nothing at that place.
    """
    if item.second is None:
        return (_colour_of_whole(views, item),)
    return tuple(_colour_of_region(views, item, paint) for paint in ("first", "second"))


def colours_right(views: Views, item: ProceduralObject) -> bool:
    """Whether every colour that the prompt names is the one found."""
    wanted = (item.first,) if item.second is None else (item.first, item.second)
    return colours_found(views, item) == wanted


def _colour_of_whole(views: Views, item: ProceduralObject) -> str | None:
    if not views.mask.any():
        return None
    found = views.colour[views.mask].mean(0)
    means = {}
    for name in COLOURS:
        truth = truth_views(key_of(ProceduralObject(item.kind, name, None, item.pattern, item.stacked)))
        means[name] = truth.colour[truth.mask].mean(0)
    return _nearest(found, means)


def _colour_of_region(views: Views, item: ProceduralObject, paint: str) -> str | None:
    """Mean colour where the true object shows one paint, against the same region in every colour."""
    region = _painted(item, paint)
    common = region & views.mask
    if common.sum() < LEAST_SHARE * region.sum():
        return None
    means = {}
    for name in COLOURS:
        first, second = (name, item.second) if paint == "first" else (item.first, name)
        truth = truth_views(key_of(ProceduralObject(item.kind, first, second, item.pattern, item.stacked)))
        means[name] = truth.colour[region & truth.mask].mean(0)
    return _nearest(views.colour[common].mean(0), means)


def _painted(item: ProceduralObject, paint: str) -> Tensor:
    """Pixels (8, R, R) of the true object whose colour changes when that paint's colour does."""
    pictures = []
    for name in ("cyan", "orange"):  # any two colours that differ in every channel
        first, second = (name, "black") if paint == "first" else ("black", name)
        pictures.append(truth_views(key_of(ProceduralObject(item.kind, first, second, item.pattern, item.stacked))))
    return pictures[0].mask & ((pictures[0].colour - pictures[1].colour).abs().amax(-1) > 0.1)


def _nearest(found: Tensor, means: dict[str, Tensor]) -> str:
    """Nearest by distance in CIE Lab, where equal steps look equally large."""
    names = list(means)
    known = lab(torch.stack([means[name] for name in names]))
    return names[int(np.linalg.norm(known - lab(found[None]), axis=1).argmin())]


def lab(colours: Tensor) -> np.ndarray:
    """sRGB (P, 3) in [0, 1] to CIE Lab (P, 3), D65."""
    return rgb2lab(colours.numpy().astype(np.float64).reshape(-1, 1, 3)).reshape(-1, 3)
