"""Sampling views from a prior: DDIM with classifier-free guidance and CFG rescale.

Knows a prior's `encode_text` and `predict_x0`; knows no fields. MVDream's demo takes 50 steps at guidance 10
(systems.md 6.4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..distillation.mv_sds import rescale
from ..rendering.cameras import Cameras


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
        seed: Of the initial noise.

    Returns:
        (len(cameras), 3, H, W) in [0, 1].
    """
    views = len(cameras) // len(prompts)
    context = prior.encode_text([*prompts, *[negative_prompt] * len(prompts)]).repeat_interleave(views, 0)
    both = Cameras(cameras.c2w.repeat(2, 1, 1), cameras.fovy.repeat(2))
    size, channels = prior.config.unet["sample_size"], prior.config.unet["out_channels"]
    generator = torch.Generator().manual_seed(seed)
    x_t = torch.randn(len(cameras), channels, size, size, generator=generator).to(prior.device)
    prior.scheduler.set_timesteps(steps)
    timesteps = prior.scheduler.timesteps.tolist()
    for t, following in zip(timesteps, [*timesteps[1:], None], strict=True):
        labels = torch.full((2 * len(cameras),), t, device=prior.device)
        x0_c, x0_u = prior.predict_x0(torch.cat([x_t, x_t]), labels, context, both, views).chunk(2)
        x0 = rescale(x0_u + guidance * (x0_c - x0_u), x0_c, rescale_share, views)
        abar = prior.alphas_cumprod[t]
        eps = (x_t - abar.sqrt() * x0) / (1 - abar).sqrt()
        after = prior.alphas_cumprod[following] if following is not None else torch.ones_like(abar)
        x_t = after.sqrt() * x0 + (1 - after).sqrt() * eps
    return prior.decode_latents(x_t)
