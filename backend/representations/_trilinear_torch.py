"""Trilinear interpolation in plain torch: the twin of `trilinear`."""

from __future__ import annotations

import torch
from torch import Tensor


def trilinear(points: Tensor, grid: Tensor) -> Tensor:
    """Same as `trilinear.trilinear`, differentiable in both arguments as often as wanted."""
    size = torch.tensor(grid.shape[:3], device=points.device)
    scaled = (points + 1) / 2 * (size - 1)
    low = torch.minimum(scaled.detach().floor().long().clamp_min(0), size - 2)
    inside = scaled - low
    total = torch.zeros(len(points), grid.shape[3], device=points.device)
    for corner in range(8):
        bits = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1], device=points.device)
        x, y, z = (low + bits).unbind(-1)
        weight = torch.where(bits.bool(), inside, 1 - inside).prod(-1)
        total = total + grid[x, y, z] * weight[:, None]
    return total
