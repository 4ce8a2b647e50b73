"""ImageDream: a picture and a few words become four sides of what the picture shows [systems.md section 5].

Draws views of seeds as the published demo does (5.4): 50 DDIM steps, guidance 5, elevation 5. Knows the prior and its
`Context`. Makes no objects yet, and cuts nothing out of its background.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from dreamlift.memory.apply import encoding
from dreamlift.memory.batches import MOST_SEEDS, seeds_at_once
from dreamlift.memory.cards import card_of
from dreamlift.preprocessing.placing import on_background
from dreamlift.priors.configs import IMAGEDREAM_PIXEL
from dreamlift.priors.imagedream import ImageContext, ImageDreamPrior
from dreamlift.priors.mvdream import twice
from dreamlift.priors.sampling import latent_shape, seed_noise
from dreamlift.priors.weight_errors import MissingWeights
from dreamlift.rendering.cameras import Cameras, orbit

from .context import Context, Request, RequestError, SeedViews
from .field_previews import VIEWS
from .picture_views import SMALL, as_images, checked_picture, encoding_chance, load_published, weights_error
from .seed_views import Look, draw_views

MODEL = "imagedream-pixel"
STEPS, GUIDANCE = 50, 5.0
ELEVATION = 5.0  # degrees; the released model takes picture and views to share it
GREY = 128  # behind the picture; the demo draws a random grey, a fixed one gives every seed the same condition
# The demo's own words for the unconditional side (5.4), spelled and spaced as the model was shown with them.
NEGATIVE_PROMPT = (
    "uniform low no texture ugly, boring, bad anatomy, blurry, pixelated,  obscure, unnatural colors, poor lighting, "
    "dull, and unclear."
)
CONFIG = IMAGEDREAM_PIXEL


class ImageDreamViews:
    """Draws front, right, back and left of what a picture shows.

    The order of the sides is that of MVDream's cameras, whose front is our +x; without weights nobody has checked here
    that the picture comes out as the front.

    Args:
        prior: On its device, its encoders too.
        picture: On a plain background. (1, 3, H, W) in [0, 1].
        prompts: What to draw, and the unconditional side's words.
        together: Whether both sides of the guidance go through the network in one batch.
        most_at_once: Seeds of a batch.

    Raises:
        MissingWeights: The weights lie here without CLIP's tokenizer.
    """

    names = tuple(VIEWS)
    steps = STEPS

    def __init__(
        self,
        prior: ImageDreamPrior,
        picture: Tensor,
        prompts: tuple[str, str],
        together: bool = True,
        most_at_once: int = 1,
    ):
        self.prior, self.together, self.most_at_once = prior, together, most_at_once
        text = prior.encode_text(prompts)
        self._told, self._negative = prior.context(text[:1], picture), prior.context(text[1:], None)
        self._picture = picture
        self._cameras = orbit(list(VIEWS.values()), ELEVATION, 1.0, 45.0)

    def condition(self, seeds: Sequence[int]) -> ImageContext:
        """What the denoiser is told, one row a seed: the picture's latents are drawn for each, as published."""
        if self._told.pixels is None:
            return ImageContext.cat([self._told] * len(seeds))
        latents = [self.prior.picture_latents(self._picture, encoding_chance(seed)) for seed in seeds]
        return ImageContext.cat([replace(self._told, pixels=own) for own in latents])

    def draw(self, seeds: Sequence[int]) -> Iterator[Look]:
        """Sample the views of some seeds in one batch; gives one look a step, the last one is the result."""
        count, views = len(seeds), len(self.names)
        cameras = Cameras(self._cameras.c2w.repeat(count, 1, 1), self._cameras.fovy.repeat(count))
        numbers = self.prior.camera_numbers(cameras).to(self.prior.device)
        told, negative = self.condition(seeds), ImageContext.cat([self._negative] * count)

        def noise(x: Tensor, t: Tensor) -> Tensor:
            if self.together:
                both = ImageContext.cat([negative, told])
                eps = self.prior.predict(torch.cat([x, x]), t.repeat(2), both, twice(numbers), views)
                without, wanted = eps.chunk(2)
            else:
                without = self.prior.predict(x, t, negative, numbers, views)
                wanted = self.prior.predict(x, t, told, numbers, views)
            return without + GUIDANCE * (wanted - without)

        start = seed_noise(seeds, (views, *latent_shape(self.prior))).to(self.prior.device)
        for step, (x, foreseen) in enumerate(self.prior.ddim_steps(start, self.steps, noise), 1):
            yield partial(self._decode, x if step == self.steps else foreseen)

    def _decode(self, latents: Tensor) -> Tensor:
        """Seed by seed: the decoder's memory grows with the pictures."""
        return torch.cat([self.prior.decode_latents(row) for row in latents.split(len(self.names))])


def sample_views(request: Request, context: Context, prior: ImageDreamPrior | None = None) -> SeedViews:
    """Draw the four sides of what the request's picture shows, for each of its seeds.

    Args:
        request: Prompt, a "reference" picture and seeds; a negative prompt takes the place of the published one.
        context: Device, plan, progress, previews and the wish to stop.
        prior: None loads the store's weights, or random ones where the request says so.

    Returns:
        The pictures, seed by seed.

    Raises:
        RequestError: The picture, the prompt or a seed cannot be used, or the weights are not there.
        Stopped: The context asked for CANCEL or PAUSE; nothing is kept.
    """
    started = time.monotonic()
    picture = checked_picture(request, context)
    if not request.prompt.strip():
        raise RequestError("empty_prompt", "The prompt is empty.", "Say what the picture shows, such as 'a red chair'.")
    prior = prior or load_published(ImageDreamPrior, CONFIG, MODEL, request, context)
    image = as_images(on_background(picture, GREY))
    prompts = (request.prompt, request.negative_prompt or NEGATIVE_PROMPT)

    def source() -> ImageDreamViews:
        try:
            with encoding(prior, context.plan):
                return ImageDreamViews(prior, image, prompts, *_batches(prior, request, context))
        except MissingWeights as error:
            raise weights_error(error, MODEL) from error

    return draw_views(source, prior, request, context, started)


def _batches(prior: ImageDreamPrior, request: Request, context: Context) -> tuple[bool, int]:
    """Whether both sides of the guidance fit one call, and how many seeds do."""
    if prior.image_size <= SMALL:
        return True, MOST_SEEDS
    rows = 2 * (len(VIEWS) + prior.config.pixel)
    together = not (context.plan and 0 < context.plan.rows < rows)
    name = (request.pipeline, request.preset)
    return together, seeds_at_once(name, context.plan, card_of(context.device), rows, len(VIEWS))
