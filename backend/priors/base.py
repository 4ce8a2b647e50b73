"""What every diffusion model here has, latent or not: its names, its noise schedule, and where it is.

Knows a configuration's name and licence, and a schedule. Knows no network, no codec and no condition.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class DiffusionPrior(nn.Module):
    """Base of the priors. A family sets its own modules before `finish_init`.

    Args:
        config: With `name`, `licence`, `commercial_use` and `image_size`.
        scheduler: One of diffusers', with `alphas_cumprod`.
        version: What is added to the name in provenance.
    """

    def __init__(self, config: Any, scheduler: Any, version: str = ""):
        super().__init__()
        self.config, self.scheduler, self.version = config, scheduler, version
        self.precision: torch.dtype | None = None  # of the arithmetic; None lets the device decide, see `autocast`
        self.register_buffer("alphas_cumprod", scheduler.alphas_cumprod.clone(), persistent=False)

    def finish_init(self) -> None:
        """No dropout and no gradients to the weights; trainers switch the gradients on for what they train."""
        self.eval().requires_grad_(False)

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        # Weights may be moved to half precision; the schedule must not follow: bfloat16 knows 3 digits of abar.
        self.alphas_cumprod = self.scheduler.alphas_cumprod.to(self.alphas_cumprod.device)
        return self

    @property
    def name(self) -> str:
        """What provenance calls these weights."""
        return f"{self.config.name} {self.version}".strip()

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return self.config.licence

    @property
    def commercial_use(self) -> bool:
        """Whether the weights' licence allows selling what they make."""
        return self.config.commercial_use

    @property
    def image_size(self) -> int:
        """Height and width of a picture in pixels."""
        return self.config.image_size

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.alphas_cumprod.device
