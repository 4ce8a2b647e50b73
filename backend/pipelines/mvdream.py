"""MVDream: a prompt becomes an object by multi-view score distillation [systems.md section 6].

Reads like the paper: embed the prompt and its negative; let every stage optimise a field so that renderings from four
sides at once satisfy a multi-view diffusion prior; turn the field into a mesh. Knows the method and its `Context`;
knows no sockets and no files. Numbers and their sources are in `mvdream_settings`, a step of the optimisation in
`field_optimisation`, the loss in `distillation.mv_sds`; equations and where they are in docs/mvdream.md.
"""

from __future__ import annotations

import functools
import time

import torch

from dreamlift.memory.apply import encoding
from dreamlift.priors.mvdream import MVDreamPrior

from . import catalog
from .context import Asset, Context, Request, SeedViews, StagePlan
from .field_asset import finish_asset, forecast
from .field_optimisation import Optimisation, always, check_negative_prompt, optimise
from .field_settings import FieldSettings
from .mvdream_prior import check_words, encode_condition, load_prior
from .mvdream_settings import settings_for
from .mvdream_views import SAMPLING_FULL, SAMPLING_MINI, MvDreamViews
from .seed_views import draw_views
from .texture_refinement import refined

# Seconds a step, seconds of the last stage and bytes, for a forecast; none of it was measured on a GPU. Mini on a CPU:
# one core of a busy EPYC. Full on CUDA: the published 1.5 hours on a V100; on a CPU it is only for tests.
_FORECAST = {("mini", "cpu"): (0.15, 8.0, 1 << 30), ("full", "cuda"): (0.54, 60.0, 24 << 30)}
_FORECAST |= {("mini", "cuda"): (0.05, 6.0, 2 << 30), ("full", "cpu"): (60.0, 120.0, 16 << 30)}


def plan(request: Request, device: torch.device) -> list[StagePlan]:
    """Forecast the stages of a request.

    Args:
        request: What to make.
        device: Where it will run.

    Returns:
        The stages in order, with steps, seconds and bytes.

    Raises:
        RequestError: Where preset or settings are wrong.
    """
    size = "mini" if request.preset == "mini" else "full"
    return forecast(settings_for(request), *_FORECAST[size, "cpu" if device.type == "cpu" else "cuda"])


def run(
    request: Request,
    context: Context,
    prior: MVDreamPrior | None = None,
    settings: FieldSettings | None = None,
) -> Asset:
    """Make an object from a prompt.

    Args:
        request: Prompt, preset and settings.
        context: Device, progress, previews, checkpoints and the wish to stop.
        prior: The multi-view denoiser; None loads the preset's weights.
        settings: Every number; None takes the preset's with the request's overrides.

    Returns:
        The finished asset.

    Raises:
        RequestError: The prompt or a setting cannot be used, or the weights are not there.
        Stopped: The context asked for CANCEL or PAUSE; a PAUSE left a checkpoint.
    """
    started = time.monotonic()
    settings = settings or settings_for(request)
    prior = prior or load_prior(request, str(context.device), context.plan)
    check_words(prior, request.prompt, context)
    check_negative_prompt(request, settings, context)
    with encoding(prior, context.plan):
        condition = encode_condition(prior, request, settings)
    job = Optimisation(settings, prior, always(condition), request.seed, context)
    job.restore()
    optimise(job)
    return finish_asset(job, request, started, functools.partial(refined, job))


def sample_views(request: Request, context: Context, prior: MVDreamPrior | None = None) -> SeedViews:
    """Draw the four sides of each of the request's seeds, before any geometry.

    An object made from one of these seeds starts from the same prompt and the same number, and that is all they share:
    the optimisation draws its cameras and its noise of every step from the seed and never sees these pictures.

    Args:
        request: Prompt, preset and seeds; a negative prompt takes the place of the empty one.
        context: Device, progress, previews and the wish to stop.
        prior: The multi-view denoiser; None loads the preset's weights.

    Returns:
        The pictures, seed by seed.

    Raises:
        RequestError: The prompt or a seed cannot be used, or the weights are not there.
        Stopped: The context asked for CANCEL or PAUSE; nothing is kept.
    """
    catalog.check_views(request.pipeline, request.preset, request.settings, request.seeds)
    started = time.monotonic()
    prior = prior or load_prior(request, str(context.device), context.plan)
    check_words(prior, request.prompt, context)
    sampling = SAMPLING_MINI if request.preset == "mini" else SAMPLING_FULL
    settings = settings_for(request)
    source = MvDreamViews(prior, request.prompt, request.negative_prompt, settings, sampling)
    with encoding(prior, context.plan):
        return draw_views(lambda: source, prior, request, context, started)
