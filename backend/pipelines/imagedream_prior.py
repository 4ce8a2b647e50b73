"""Which weights an ImageDream job runs on, and what its picture and words become.

Opens the embedded, published or random weights of a controller and keeps them for the next job; cuts the subject out;
warns of words that will not help. Knows no method: that is `imagedream`.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dreamlift.memory import shelf
from dreamlift.memory.apply import place
from dreamlift.memory.plan import Plan
from dreamlift.preprocessing.subject import Subject, subject
from dreamlift.priors.configs import IMAGEDREAM_LOCAL, IMAGEDREAM_PIXEL
from dreamlift.priors.imagedream import CONTROLLERS, MINI_FOLDER, ImageDreamPrior
from dreamlift.priors.picture_pose import FILL, SIZE
from dreamlift.priors.picture_words import PictureWords
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.priors.random_weights import randomise
from dreamlift.priors.weight_errors import WeightsError

from . import catalog
from .context import RANDOM, Context, Request, RequestError
from .picture_views import RANDOM_SEED, load_published

# Of the full model: configuration and id in the models' catalogue. Nobody published a global one: random weights only.
PUBLISHED = {
    "pixel": (IMAGEDREAM_PIXEL, "imagedream-pixel"),
    "local": (IMAGEDREAM_LOCAL, "imagedream-local"),
    "global": (replace(IMAGEDREAM_LOCAL, name="ImageDream, global", controller="global"), "imagedream-local"),
}


def load_prior(request: Request, context: Context, controller: str = "pixel") -> ImageDreamPrior:
    """The prior of a request's preset, kept for the next job of the process.

    Args:
        request: Its preset and its weights decide.
        context: Device and plan.
        controller: "pixel", "local" or "global".

    Returns:
        The prior on that device, without gradients.

    Raises:
        RequestError: The weights are not on this machine, or not the right ones.
    """
    if request.preset != "mini":
        return load_published(ImageDreamPrior, *PUBLISHED[controller], request, context)
    if not _embedded(controller) and (others := [name for name in CONTROLLERS if _embedded(name)]):
        what = f"This version has no mini weights of the {controller} controller."
        raise RequestError("no_weights", what, f"Choose {' or '.join(others)}.", {"controller": others[0]})
    plan, device = context.plan or Plan(), str(context.device)
    is_random = request.weights == RANDOM
    key = ("mini-imagedream", controller, is_random, device, plan.dtype, plan.codec_dtype, plan.vae, plan.offload)
    try:
        return shelf.keep(key, functools.partial(_open_mini, controller, is_random, device, plan))
    except (WeightsError, FileNotFoundError, CheckpointMismatch) as error:
        raise RequestError("weights_missing", str(error), "Reinstall Dreamlift.") from error


def _embedded(controller: str) -> bool:
    return (MINI_FOLDER / controller / "model.safetensors").is_file()


def _open_mini(controller: str, is_random: bool, device: str, plan: Plan) -> ImageDreamPrior:
    prior = ImageDreamPrior.mini(controller)
    if is_random:  # the words of the embedded one, and nothing it learned
        prior = randomise(prior, seed=RANDOM_SEED)
        prior.version = "random weights"
    return place(prior, plan, device)


def cut_out(request: Request, context: Context) -> Subject:
    """What the request's picture shows.

    Args:
        request: With a "reference" picture, and a "mask" where the artist drew one.
        context: Hears what the artist should know of the cut-out.

    Raises:
        RequestError: As `catalog.check_images` and `preprocessing.subject`.
    """
    catalog.check_images(request.pipeline, request.images)
    found = subject(request.images["reference"], request.images.get("mask"))
    for remark in found.warnings:
        context.warn(*remark)
    return found


def caption_of(prior: ImageDreamPrior, request: Request, found: Subject, context: Context) -> str:
    """The words beside the picture; warns of those that will not help. None of them stops a job.

    The authors tell users without a caption to ask a captioning model. The mini model has one of its own: a network
    reads the picture in its few words, and the artist is told what it read. It completes words that leave out colour
    or class, too.

    Args:
        prior: Its text encoder knows some words.
        request: Its prompt is the caption; it may be empty.
        found: What the picture shows.
        context: Is warned.

    Returns:
        The request's prompt, what was read from the picture, or "".
    """
    prompt = request.prompt.strip()
    unknown = prior.unknown_words(prompt)
    if unknown:
        words = ", ".join(repr(word) for word in unknown)
        context.warn("unknown_words", f"The mini model does not know {words}.", "It goes by the picture.")
    if request.preset != "mini":
        if not prompt:
            what = "The picture comes without words; the published model was made to have both."
            context.warn("no_caption", what, "Say in a few words what it shows, such as 'a red chair'.")
        return prompt
    reader = PictureWords.mini()
    if all(reader.named(prompt)):
        return prompt
    # The mini model never met a thing without its colour: told "a mug" of an orange one, it forgets the handle.
    caption = reader.caption(in_frame(found, 2 * SIZE, FILL), prompt)
    lack = f"{prompt!r} tells the mini model too little" if prompt else "The picture comes without words"
    what = f"{lack}; {caption!r} was read from the picture."
    context.warn("read_caption", what, "Type colour and kind where that is wrong: the mini model goes by words too.")
    return caption


def on_square(found: Subject, size: int, fill: float) -> Tensor:
    """A subject as the priors take it: centred in a square, (4, size, size) float32 in [0, 1], colour and opacity."""
    return _pixels(found.square(size, fill))


def in_frame(found: Subject, size: int, fill: float) -> Tensor:
    """The same, placed to a fraction of a pixel: for what is measured in the picture."""
    return _pixels(found.framed(size, fill))


def _pixels(rgba: np.ndarray) -> Tensor:
    return torch.from_numpy(rgba.copy()).permute(2, 0, 1).float() / 255


def laid_on(square: Tensor, colour: Tensor) -> Tensor:
    """A cut-out over one colour: (4, S, S) and (3,), all in [0, 1] -> (1, 3, S, S)."""
    colour = colour.to(square).view(3, 1, 1)
    return (square[:3] * square[3:] + colour * (1 - square[3:]))[None]
