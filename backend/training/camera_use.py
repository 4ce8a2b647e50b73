"""Does a prior use its camera? Its loss with turned cameras over its loss with the right ones.

The gate of the mini models: a prior that ignores its camera draws fine sheets and gives objects that look the same from
every side (mini.md). Classes whose quarter turns look alike are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..priors.contract import Condition
from ..priors.mvdream import MVDreamPrior
from ..rendering.cameras import Cameras
from .dataset import ViewSets
from .objects import ASYMMETRIC


@dataclass(frozen=True)
class CameraUse:
    """Losses with right and turned cameras at one timestep, and their ratio by class."""

    t: int
    right: float
    turned: float
    by_class: dict[str, float]

    @property
    def ratio(self) -> float:
        """Turned over right; 1 means that the camera is ignored."""
        return self.turned / self.right


@torch.no_grad()
def camera_use(
    prior: MVDreamPrior, sets: ViewSets, latents: Tensor, t: int, turn: float = 90.0, limit: int = 64, seed: int = 1
) -> CameraUse:
    """Measure the v-loss of a prior on unseen sets.

    Args:
        prior: The model under test.
        sets: Sets that training never saw.
        latents: Theirs, (N, 4, C, h, w).
        t: Timestep in [0, 999]; high ones decide about shape.
        turn: Degrees by which the wrong cameras are turned.
        limit: Asymmetric sets that are used at most.
        seed: Of the noise, the same for both.
    """
    index = torch.tensor([i for i, about in enumerate(sets.meta) if about["kind"] in ASYMMETRIC][:limit])
    x0 = latents[index].flatten(0, 1).float()
    context = prior.encode_text([sets.meta[i]["prompt"] for i in index.tolist()]).repeat_interleave(4, 0)
    losses = [v_losses(prior, x0, context, sets.cameras(index, angle), t, seed).cpu() for angle in (0.0, turn)]
    kinds = [sets.meta[i]["kind"] for i in index.tolist()]
    by_class = {}
    for kind in sorted(set(kinds)):
        of_kind = torch.tensor([name == kind for name in kinds])
        by_class[kind] = float(losses[1][of_kind].mean() / losses[0][of_kind].mean())
    return CameraUse(t, float(losses[0].mean()), float(losses[1].mean()), by_class)


@torch.no_grad()
def v_losses(
    prior: MVDreamPrior, x0: Tensor, context: Tensor | Condition, cameras: Cameras, t: int, seed: int = 1
) -> Tensor:
    """v-loss of each set at one timestep.

    Args:
        prior: The model under test.
        x0: Clean latents, four views an object. (B * 4, C, h, w).
        context: What it is told, one row a view.
        cameras: B * 4.
        t: Timestep in [0, 999].
        seed: Of the noise.

    Returns:
        (B,), on the prior's device.
    """
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed)).to(prior.device)
    x0, abar = x0.to(prior.device), prior.alphas_cumprod[t]
    x_t = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
    velocity = abar.sqrt() * eps - (1 - abar).sqrt() * x0
    parts = []
    for part in torch.arange(len(x0)).split(64):
        steps = torch.full((len(part),), t, device=prior.device)
        noise = prior.predict(x_t[part], steps, context[part], cameras[part])
        x0_hat = (x_t[part] - (1 - abar).sqrt() * noise) / abar.sqrt().clamp_min(1e-6)
        v_hat = (noise - (1 - abar).sqrt() * x_t[part]) / abar.sqrt() if abar > 1e-6 else -x0_hat
        parts.append((v_hat - velocity[part]).square().mean((1, 2, 3)))
    return torch.cat(parts).view(-1, 4).mean(1)
