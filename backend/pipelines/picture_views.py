"""What pipelines that draw views from a picture share: the picture, and opening the published model.

Knows the model store and memory plans. Knows no model: each pipeline brings its class, its configuration
and its `ViewSource`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamlift.memory import shelf
from dreamlift.memory.apply import place
from dreamlift.memory.plan import Plan
from dreamlift.models.catalogue import MODELS
from dreamlift.models.convert import open_prior
from dreamlift.models.store import Store
from dreamlift.preprocessing.decoding import Picture, read_picture
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.priors.random_weights import random_prior
from dreamlift.priors.weight_errors import WeightsError

from . import catalog
from .context import RANDOM, Context, Request, RequestError

RANDOM_SEED = 0  # of random weights: a seed's views must not depend on which seed stands first
SMALL = 128  # pixels; models below this are for tests and fit any machine
ENCODING = 0x9E3779B97F4A7C15  # mixed into a seed where something else than its noise is drawn


def checked_picture(request: Request, context: Context) -> Picture:
    """The picture of a request for views, after everything about the request that needs no model was checked.

    Args:
        request: With a "reference" picture.
        context: Hears of a picture without transparency.

    Raises:
        RequestError: As `catalog.check_views` and `catalog.check_images`; "bad_image" of a picture that cannot be read.
    """
    catalog.check_views(request.pipeline, request.preset, request.settings, request.seeds)
    catalog.check_images(request.pipeline, request.images)
    picture = read_picture(request.images["reference"])
    tell_background(picture, context)
    return picture


def tell_background(picture: Picture, context: Context) -> None:
    """Warn where nothing tells the object from its background."""
    if not picture.is_cut_out:
        what = "The picture has no transparent background, so all of it is taken for the object."
        context.warn("no_alpha", what, "Cut the object out and save it as PNG with transparency.")


def load_published(family: Any, config: Any, model: str, request: Request, context: Context) -> Any:
    """A published model on the context's device as its plan says, kept for the next job of the process.

    Args:
        family: Class of the prior, for random weights.
        config: Its sizes, for random weights.
        model: Id in the models' catalogue.
        request: Its `weights` decide between the store's and random ones.
        context: Device and plan.

    Raises:
        RequestError: The weights are not on this machine (names the command that fetches them), or cannot be used.
    """
    plan = context.plan or Plan()
    how = (plan.dtype, plan.codec_dtype, plan.vae, plan.offload, plan.compiled)
    key = (model, request.weights, config.name, str(context.device), *how)
    make = functools.partial(_open, family, config, model, request.weights == RANDOM, str(context.device), plan)
    try:
        return shelf.keep(key, make)
    except WeightsError as error:
        raise weights_error(error, model) from error
    except (FileNotFoundError, CheckpointMismatch) as error:
        remedy = f"Run `dreamlift models verify {model}`, or `dreamlift models pull {model}` again."
        raise RequestError("weights_unusable", str(error), remedy) from error


def _open(family: Any, config: Any, model: str, is_random: bool, device: str, plan: Plan) -> Any:
    if is_random:
        there = device if plan.offload == "none" else "cpu"
        prior = random_prior(family, config, seed=RANDOM_SEED, device=there, dtype=getattr(torch, plan.dtype))
    else:
        prior = open_prior(Store.here(), MODELS[model])
    return place(prior, plan, device)


def weights_error(error: WeightsError, model: str) -> RequestError:
    """A weight file's error in a job's words; it always names the command that fetches the model."""
    pull = f"`dreamlift models pull {model}`"
    remedy = error.remedy if pull in error.remedy else f"{error.remedy} Or run {pull}."
    return RequestError(error.code, error.what, remedy)


def as_images(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 as the priors take pictures: (1, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255


def encoding_chance(seed: int) -> torch.Generator:
    """What a seed draws beside its noise, such as the sample of its picture's posterior; other numbers than those."""
    return torch.Generator().manual_seed((seed ^ ENCODING) % 2**63)
