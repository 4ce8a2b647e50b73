"""ImageDream: a picture becomes an object by image-prompt multi-view score distillation [systems.md section 5].

Reads like the paper: cut the subject out; at every step lay it on the colour that is behind the renderings, encode it
as the controller wants it, and let a prior that saw it judge four views at once; turn the field into a mesh. Knows the
method and its `Context`; knows no sockets and no files. Numbers and their sources are in `imagedream_settings`, a step
of the optimisation in `field_optimisation`, the loss in `distillation.mv_sds`; equations and where they are in
docs/imagedream.md.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch
from torch import Tensor

from dreamlift.distillation.mv_sds import BothSides
from dreamlift.memory.apply import encoding
from dreamlift.memory.batches import MOST_SEEDS, seeds_at_once
from dreamlift.memory.cards import card_of
from dreamlift.preprocessing.subject import Subject
from dreamlift.priors.imagedream import ImageContext, ImageDreamPrior
from dreamlift.priors.picture_pose import PicturePose
from dreamlift.priors.weight_errors import MissingWeights

from . import catalog
from .context import Asset, Context, Request, SeedViews, StagePlan
from .field_asset import begin_asset, finish_asset, forecast
from .field_optimisation import Moment, Optimisation, check_negative_prompt, optimise
from .field_previews import VIEWS
from .imagedream_prior import PUBLISHED, caption_of, cut_out, in_frame, laid_on, load_prior, on_square
from .imagedream_settings import ImageDreamSettings, PictureSettings, settings_for
from .imagedream_views import GREY, NEGATIVE_PROMPT, ImageDreamViews
from .picture_box import ObjectBox
from .picture_side import differences_by_side
from .picture_views import SMALL, weights_error
from .reference_view import ReferenceView
from .seed_views import draw_views
from .texture_refinement import refined

MOST_KEPT = 256  # encoded pictures, a few kilobytes each

# Seconds a step, seconds of the last stage and bytes, for a forecast; none of it was measured on a GPU. Mini on a CPU:
# one core. Full on CUDA: the published hour on an A100; on a CPU it is only for tests.
_FORECAST = {("mini", "cpu"): (0.2, 8.0, 1 << 30), ("full", "cuda"): (0.29, 60.0, 24 << 30)}
_FORECAST |= {("mini", "cuda"): (0.05, 6.0, 2 << 30), ("full", "cpu"): (75.0, 120.0, 20 << 30)}


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
    prior: ImageDreamPrior | None = None,
    settings: ImageDreamSettings | None = None,
) -> Asset:
    """Make an object from a picture.

    Args:
        request: A "reference" picture, a "mask" where the artist drew one, preset and settings; the prompt is the
            picture's caption and may be empty.
        context: Device, progress, previews, checkpoints and the wish to stop.
        prior: The multi-view denoiser; None loads the preset's weights.
        settings: Every number; None takes the preset's with the request's overrides.

    Returns:
        The finished asset.

    Raises:
        RequestError: The picture or a setting cannot be used, or the weights are not there.
        Stopped: The context asked for CANCEL or PAUSE; a PAUSE left a checkpoint.
    """
    started = time.monotonic()
    settings = settings or settings_for(request)
    subject = cut_out(request, context)
    prior = prior or load_prior(request, context, settings.controller)
    square = on_square(subject, prior.image_size, settings.picture.fill).to(context.device)
    caption = caption_of(prior, request, subject, context)
    check_negative_prompt(request, settings, context)
    try:
        with encoding(prior, context.plan, stays=("image_encoder",)):
            text = prior.encode_text([caption, request.negative_prompt or settings.negative_prompt])
    except MissingWeights as error:
        raise weights_error(error, PUBLISHED[settings.controller][1]) from error
    told = ImagePrompt(prior, square, text, settings.picture)
    frames = settings.guidance.views + prior.config.pixel
    by_side = (prior, told, square, settings.cameras, settings.guidance.views, request.seed)
    expected = functools.partial(differences_by_side, *by_side)
    view = reference_view(subject, settings, expected, request.preset == "mini")
    job = Optimisation(settings, prior, told, request.seed, context, frames, view)
    job.restore()
    optimise(job)
    if view is not None:
        begin_asset(job)  # fitting takes seconds
        view.fit(job)
    known = functools.partial(view.wishes, light=settings.painted_light) if view else None
    return finish_asset(job, request, started, functools.partial(refined, job, known=known))


def reference_view(
    found: Subject,
    settings: ImageDreamSettings,
    expected: Callable[[], tuple[float, ...] | None],
    reads_pose: bool,
) -> ReferenceView | None:
    """The picture as a view of the object that is known; None where the settings have none.

    Args:
        found: The subject.
        settings: Of the job.
        expected: See `ReferenceView`.
        reads_pose: Whether the embedded network tells camera and box: it knows the mini model's kind of pictures alone.
    """
    if settings.reference is None:
        return None
    square = in_frame(found, settings.reference.texture_size, settings.picture.fill)
    if not reads_pose:
        return ReferenceView(square, settings.reference, expected)
    camera, corners = PicturePose.mini().read(square, settings.reference.distance)
    return ReferenceView(square, settings.reference, expected, camera, ObjectBox(corners))


class ImagePrompt:
    """What the prior is told at a step, a `field_optimisation.Tell`: the picture before the background of the moment.

    With the picture on another ground than the renderings the prior pulls the two together, and the field grows shells
    and floaters of the picture's ground [systems.md 5.5, 8.2].

    Args:
        prior: Encodes.
        square: The subject, (4, S, S) in [0, 1], colour not multiplied by the opacity.
        text: Of the caption and of the negative prompt. (2, L, D).
        settings: What stands behind the picture, and whether what is encoded is kept.
    """

    def __init__(self, prior: ImageDreamPrior, square: Tensor, text: Tensor, settings: PictureSettings):
        self.prior, self.square, self.settings = prior, square, settings
        self._caption, self._negative = text[:1], text[1:]
        self._kept: dict[tuple[float | int | None, ...], ImageContext] = {}

    def __call__(self, moment: Moment) -> BothSides:
        """Both sides of the guidance: the picture and its caption, and no picture beside the negative prompt."""
        return BothSides(self._wanted(moment), self._unconditional(moment.seen))

    def _wanted(self, moment: Moment) -> ImageContext:
        colour = behind_picture(moment.behind, self.settings)
        picture = laid_on(self.square, colour)
        if not self.settings.colours:
            return self.prior.context(self._caption, picture, moment.generator, moment.seen)
        key = (*colour.tolist(), moment.seen)
        if key not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = self.prior.context(self._caption, picture, None, moment.seen)
        return self._kept[key]

    def _unconditional(self, seen: int | None) -> ImageContext:
        """Negative text, tokens of zero features, a picture of zero latents [systems.md 5.2]."""
        key = ("none", seen)
        if key not in self._kept:
            self._kept[key] = self.prior.context(self._negative, None, size=seen)
        return self._kept[key]


def behind_picture(behind: Tensor, settings: PictureSettings) -> Tensor:
    """The colour that the picture is laid on.

    Args:
        behind: Mean colour of the rendered background. (3,) in [0, 1].
        settings: Which match, and how finely.

    Returns:
        (3,) in [0, 1], on the CPU.
    """
    behind = behind.detach().float().cpu()
    colour = {"rgb": behind, "grey": behind.mean().expand(3), "off": torch.full((3,), GREY)}[settings.background_match]
    return (colour * settings.colours).round() / settings.colours if settings.colours else colour


def sample_views(request: Request, context: Context, prior: ImageDreamPrior | None = None) -> SeedViews:
    """Draw the four sides of what the request's picture shows, for each of its seeds, before any geometry.

    Args:
        request: A "reference" picture, a "mask" where the artist drew one, and seeds; the prompt is the picture's
            caption and may be empty; a negative prompt takes the place of the published one.
        context: Device, plan, progress, previews and the wish to stop.
        prior: None loads the preset's weights, or random ones where the request says so.

    Returns:
        The pictures, seed by seed.

    Raises:
        RequestError: The picture or a seed cannot be used, or the weights are not there.
        Stopped: The context asked for CANCEL or PAUSE; nothing is kept.
    """
    started = time.monotonic()
    catalog.check_views(request.pipeline, request.preset, request.settings, request.seeds)
    subject = cut_out(request, context)
    settings = settings_for(request)
    prior = prior or load_prior(request, context, settings.controller)
    square = on_square(subject, prior.image_size, settings.picture.fill)
    caption = caption_of(prior, request, subject, context)
    picture = laid_on(square, torch.full((3,), GREY))
    negative = "" if request.preset == "mini" else NEGATIVE_PROMPT
    prompts = (caption, request.negative_prompt or negative)

    def source() -> ImageDreamViews:
        try:
            with encoding(prior, context.plan):
                return ImageDreamViews(prior, picture, prompts, *_batches(prior, request, context))
        except MissingWeights as error:
            raise weights_error(error, PUBLISHED[settings.controller][1]) from error

    return draw_views(source, prior, request, context, started)


def _batches(prior: ImageDreamPrior, request: Request, context: Context) -> tuple[bool, int]:
    """Whether both sides of the guidance fit one call, and how many seeds do."""
    if prior.image_size <= SMALL:
        return True, MOST_SEEDS
    rows = 2 * (len(VIEWS) + prior.config.pixel)
    together = not (context.plan and 0 < context.plan.rows < rows)
    name = (request.pipeline, request.preset)
    return together, seeds_at_once(name, context.plan, card_of(context.device), rows, len(VIEWS))
