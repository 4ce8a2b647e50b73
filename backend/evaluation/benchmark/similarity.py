"""How well an asset's views fit the picture and the caption, in the eyes of the mini image-text model.

Knows the model's interface and how a picture is laid out for it. Where its weights are missing, nobody judges.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamlift.evaluation.benchmark.pictures import Pictures
from dreamlift.evaluation.runner import fingerprint
from dreamlift.priors.image_text import MINI_FOLDER, ImageTextModel
from dreamlift.training.image_prompts import recentred

log = logging.getLogger(__name__)

JUDGED_SIZE = 64  # pixels: what the model was trained on
GREY = 0.5
NOBODY = "none"


@dataclass(frozen=True)
class Similarity:
    """Mean cosines over an asset's views, in [-1, 1].

    Args:
        image: With the prompt image.
        text: With the caption.
    """

    image: float
    text: float


@functools.lru_cache(maxsize=1)
def judge() -> ImageTextModel | None:
    """The embedded model; None where its weights are missing."""
    try:
        return ImageTextModel.mini()
    except FileNotFoundError as error:
        log.warning("similarities are unavailable: %s is missing", error.filename or error)
        return None


@functools.lru_cache(maxsize=1)
def judge_name() -> str:
    """Names the judge's weights: scores of another judge are out of date."""
    return NOBODY if judge() is None else fingerprint([MINI_FOLDER / "model.safetensors"])


@torch.no_grad()
def similarity(model: ImageTextModel, prompt: Tensor, caption: str, views: Pictures) -> Similarity:
    """Compare every view with the prompt image and the caption.

    Args:
        model: The judge.
        prompt: The prompt image, (4, S, S), colour premultiplied by alpha.
        caption: What was asked for.
        views: Of the asset, lit.

    The subject of every picture is recentred on plain grey, as it is where the model was trained.
    """
    rgba = torch.cat([views.lit, views.alpha[:, None]], dim=1)
    seen = model.embed_images(torch.stack([_laid_out(picture) for picture in rgba]))
    wanted = model.embed_images(_laid_out(prompt)[None])
    return Similarity(float((seen @ wanted.T).mean()), float((seen @ model.embed_texts([caption]).T).mean()))


def _laid_out(picture: Tensor) -> Tensor:
    square = recentred(picture, JUDGED_SIZE)
    return square[:3] + (1 - square[3:]) * GREY
