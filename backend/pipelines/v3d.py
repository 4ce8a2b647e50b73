"""V3D: one picture becomes the 18 views of an orbit around what it shows [systems.md section 7.2; checkpoints.md 4].

Draws orbits of seeds as the published script does: 25 steps of Euler, guidance 3.5, the object in the middle of white.
Knows the prior and its `Context`. Makes no objects yet, and cuts nothing out of its background.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dreamlift.memory.apply import encoding
from dreamlift.memory.batches import MOST_SEEDS, pictures_at_once, seeds_at_once
from dreamlift.memory.cards import card_of
from dreamlift.preprocessing.placing import recentred
from dreamlift.priors.sampling import seed_noise
from dreamlift.priors.v3d import V3DCondition, V3DPrior
from dreamlift.priors.v3d_config import V3D_512

from .catalog import PIPELINES
from .context import Context, Request, SeedViews
from .picture_views import SMALL, as_images, checked_picture, encoding_chance, load_published
from .seed_views import Look, draw_views

MODEL = "v3d"
BORDER = 0.3  # share of the picture's side that stays empty around the object
WHITE = 255
CONFIG = V3D_512


@dataclass(frozen=True)
class Batches:
    """How much goes through the network at once.

    Args:
        seeds: Orbits of a batch.
        both_sides: Whether both sides of the guidance go together.
        decoded: Frames that the decoder takes at once; None is a whole orbit, as published.
    """

    seeds: int = 1
    both_sides: bool = True
    decoded: int | None = None


class OrbitViews:
    """Draws V3D's orbit around what a picture shows; the first view is the picture's own side.

    Args:
        prior: On its device, its encoders too.
        picture: The object on white, at the model's size. (1, 3, H, W) in [0, 1].
        batches: How much at once.
    """

    names = PIPELINES["v3d"].view_names

    def __init__(self, prior: V3DPrior, picture: Tensor, batches: Batches):
        self.prior, self.batches = prior, batches
        self.steps, self.most_at_once = prior.config.steps, batches.seeds
        self._picture = picture.to(prior.device)
        self._embedding = prior.image_embedding(self._picture)
        self._vector = torch.tensor([prior.config.vector], device=prior.device)

    def condition(self, seeds: Sequence[int]) -> V3DCondition:
        """What the denoiser is told, one row a seed: the picture's latent and its noise are drawn for each."""
        latents = [self.prior.concat_latent(self._picture, encoding_chance(seed)) for seed in seeds]
        count = len(seeds)
        return V3DCondition(self._embedding.expand(count, -1, -1), torch.cat(latents), self._vector.expand(count, -1))

    def draw(self, seeds: Sequence[int]) -> Iterator[Look]:
        """Sample the orbits of some seeds in one batch; gives one look a step, the last one is the result."""
        told = self.condition(seeds)
        noise = seed_noise(seeds, (len(self.names), *told.latent.shape[1:]))
        steps = self.prior.sample_steps(told, noise, steps=self.steps, together=self.batches.both_sides)
        for step, (x, seen) in enumerate(steps, 1):
            yield partial(self._decode, x if step == self.steps else seen)

    def _decode(self, latents: Tensor) -> Tensor:
        frames = self.prior.decode_raw(latents, self.batches.decoded)
        return (frames / 2 + 0.5).clamp(0, 1)


def sample_views(request: Request, context: Context, prior: V3DPrior | None = None) -> SeedViews:
    """Draw the orbit around what the request's picture shows, for each of its seeds.

    Args:
        request: A "reference" picture and seeds. Words are not read.
        context: Device, plan, progress, previews and the wish to stop.
        prior: None loads the store's weights, or random ones where the request says so.

    Returns:
        The pictures, seed by seed, 18 each.

    Raises:
        RequestError: The picture or a seed cannot be used, or the weights are not there.
        Stopped: The context asked for CANCEL or PAUSE; nothing is kept.
    """
    started = time.monotonic()
    picture = checked_picture(request, context)
    if request.prompt.strip() or request.negative_prompt.strip():
        what = "V3D starts from the picture alone and reads no words."
        context.warn("prompt_unused", what, "Leave the prompt out, or use ImageDream, which reads it.")
    prior = prior or load_published(V3DPrior, CONFIG, MODEL, request, context)
    image = as_images(recentred(picture, prior.image_size, BORDER, WHITE))

    def source() -> OrbitViews:
        with encoding(prior, context.plan):
            return OrbitViews(prior, image, _batches(prior, request, context))

    return draw_views(source, prior, request, context, started)


def _batches(prior: V3DPrior, request: Request, context: Context) -> Batches:
    if prior.image_size <= SMALL:
        return Batches(MOST_SEEDS)
    name, plan, card = (request.pipeline, request.preset), context.plan, card_of(context.device)
    rows = 2 * prior.config.frames
    return Batches(
        seeds_at_once(name, plan, card, rows),
        not (plan and 0 < plan.rows < rows),
        pictures_at_once(name, plan, card, prior.config.frames),
    )
