"""Which cells of the box may hold anything, so that rays skip the rest.

Knows densities and thresholds. Knows no rays. `OccupancyGrid` keeps a running maximum of any field's density, as the
published systems do; `occupied_by_distance` reads it off a signed-distance grid, exactly and without a memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from dreamlift.representations.field import Field
    from dreamlift.representations.sdf_grid import SdfGrid

# nerfacc 0.5's defaults, which the published code leaves alone.
_DECAY = 0.95
_THRESHOLD = 0.01
_WARM_UP = 256
_EVERY = 16


class OccupancyGrid(nn.Module):
    """A decaying maximum of density times step length for every cell [systems.md 1.8].

    Args:
        resolution: Cells along an edge; 32 as published.
    """

    def __init__(self, resolution: int = 32):
        super().__init__()
        self.register_buffer("values", torch.zeros(resolution, resolution, resolution))
        self.register_buffer("occupied", torch.ones(resolution, resolution, resolution, dtype=torch.bool))

    @torch.no_grad()
    def update(self, field: Field, step: int, step_length: float, generator: torch.Generator | None = None) -> None:
        """Refresh every 16th step: all cells during the first 256 steps, then the occupied and a quarter of the others.

        Args:
            field: Answers `density(points)`.
            step: Of the optimisation.
            step_length: Between samples on a ray, world units.
            generator: Places one point at random in each cell that is asked.
        """
        if step % _EVERY:
            return
        resolution = len(self.values)
        index = torch.arange(resolution**3, device=self.values.device)
        device = generator.device if generator is not None else index.device
        if step >= _WARM_UP:
            lucky = torch.rand(len(index), generator=generator, device=device).to(index.device) < 0.25
            index = index[lucky | self.occupied.flatten()]
        cell = torch.stack([index // resolution**2, index // resolution % resolution, index % resolution], dim=-1)
        inside = torch.rand(len(index), 3, generator=generator, device=device).to(index.device)
        points = ((cell + inside) / resolution * 2 - 1) * field.radius
        found = field.density(points) * step_length
        values = self.values.flatten()
        values[index] = torch.maximum(values[index] * _DECAY, found)
        self.values = values.view_as(self.values)
        self.occupied = self.values > self.values.mean().clamp_max(_THRESHOLD)


@torch.no_grad()
def occupied_by_distance(field: SdfGrid, resolution: int, step_length: float, least: float = 1e-3) -> Tensor:
    """Cells in which an SDF grid's density times step length may exceed `least`.

    Args:
        field: Its distance changes by at most the distance travelled (the eikonal penalty sees to that, roughly).
        resolution: Cells along an edge.
        step_length: Between samples on a ray, world units.
        least: Optical depth of a sample that is still worth asking for.

    Returns:
        (resolution, resolution, resolution) bool, indexed [x, y, z].
    """
    centres = 1 - 1 / resolution
    ticks = torch.linspace(-centres, centres, resolution, device=field.sdf.device)
    points = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1).view(-1, 3) * field.radius
    half_diagonal = 3**0.5 * field.radius / resolution
    return (field.distance(points) - half_diagonal < field.reach(least / step_length)).view((resolution,) * 3)
