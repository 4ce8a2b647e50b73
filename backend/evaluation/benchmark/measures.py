"""What the benchmark measures of an asset whose truth is known. Definitions with their reasons: docs/evaluation.md.

Knows pictures, solids and points; asks no network (`similarity` does). Everything is in the convention of
`evaluation.models`: longest side 1, standing on the ground, front +x.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.metrics import structural_similarity
from torch import Tensor

from dreamlift.assets.normals import face_normals
from dreamlift.evaluation.benchmark.pictures import Pictures
from dreamlift.evaluation.models import VOLUME_GRID, VOLUME_HIGH, VOLUME_LOW, Model

WHITE = 1.0  # background of PSNR and SSIM, as published evaluations have it
BEST_PSNR = 60.0  # dB, of equal pictures: 8-bit textures cannot tell more
SURFACE_POINTS, NEAREST_POINTS = 20_000, 100_000  # the denser, the less do the points' own gaps count
STRAY = 0.045  # longest sides: what lies farther off the true object is stray; three cells of the volume grid
FLOATER_REACH = 0.10  # longest sides: a stray body that reaches so far is a floater, a nearer one a swelling
FLOATER_SHARE = 5e-4  # of the true volume: a smaller stray body is not counted
SHARP_LEAST = 5e-4  # variance of the truth's Laplacian: below it, there is nothing to be sharp
_SHARP_BORDER = 2  # pixels inside the silhouette that are left out
_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709


def psnr(one: Tensor, other: Tensor) -> float:
    """Peak signal to noise ratio of pictures (N, 3, H, W) in [0, 1], mean over them, dB, at most `BEST_PSNR`."""
    error = (one - other).square().flatten(1).mean(1)
    return float((-10 * error.clamp_min(10 ** (-BEST_PSNR / 10)).log10()).mean())


def psnr_inside(one: Pictures, other: Pictures) -> float:
    """As `psnr` of the lit pictures on white, over the pixels that either covers by half: no background helps."""
    values = []
    for k, place in enumerate(one.mask | other.mask):
        if place.any():
            difference = one.over(WHITE)[k][:, place] - other.over(WHITE)[k][:, place]
            error = difference.square().mean().clamp_min(10 ** (-BEST_PSNR / 10))
            values.append(float(-10 * error.log10()))
    return float(np.mean(values)) if values else 0.0


def ssim(one: Tensor, other: Tensor) -> float:
    """Structural similarity of pictures (N, 3, H, W), Gaussian window of 1.5 px [Wang et al. 2004], mean over them."""
    values = [
        structural_similarity(
            a.numpy(), b.numpy(), channel_axis=0, data_range=1.0, gaussian_weights=True, use_sample_covariance=False
        )
        for a, b in zip(one, other, strict=True)
    ]
    return float(np.mean(values))


def silhouette_iou(one: Pictures, other: Pictures) -> float:
    """Intersection over union of the silhouettes, mean over the pictures."""
    both = (one.mask & other.mask).sum((1, 2))
    either = (one.mask | other.mask).sum((1, 2)).clamp(min=1)
    return float((both / either).mean())


def normal_error(one: Pictures, other: Pictures) -> float | None:
    """Mean angle between the normals where both models cover a pixel altogether, degrees; None where they never do."""
    common = one.whole & other.whole
    if not common.any():
        return None
    cosine = (one.normals * other.normals).sum(1)[common].clamp(-1, 1)
    return float(torch.rad2deg(torch.arccos(cosine)).mean())


def chamfer(one: Model, other: Model) -> float:
    """Mean distance from `SURFACE_POINTS` of one surface to the nearest of `NEAREST_POINTS` of the other.

    Returns:
        Mean of both directions, in longest sides. Points are spread evenly by area and are the same at every call.
    """
    return (_distance(one, other) + _distance(other, one)) / 2


def _distance(one: Model, other: Model) -> float:
    near = cKDTree(surface_points(other, NEAREST_POINTS, seed=1))
    return float(near.query(surface_points(one, SURFACE_POINTS, seed=0))[0].mean())


def surface_points(model: Model, count: int, seed: int) -> np.ndarray:
    """Points on the surface, stratified over its area: (count, 3) float64."""
    random = np.random.default_rng(seed)
    areas = face_normals(model.vertices, model.faces)[1].astype(np.float64)
    reach = np.cumsum(areas)
    place = (np.arange(count) + random.random(count)) / count * reach[-1]
    corners = model.vertices[model.faces[np.minimum(np.searchsorted(reach, place), len(areas) - 1)]].astype(np.float64)
    root, share = np.sqrt(random.random(count)), random.random(count)
    weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)  # even over a triangle [Osada et al. 2002]
    return np.einsum("pk,pkd->pd", weights, corners)


def stray(asset: Model, truth: Model) -> tuple[float, int]:
    """What hangs in the air around the true object.

    The pipelines join loose pieces by necks or drop them, so that counting the mesh's components finds nothing: the
    truth says what does not belong there.

    Returns:
        The volume farther than `STRAY` from the true object as a share of the true volume, and the number of its
        connected bodies that reach farther than `FLOATER_REACH`.
    """
    volume = max(np.count_nonzero(truth.inside), 1)
    cell = (VOLUME_HIGH[0] - VOLUME_LOW[0]) / (VOLUME_GRID - 1)
    away = ndimage.distance_transform_edt(~truth.inside) * cell
    labels, count = ndimage.label(asset.inside & (away > STRAY))
    if not count:
        return 0.0, 0
    numbers = np.arange(1, count + 1)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    reach = ndimage.maximum(away, labels, numbers)
    return float(sizes.sum() / volume), int(np.sum((sizes >= FLOATER_SHARE * volume) & (reach > FLOATER_REACH)))


def saturation(pictures: Pictures) -> float:
    """Mean HSV saturation of the lit pixels that are covered altogether, in [0, 1]; 0 where there are none."""
    colour = pictures.lit.permute(0, 2, 3, 1)[pictures.whole]
    if not len(colour):
        return 0.0
    high, low = colour.amax(-1), colour.amin(-1)
    return float(((high - low) / high.clamp_min(1e-6)).mean())


def sharpness(asset: Pictures, truth: Pictures) -> float | None:
    """Variance of the Laplacian of the luma over the truth's, inside both silhouettes; None where the truth is plain.

    1 is as sharp as the truth, less is blurred, more is noisy.
    """
    inside = ndimage.binary_erosion(
        (asset.whole & truth.whole).numpy(), np.ones((1, 3, 3), bool), iterations=_SHARP_BORDER
    )
    own, wanted = (_detail(pictures, inside) for pictures in (asset, truth))
    return None if wanted < SHARP_LEAST else own / wanted


def _detail(pictures: Pictures, inside: np.ndarray) -> float:
    luma = torch.einsum("nchw,c->nhw", pictures.lit, torch.tensor(_LUMA)).numpy()
    laplacian = np.stack([ndimage.laplace(picture) for picture in luma])
    return float(laplacian[inside].var()) if inside.any() else 0.0
