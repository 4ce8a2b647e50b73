"""Which side of its subject a picture shows, as the prior sees it.

An image-conditioned multi-view prior knows its cameras and was never told the picture's: whichever of its views looks
like the picture was taken from where the picture was. All sides of the front half are foreseen from pure noise, without
guidance, and compared with the picture, each cropped to its subject. That needs no object, so a handle that did not
grow on the object is no trouble, and takes a call of the denoiser for every set of views. An addition of ours. Knows
the prior and pictures; knows no mesh: `rendering.picture_camera` goes on from here.
"""

from __future__ import annotations

import logging
import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from dreamlift.distillation.mv_sds import Guidance, MultiViewPrior, guided_x0
from dreamlift.preprocessing.placing import FILL, recentred_rgba
from dreamlift.priors.sampling import latent_shape, seed_noise
from dreamlift.rendering.cameras import orthogonal_views
from dreamlift.rendering.picture_camera import AZIMUTHS
from dreamlift.rendering.view_sets import ViewSetRanges

from .field_optimisation import Moment, Tell
from .imagedream_prior import laid_on

log = logging.getLogger(__name__)

ELEVATIONS = (5.0, 20.0)  # degrees, brought into the prior's range
GREY = 0.5  # behind everything
CONTRAST = 0.08  # from grey, of what belongs to a foreseen subject
SMALL = 32  # pixels a side that are compared
OUTLINE_WEIGHT = 0.3  # of the outlines' squared difference beside the colours'
WORST = 0.025  # mean squared difference; beyond it the prior does not know what the picture shows
FIRST_NOISE = 999  # timestep: nothing is seen of what is noised


@torch.no_grad()
def differences_by_side(
    prior: MultiViewPrior, told: Tell, picture: Tensor, ranges: ViewSetRanges, views: int, seed: int
) -> tuple[float, ...] | None:
    """How far a picture is from what the prior foresees of every side.

    Args:
        prior: Of the kind that the picture conditions.
        told: What it is told of the picture.
        picture: The cut-out, straight colour and opacity in [0, 1]. (4, S, S).
        ranges: Of the cameras that the prior knows.
        views: Views a set.
        seed: Of the noise.

    Returns:
        Mean squared difference at each of `picture_camera.AZIMUTHS`, at the better elevation; None where no foreseen
        side is like the picture.
    """
    device = prior.device
    wanted = _cropped(picture.cpu())
    moment = Moment(0, torch.full((3,), GREY, device=device), None, torch.Generator(device).manual_seed(seed))
    condition, guidance = told(moment), Guidance(scale=1.0, rescale=0.0, views=views)
    fovy = sum(ranges.fovy) / 2
    distance = sum(ranges.reach) / 2 / math.tan(math.radians(fovy / 2))
    noise = seed_noise((seed,), (views, *latent_shape(prior))).to(device)
    turn = 360 // views
    apart = dict.fromkeys(AZIMUTHS, float("inf"))
    for elevation in sorted({min(max(e, ranges.elevation[0]), ranges.elevation[1]) for e in ELEVATIONS}):
        for first in (azimuth for azimuth in AZIMUTHS if azimuth < AZIMUTHS[0] + turn):
            cameras = orthogonal_views(first, elevation, distance, fovy, views).to(device)
            latents = guided_x0(prior, noise, cameras, condition, FIRST_NOISE, guidance)
            pictures = prior.decode_latents(latents).clamp(0, 1).cpu()
            for k, foreseen in enumerate(pictures):
                azimuth = first + turn * k
                if azimuth in apart:
                    apart[azimuth] = min(apart[azimuth], _apart(_cropped(_subject_of(foreseen)), wanted))
    best = min(apart, key=apart.__getitem__)
    log.info("the prior takes the picture for one from %d degrees: apart %.4f", best, apart[best])
    return tuple(apart.values()) if apart[best] <= WORST else None


def _subject_of(foreseen: Tensor) -> Tensor:
    """The largest thing before the grey: (3, H, W) to straight colour and opacity, (4, H, W)."""
    labels, count = ndimage.label(((foreseen - GREY).abs().amax(0) > CONTRAST).numpy())
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    inside = labels == sizes.argmax() + 1 if count else labels > 0
    return torch.cat([foreseen, torch.from_numpy(inside.astype(np.float32))[None]])


def _cropped(cut_out: Tensor) -> Tensor:
    """A cut-out that fills a small square, over grey, and its opacity: (4, SMALL, SMALL)."""
    if not (cut_out[3] > 0).any():
        return torch.cat([torch.full((3, SMALL, SMALL), GREY), torch.zeros(1, SMALL, SMALL)])
    pixels = (cut_out.permute(1, 2, 0) * 255).round().byte().numpy()
    square = torch.from_numpy(recentred_rgba(pixels, SMALL, FILL).copy()).permute(2, 0, 1).float() / 255
    return torch.cat([laid_on(square, torch.full((3,), GREY))[0], square[3:]])


def _apart(one: Tensor, other: Tensor) -> float:
    squared = (one - other).square()
    return float(squared[:3].mean() + OUTLINE_WEIGHT * squared[3].mean())
