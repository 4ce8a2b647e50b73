"""The four sides that ImageDream draws of a picture: its prior with picture and words as a `seed_views.ViewSource`.

Knows the prior and its cameras. Knows no jobs and no files. The published demo takes 50 DDIM steps at guidance 5,
elevation 5 [systems.md 5.4].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from dreamlift.distillation.mv_sds import BothSides, Guidance, guided_x0
from dreamlift.priors.imagedream import ImageContext, ImageDreamPrior
from dreamlift.priors.mvdream import twice
from dreamlift.priors.sampling import ViewSampling, ddim, latent_shape, seed_noise
from dreamlift.rendering.cameras import Cameras, orbit

from .field_previews import VIEWS
from .picture_views import encoding_chance
from .seed_views import Look

ELEVATION = 5.0  # degrees; the released model takes picture and views to share it
GREY = 0.5  # behind the picture; the demo draws a random grey, a fixed one gives every seed the same condition
SAMPLING_FULL = ViewSampling(steps=50, guidance=5.0, rescale_share=0.0)
SAMPLING_MINI = ViewSampling(steps=20, guidance=2.5, rescale_share=0.5)
CAMERAS_FULL = orbit(list(VIEWS.values()), ELEVATION, 1.0, 45.0)
CAMERAS_MINI = orbit(list(VIEWS.values()), 15.0, 2.7, 40.0)  # what the mini model was trained on

# The demo's own words for the unconditional side (5.4), spelled and spaced as the model was shown with them.
NEGATIVE_PROMPT = (
    "uniform low no texture ugly, boring, bad anatomy, blurry, pixelated,  obscure, unnatural colors, poor lighting, "
    "dull, and unclear."
)


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

    def __init__(
        self,
        prior: ImageDreamPrior,
        picture: Tensor,
        prompts: tuple[str, str],
        together: bool = True,
        most_at_once: int = 1,
    ):
        self.prior, self.together, self.most_at_once = prior, together, most_at_once
        self.is_mini = prior.config.zero_terminal_snr
        self.sampling, self._cameras = (SAMPLING_MINI, CAMERAS_MINI) if self.is_mini else (SAMPLING_FULL, CAMERAS_FULL)
        text = prior.encode_text(prompts)
        self._told, self._negative = prior.context(text[:1], picture), prior.context(text[1:], None)
        self._picture = picture

    @property
    def steps(self) -> int:
        """That `draw` takes."""
        return self.sampling.steps

    def condition(self, seeds: Sequence[int]) -> ImageContext:
        """What the denoiser is told, one row a seed: the picture's latents are drawn for each, as published."""
        if self._told.pixels is None or self.is_mini:
            return ImageContext.cat([self._told] * len(seeds))
        latents = [self.prior.picture_latents(self._picture, encoding_chance(seed)) for seed in seeds]
        return ImageContext.cat([replace(self._told, pixels=own) for own in latents])

    def draw(self, seeds: Sequence[int]) -> Iterator[Look]:
        """Sample the views of some seeds in one batch; gives one look a step, the last one is the result."""
        count = len(seeds)
        cameras = Cameras(self._cameras.c2w.repeat(count, 1, 1), self._cameras.fovy.repeat(count)).to(self.prior.device)
        told, negative = self.condition(seeds), ImageContext.cat([self._negative] * count)
        start = seed_noise(seeds, (len(self.names), *latent_shape(self.prior))).to(self.prior.device)
        draw = self._by_clean_latents if self.is_mini else self._by_noise
        for latents in draw(start, cameras, told, negative):
            yield partial(self._decode, latents)

    def _by_noise(
        self, start: Tensor, cameras: Cameras, told: ImageContext, negative: ImageContext
    ) -> Iterator[Tensor]:
        """The published sampler."""
        views, numbers = len(self.names), self.prior.camera_numbers(cameras)

        def noise(x: Tensor, t: Tensor) -> Tensor:
            if self.together:
                both = ImageContext.cat([negative, told])
                eps = self.prior.predict(torch.cat([x, x]), t.repeat(2), both, twice(numbers), views)
                without, wanted = eps.chunk(2)
            else:
                without = self.prior.predict(x, t, negative, numbers, views)
                wanted = self.prior.predict(x, t, told, numbers, views)
            return without + self.sampling.guidance * (wanted - without)

        for step, (x, foreseen) in enumerate(self.prior.ddim_steps(start, self.steps, noise), 1):
            yield x if step == self.steps else foreseen

    def _by_clean_latents(
        self, start: Tensor, cameras: Cameras, told: ImageContext, negative: ImageContext
    ) -> Iterator[Tensor]:
        """Guided in x0, for a schedule that ends in pure noise, where the noise says nothing of the picture."""
        guidance = Guidance(self.sampling.guidance, self.sampling.rescale_share, len(self.names))
        sides = BothSides(told, negative)
        self.prior.scheduler.set_timesteps(self.steps)
        timesteps = self.prior.scheduler.timesteps.tolist()
        with torch.no_grad():
            yield from ddim(
                lambda x, t: guided_x0(self.prior, x, cameras, sides, t, guidance),
                *(start, timesteps, self.prior.alphas_cumprod),
            )

    def _decode(self, latents: Tensor) -> Tensor:
        """Seed by seed: the decoder's memory grows with the pictures."""
        return torch.cat([self.prior.decode_latents(row) for row in latents.split(len(self.names))])
