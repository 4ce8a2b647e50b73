"""What every volumetric representation answers, so that one renderer and one pipeline serve them all.

Knows the questions: density, colour, normals, isosurface values, parameter groups, regularisers. Knows no rays, cameras
or losses of a prior. Implementations: `density_field.DensityField` (the published hash grid) and `sdf_grid.SdfGrid`
(the mini preset).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class FieldSample:
    """What a field says about M points.

    Args:
        density: Extinction per world unit, never negative. (M,).
        albedo: Base colour, sRGB in [0, 1]. (M, 3).
        normal: Unit vectors that point out of the object, or None where they were not asked for. (M, 3).
    """

    density: Tensor
    albedo: Tensor
    normal: Tensor | None = None


class Field(Protocol):
    """A coloured density inside [-radius, radius]^3. Implementations are `torch.nn.Module`s."""

    radius: float

    def query(self, points: Tensor, *, normals: bool = False) -> FieldSample:
        """Density, albedo and, where asked for, normals at points (M, 3), differentiable in the parameters."""
        ...

    def density(self, points: Tensor) -> Tensor:
        """Density alone at points (M, 3); (M,). The cheap question, for occupancy and pruning."""
        ...

    def level_values(self, resolution: int) -> Tensor:
        """Values at `grid_points`, zero on the surface and positive inside; (R, R, R) float32, indexed [x, y, z]."""
        ...

    def parameter_groups(self) -> list[dict]:
        """Groups for a torch optimiser, each with its own `lr` and a `name`."""
        ...

    def regularisers(self) -> dict[str, Tensor]:
        """Penalties of the parameters alone, unweighted scalars by name; empty where there are none."""
        ...


def grid_points(resolution: int, radius: float, device: torch.device | str = "cpu") -> Tensor:
    """A regular grid over [-radius, radius]^3 with points on its faces; (R, R, R, 3), indexed [x, y, z]."""
    ticks = torch.linspace(-radius, radius, resolution, device=device)
    return torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1)


def contains(points: Tensor, radius: float) -> Tensor:
    """Which points lie inside [-radius, radius]^3; (M,) bool."""
    return (points.abs() <= radius).all(dim=-1)
