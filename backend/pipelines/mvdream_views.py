"""The four sides that MVDream draws of a seed: its prior with a prompt as a `seed_views.ViewSource`.

Knows the prior and its cameras. Knows no jobs. The published demo takes 50 DDIM steps at guidance 10, elevation 15
(systems.md 6.4); the mini prior's numbers were chosen by eye on sheets of four seeds, docs/mvdream.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.sampling import ViewSampling, denoise_views, latent_shape, seed_noise
from dreamlift.rendering.cameras import Cameras, orbit

from .field_previews import VIEWS
from .field_settings import FieldSettings
from .seed_views import Look

ELEVATION = 15.0  # degrees; the demo's
SAMPLING_FULL = ViewSampling(steps=50, guidance=10.0, rescale_share=0.0)
SAMPLING_MINI = ViewSampling(steps=20, guidance=3.0, rescale_share=0.5)


class MvDreamViews:
    """Draws front, right, back and left of what a prompt says.

    Args:
        prior: On its device.
        prompt: What to draw.
        negative_prompt: The unconditional side of the guidance.
        settings: For the cameras that the prior knows.
        sampling: Steps and guidance.
    """

    names = tuple(VIEWS)

    def __init__(
        self,
        prior: MVDreamPrior,
        prompt: str,
        negative_prompt: str,
        settings: FieldSettings,
        sampling: ViewSampling,
    ):
        self.prior, self.prompt, self.negative_prompt = prior, prompt, negative_prompt
        self.sampling, self.steps = sampling, sampling.steps
        self.most_at_once = 1 if prior.image_size > 128 and prior.device.type == "cpu" else 4
        ranges = settings.cameras
        fovy = sum(ranges.fovy) / 2
        distance = max(ranges.reach) / float(np.tan(np.deg2rad(fovy) / 2))
        self._cameras = orbit(list(VIEWS.values()), ELEVATION, distance, fovy)

    def draw(self, seeds: Sequence[int]) -> Iterator[Look]:
        """Sample the views of some seeds in one batch; gives one look a step, the last one is the result."""
        one = self._cameras
        cameras = Cameras(one.c2w.repeat(len(seeds), 1, 1), one.fovy.repeat(len(seeds))).to(self.prior.device)
        noise = seed_noise(seeds, (len(self.names), *latent_shape(self.prior)))
        prompts = [self.prompt] * len(seeds)
        for latents in denoise_views(self.prior, prompts, cameras, noise, self.sampling, self.negative_prompt):
            yield partial(self._decode, latents)

    def _decode(self, latents: Tensor) -> Tensor:
        """Seed by seed: the decoder's memory grows with the pictures, and none of them waits for another."""
        return torch.cat([self.prior.decode_latents(row) for row in latents.split(len(self.names))])
