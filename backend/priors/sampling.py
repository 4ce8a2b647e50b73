"""Sampling views from a prior: DDIM with classifier-free guidance and CFG rescale, one seed or several at once.

Knows a prior's `encode_text` and `predict_x0`; knows no fields. MVDream's demo takes 50 steps at guidance 10
(systems.md 6.4). A prior with another condition brings its own `guided` function; one with a sampler of its own (V3D)
needs nothing from here but `seed_noise`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..distillation.mv_sds import rescale
from ..rendering.cameras import Cameras


@dataclass(frozen=True)
class ViewSampling:
    """How views are sampled.

    Args:
        steps: DDIM steps.
        guidance: w in x_u + w (x_c - x_u).
        rescale_share: phi of the CFG rescale (systems.md 1.3).
    """

    steps: int = 25
    guidance: float = 5.0
    rescale_share: float = 0.5


def seed_noise(
    seeds: Sequence[int],
    shape: Sequence[int],  # of one seed: (V, C, h, w)
) -> Tensor:  # (len(seeds) * V, C, h, w)
    """Initial noise of several seeds: each seed's part is what it would be alone, on every device.

    Args:
        seeds: 0 <= seed < 2**63, in the order of the rows.
        shape: Of one seed's noise, views first.

    Returns:
        float32 on the CPU, seeds one after another.
    """
    return torch.cat([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


@torch.no_grad()
def ddim(
    guided: Callable[[Tensor, int], Tensor],
    noise: Tensor,  # (N, C, h, w)
    timesteps: Sequence[int],
    alphas_cumprod: Tensor,  # (1000,)
) -> Iterator[Tensor]:
    """DDIM, eta 0; gives the present idea of the clean latents after every step, the last one is the result.

    Args:
        guided: x_t and its timestep to the predicted clean latents, guidance applied.
        noise: Where it starts, at the first timestep.
        timesteps: Falling, of the training schedule.
        alphas_cumprod: Of that schedule, on the noise's device.

    Yields:
        (N, C, h, w), once a timestep.
    """
    x_t = noise
    for t, following in zip(timesteps, [*timesteps[1:], None], strict=True):
        x0 = guided(x_t, t)
        abar = alphas_cumprod[t]
        eps = (x_t - abar.sqrt() * x0) / (1 - abar).sqrt()
        after = alphas_cumprod[following] if following is not None else torch.ones_like(abar)
        x_t = after.sqrt() * x0 + (1 - after).sqrt() * eps
        yield x0


@torch.no_grad()
def denoise_views(
    prior,
    prompts: Sequence[str],
    cameras: Cameras,
    noise: Tensor,  # (len(cameras), C, h, w)
    sampling: ViewSampling,
    negative_prompt: str = "",
) -> Iterator[Tensor]:
    """Denoise the views of some objects in one batch.

    Args:
        prior: An `MVDreamPrior`.
        prompts: One an object.
        cameras: len(prompts) * views cameras, view fastest.
        noise: Of every view, such as `seed_noise` gives.
        sampling: Steps and guidance.
        negative_prompt: The unconditional side of the guidance.

    Yields:
        Clean latents as they are predicted after each step, (len(cameras), C, h, w); `prior.decode_latents` shows them.
    """
    views = len(cameras) // len(prompts)
    context = prior.encode_text([*prompts, *[negative_prompt] * len(prompts)]).repeat_interleave(views, 0)
    both = Cameras(cameras.c2w.repeat(2, 1, 1), cameras.fovy.repeat(2))

    def guided(x_t: Tensor, t: int) -> Tensor:
        labels = torch.full((2 * len(cameras),), t, device=prior.device)
        x0_c, x0_u = prior.predict_x0(torch.cat([x_t, x_t]), labels, context, both, views).chunk(2)
        return rescale(x0_u + sampling.guidance * (x0_c - x0_u), x0_c, sampling.rescale_share, views)

    prior.scheduler.set_timesteps(sampling.steps)
    timesteps = prior.scheduler.timesteps.tolist()
    yield from ddim(guided, noise.to(prior.device), timesteps, prior.alphas_cumprod)


def latent_shape(prior) -> tuple[int, int, int]:
    """Shape of one view's latents: (C, h, w)."""
    size = prior.config.unet["sample_size"]
    return prior.config.unet["out_channels"], size, size


@torch.no_grad()
def sample_views(
    prior,
    prompts: Sequence[str],
    cameras: Cameras,
    *,
    negative_prompt: str = "",
    steps: int = 25,
    guidance: float = 5.0,
    rescale_share: float = 0.5,
    seed: int = 0,
) -> Tensor:
    """Draw the views of some objects with DDIM, eta 0.

    Args:
        prior: An `MVDreamPrior`.
        prompts: One an object.
        cameras: len(prompts) * views cameras, view fastest.
        negative_prompt: The unconditional side of the guidance.
        steps: DDIM steps.
        guidance: w in x_u + w (x_c - x_u).
        rescale_share: phi of the CFG rescale (systems.md 1.3).
        seed: Of the initial noise of all objects together; `seed_noise` and `denoise_views` give each its own.

    Returns:
        (len(cameras), 3, H, W) in [0, 1].
    """
    noise = seed_noise([seed], (len(cameras), *latent_shape(prior)))
    sampling = ViewSampling(steps, guidance, rescale_share)
    for latents in denoise_views(prior, prompts, cameras, noise, sampling, negative_prompt):
        last = latents
    return prior.decode_latents(last)
