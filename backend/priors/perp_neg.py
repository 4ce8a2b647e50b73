"""View-dependent text with perpendicular negatives: "front" may not leak into the back.

Knows which text a view gets and how predictions are combined (systems.md 1.7; Armandpour et al. 2023). Knows no model:
`guided_noise` calls any function that predicts noise. Azimuth 0 looks at the front, degrees.

    code          symbol   meaning
    positive      e_pos    text mixed from front, side and back by azimuth
    negatives     e_neg_i  two views that the picture must not look like
    weights       w_i      how strongly each is pushed away; not above 0
    guidance      w        classifier-free scale, convention u + w (c - u)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

OVERHEAD = 60.0  # degrees of elevation from which a view is seen from above, without negatives
PHRASES = {"front": "front view", "side": "side view", "back": "back view", "overhead": "overhead view"}


def view_prompts(prompt: str) -> dict[str, str]:
    """The prompt as each view says it, by "front", "side", "back" and "overhead"."""
    return {view: f"{prompt}, {phrase}" for view, phrase in PHRASES.items()}


@dataclass(frozen=True)
class ViewTexts:
    """Encoded prompts of one object, each (L, D).

    Args:
        front, side, back, overhead: The prompt with its view.
        unconditional: The negative prompt, the same for all views.
    """

    front: Tensor
    side: Tensor
    back: Tensor
    overhead: Tensor
    unconditional: Tensor

    @classmethod
    def encode(cls, encode_text: Callable[[list[str]], Tensor], prompt: str, negative_prompt: str = "") -> ViewTexts:
        """Encode a prompt for all views in one call of `encode_text`, prompts to (B, L, D)."""
        phrased = view_prompts(prompt)
        rows = encode_text([phrased[view] for view in ("front", "side", "back", "overhead")] + [negative_prompt])
        return cls(*rows)


@dataclass(frozen=True)
class PerpNegCondition:
    """What N views are denoised with.

    Args:
        positive: (N, L, D).
        unconditional: (N, L, D).
        negatives: (N, 2, L, D).
        weights: Of the negatives. (N, 2), not above 0.
    """

    positive: Tensor
    unconditional: Tensor
    negatives: Tensor
    weights: Tensor


def negative_weights(azimuth: Tensor) -> Tensor:
    """Weights of the two negatives (N, 2) for azimuths (N,) in degrees.

    Front half: against front and side; back half: against side and front. The exponentials are threestudio's
    (systems.md 1.7); at r = 1 the first of them is all but 0, so a front view is not pushed away from the front.
    """
    r = _front_share(azimuth)
    ahead = torch.stack([-(4 * torch.exp(-0.5 * r) - 2.426), -(4 * torch.exp(-0.5 * (1 - r)) - 2.426)], dim=-1)
    behind = torch.stack([-(torch.exp(-0.5 * r) - 0.606), -(torch.exp(-0.5 * r) + 0.967)], dim=-1)
    return torch.where(_is_ahead(azimuth)[:, None], ahead, behind)


def view_dependent(texts: ViewTexts, azimuth: Tensor, elevation: Tensor) -> PerpNegCondition:
    """Positive and negative texts of some views.

    Args:
        texts: Of one object.
        azimuth: Degrees, any turn. (N,).
        elevation: Degrees. (N,). Above 60 the view is from overhead and has no negatives.
    """
    azimuth, elevation = azimuth.to(texts.front.device), elevation.to(texts.front.device)
    ahead, r = _is_ahead(azimuth)[:, None, None], _front_share(azimuth)[:, None, None].to(texts.front.dtype)
    above = elevation > OVERHEAD
    mixed = torch.where(ahead, r * texts.front + (1 - r) * texts.side, r * texts.side + (1 - r) * texts.back)
    pair_ahead, pair_behind = torch.stack([texts.front, texts.side]), torch.stack([texts.side, texts.front])
    weights = negative_weights(azimuth)
    return PerpNegCondition(
        positive=torch.where(above[:, None, None], texts.overhead, mixed),
        unconditional=texts.unconditional.expand(len(azimuth), -1, -1),
        negatives=torch.where(ahead[:, None], pair_ahead, pair_behind),
        weights=torch.where(above[:, None], torch.zeros_like(weights), weights),
    )


def perpendicular(a: Tensor, b: Tensor) -> Tensor:
    """The part of a that is perpendicular to b, row by row over all other axes; a itself where b is zero."""
    axes = tuple(range(1, a.ndim))
    length = (b * b).sum(axes, keepdim=True)
    along = (a * b).sum(axes, keepdim=True) / length.clamp_min(torch.finfo(b.dtype).tiny)
    return a - along * b


def combine(
    eps_u: Tensor,  # (N, C, H, W)
    eps_pos: Tensor,  # (N, C, H, W)
    eps_neg: Tensor,  # (N, K, C, H, W)
    weights: Tensor,  # (N, K)
    guidance: float,
) -> Tensor:
    """Guided noise: eps_u + w (e_pos + sum_i w_i perp(e_neg_i, e_pos)) with e = eps - eps_u [systems.md 1.7].

    Args:
        eps_u: Noise predicted without text. (N, C, H, W).
        eps_pos: Noise predicted with the view's text. (N, C, H, W).
        eps_neg: Noise predicted with the negatives. (N, K, C, H, W).
        weights: Of the negatives. (N, K).
        guidance: w; DreamCraft3D's coarse stage takes 20.

    Returns:
        (N, C, H, W). With weights of 0 this is plain classifier-free guidance, convention (a).
    """
    e_pos = eps_pos - eps_u
    total = e_pos.clone()
    for k in range(eps_neg.shape[1]):
        pushed = perpendicular(eps_neg[:, k] - eps_u, e_pos)
        total = total + weights[:, k].view(-1, *[1] * (e_pos.ndim - 1)).to(total) * pushed
    return eps_u + guidance * total


def guided_noise(
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    x_t: Tensor,  # (N, C, H, W)
    t: Tensor,  # (N,)
    condition: PerpNegCondition,
    guidance: float,
) -> Tensor:
    """Guided noise of N views, four predictions each, in one batch.

    Args:
        predict: Noise of (x_t, t, context), such as a prior's `predict`.
        x_t: Noisy pictures or latents. (N, C, H, W).
        t: Timesteps. (N,) long.
        condition: From `view_dependent`.
        guidance: w.

    Returns:
        eps (N, C, H, W).
    """
    contexts = torch.cat([condition.positive, condition.unconditional, *condition.negatives.unbind(1)])
    rows = len(contexts) // len(x_t)
    eps = predict(x_t.repeat(rows, 1, 1, 1), t.repeat(rows), contexts).chunk(rows)
    return combine(eps[1], eps[0], torch.stack(eps[2:], dim=1), condition.weights, guidance)


def _turned(azimuth: Tensor) -> Tensor:
    """|azimuth| in [0, 180] degrees."""
    return ((azimuth + 180) % 360 - 180).abs()


def _is_ahead(azimuth: Tensor) -> Tensor:
    return _turned(azimuth) < 90


def _front_share(azimuth: Tensor) -> Tensor:
    """r: 1 at the front falling to 0 at the side, then from 1 at the side to 0 at the back."""
    turned = _turned(azimuth)
    return torch.where(turned < 90, 1 - turned / 90, 2 - turned / 90)
