"""Ray marching in plain torch: the twin of the Warp marcher in `volume`."""

from __future__ import annotations

import torch
from torch import Tensor


def march(
    origins: Tensor, directions: Tensor, occupied: Tensor, radius: float, step: float, jitter: Tensor
) -> tuple[Tensor, Tensor]:
    """Same as `volume.march`: every ray gets the same number of bins, and those outside or empty are dropped."""
    near, far = _box(origins, directions, radius)
    bins = int((far - near).clamp_min(0).max().div(step).ceil().item()) + 1 if len(origins) else 0
    t = near[:, None] + (torch.arange(bins, device=origins.device) + jitter[:, None]) * step
    points = origins[:, None] + directions[:, None] * t[..., None]
    size = occupied.shape[0]
    cell = ((points / radius * 0.5 + 0.5) * size).floor().long().clamp(0, size - 1)
    keep = (t < far[:, None]) & occupied[cell[..., 0], cell[..., 1], cell[..., 2]].bool()
    rays, _ = keep.nonzero(as_tuple=True)
    return rays.int(), t[keep]


def _box(origins: Tensor, directions: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    a, b = (-radius - origins) / safe, (radius - origins) / safe
    return torch.minimum(a, b).amax(-1).clamp_min(0), torch.maximum(a, b).amin(-1)
