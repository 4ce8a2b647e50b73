"""Which weights an MVDream job runs on, and what they make of its words.

Opens the embedded, published, converted or random weights as the memory plan says and keeps them for the next job;
warns of words that the model never saw. Knows no method: that is `mvdream`.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import torch

from dreamlift.distillation.mv_sds import BothSides
from dreamlift.memory import shelf
from dreamlift.memory.apply import place
from dreamlift.memory.plan import Plan
from dreamlift.models.catalogue import MODELS
from dreamlift.models.convert import located
from dreamlift.models.store import Store
from dreamlift.priors.configs import MVDREAM_SD21, MVDreamConfig
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.priors.random_weights import random_prior, randomise
from dreamlift.priors.tokenizer import WordTokenizer
from dreamlift.priors.weight_errors import MissingWeights, WeightsError

from .context import RANDOM, Context, Request, RequestError
from .field_settings import FieldSettings

WEIGHTS_VARIABLE = "DREAMLIFT_MVDREAM_WEIGHTS"


def _open(weights: str, seed: int, config: MVDreamConfig, device: str, plan: Plan) -> MVDreamPrior:
    if weights == "mini":
        prior = MVDreamPrior.mini()
    elif weights == "random mini":
        prior = randomise(MVDreamPrior.mini(), seed=seed)  # the words of the embedded one, and nothing it learned
        prior.version = "random weights"
    elif weights == "random":
        there = device if plan.offload == "none" else "cpu"
        prior = random_prior(MVDreamPrior, config, seed=seed, device=there, dtype=getattr(torch, plan.dtype))
    elif (Path(weights) / "model.safetensors").is_file():
        prior = MVDreamPrior.from_folder(Path(weights), config)
    else:
        prior = MVDreamPrior.from_published(Path(weights), config)
    return place(prior, plan, device)


def load_prior(
    request: Request, device: str, plan: Plan | None = None, config: MVDreamConfig = MVDREAM_SD21
) -> MVDreamPrior:
    """The prior of a request's preset: embedded for mini, from disk for full, or with random weights.

    It is kept for the next job of the process; another preset, device or precision takes its place.

    Args:
        request: Its preset and its weights decide.
        device: Torch's name of the device.
        plan: Precision and where its parts live; None takes float32 and everything on the device.
        config: Of the full model.

    Returns:
        The prior on that device, without gradients.

    Raises:
        RequestError: The weights are not on this machine, or not the right ones.
    """
    try:
        plan = plan or Plan()
        weights = _weights(request)
        seed = request.seed if weights.startswith("random") else 0
        how = (plan.dtype, plan.codec_dtype, plan.vae, plan.offload, plan.compiled)
        key = ("mvdream", weights, seed, config.name, device, *how)
        return shelf.keep(key, functools.partial(_open, weights, seed, config, device, plan))
    except WeightsError as error:
        raise RequestError(error.code, error.what, error.remedy) from error
    except (FileNotFoundError, CheckpointMismatch) as error:
        remedy = "Reinstall Dreamlift." if request.preset == "mini" else f"See {WEIGHTS_VARIABLE}."
        raise RequestError("weights_missing", str(error), remedy) from error


def _weights(request: Request) -> str:
    """What to open: "mini", "random mini", "random", or a path."""
    if request.weights == RANDOM:
        return "random mini" if request.preset == "mini" else "random"
    return "mini" if request.preset == "mini" else _published(request)


def _published(request: Request) -> str:
    """Where the published weights are: what the variable names, else what the model store has."""
    named = os.environ.get(WEIGHTS_VARIABLE, "")
    needs = f"Preset {request.preset!r} needs MVDream's published weights."
    if named == "random" or (named and Path(named).exists()):
        return named
    if named:
        what = f"{needs} {WEIGHTS_VARIABLE} names {named!r}, which is not there."
        remedy = f"Mend or unset {WEIGHTS_VARIABLE}, or use preset 'mini'."
        raise RequestError("weights_missing", what, remedy, {"preset": "mini"})
    try:
        return str(located(Store.here(), MODELS["mvdream-2.1"]))
    except MissingWeights as error:
        remedy = f"{error.remedy} Or use preset 'mini', which needs none."
        raise RequestError("weights_missing", f"{needs} {error.what}", remedy, {"preset": "mini"}) from error


def check_words(prior: MVDreamPrior, prompt: str, context: Context) -> None:
    """Warn about words that the prior never saw, and refuse a prompt of which nothing is left.

    Args:
        prior: Its text encoder knows some words.
        prompt: What the artist typed.
        context: Is warned.

    Raises:
        RequestError: The prompt is empty, or the model knows no word of it that says what to make.
    """
    if not prompt.strip():
        raise RequestError("empty_prompt", "The prompt is empty.", "Say what to make, such as 'a red mushroom'.")
    unknown = prior.unknown_words(prompt)
    if not unknown:
        return
    known = [word for word in WordTokenizer.split(prompt) if word not in unknown and word not in _EMPTY_WORDS]
    what = f"The mini model does not know {', '.join(repr(word) for word in unknown)}."
    remedy = f"It knows: {', '.join(_telling_words(prior))}."
    if not any(word in _telling_words(prior) for word in known):
        raise RequestError("unknown_words", what, remedy)
    context.warn("unknown_words", what, remedy)


_EMPTY_WORDS = frozenset("a an the with on of and 3d model asset in small big simple top".split())


def _telling_words(prior: MVDreamPrior) -> list[str]:
    return [word for word in prior.tokenizer.words if word not in _EMPTY_WORDS and word.isalpha()]


def encode_condition(prior: MVDreamPrior, request: Request, settings: FieldSettings) -> BothSides:
    """Embed the prompt and its negative; the request's negative prompt wins over the preset's.

    Raises:
        RequestError: Published weights lie here without CLIP's tokenizer; says where it belongs.
    """
    negative = request.negative_prompt or settings.negative_prompt
    try:
        with torch.no_grad():
            embedded = prior.encode_text([request.prompt, negative])
    except MissingWeights as error:
        raise RequestError(error.code, error.what, error.remedy) from error
    return BothSides(embedded[:1], embedded[1:])
