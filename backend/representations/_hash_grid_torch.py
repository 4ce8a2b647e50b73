"""The hash grid in plain torch: the twin of `hash_grid`, and the layout of levels that both share.

Knows which table row a grid corner uses and how corners are blended. Slow and meant to be checked by eye.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

PRIME_Y = 2654435761
PRIME_Z = 805459861


@dataclass(frozen=True)
class HashGridSettings:
    """Sizes of a hash grid with two features a level; defaults as in all published SDS systems [systems.md 1.13].

    Args:
        levels: Number of resolutions.
        log2_table: Largest number of entries of one level, as a power of two.
        base: Cells along an edge on the coarsest level.
        growth: Factor from one level to the next; 1.4473 makes the finest of 16 levels 4096 cells wide.
    """

    levels: int = 16
    log2_table: int = 19
    base: int = 16
    growth: float = 1.447269237440378

    @property
    def table_size(self) -> int:
        """Largest number of entries of one level."""
        return 2**self.log2_table


@dataclass(frozen=True)
class HashGridLayout:
    """Where each level lies in the table: `levels` (L, 3) int32 rows of (resolution, first row, 1 where not hashed)."""

    settings: HashGridSettings
    levels: Tensor
    rows: int

    @staticmethod
    def of(settings: HashGridSettings) -> HashGridLayout:
        """The layout of some settings. A level that fits into the table is stored densely, without collisions."""
        rows, levels = 0, []
        for level in range(settings.levels):
            resolution = math.floor(settings.base * settings.growth**level + 1e-6)
            corners = (resolution + 1) ** 3
            dense = corners <= settings.table_size
            levels.append((resolution, rows, int(dense)))
            rows += corners if dense else settings.table_size
        return HashGridLayout(settings, torch.tensor(levels, dtype=torch.int32), rows)


def hash_encode(points: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
    """Same as `hash_grid.hash_encode`, differentiable in everything as often as wanted."""
    bits = torch.tensor([[k & 1, k >> 1 & 1, k >> 2 & 1] for k in range(8)], device=points.device)
    features = []
    for resolution, offset, dense in layout.levels.tolist():
        scaled = points * resolution
        low = scaled.detach().floor().long().clamp(0, resolution - 1)
        inside = (scaled - low)[:, None]  # (M, 1, 3)
        corners = low[:, None] + bits  # (M, 8, 3)
        x, y, z = corners.unbind(-1)
        if dense:
            row = x + (resolution + 1) * (y + (resolution + 1) * z)
        else:
            row = (x ^ (y * PRIME_Y) ^ (z * PRIME_Z)) & (layout.settings.table_size - 1)
        weight = torch.where(bits.bool(), inside, 1 - inside).prod(-1)  # (M, 8)
        features.append((table[row + offset] * weight[..., None]).sum(1))
    return torch.cat(features, dim=-1)
