"""A voxel grid of signed distance and colour: the mini preset's field, quick to optimise on one CPU core.

Knows how a distance becomes a density, how the grid grows, and which penalties keep it a distance. Knows no rays and no
prior. A plain density grid was tried first in the pilot and gave hollow objects (mini.md, first pilot).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .field import FieldSample, grid_points
from .trilinear import trilinear


@dataclass(frozen=True)
class SdfGridSettings:
    """Sizes and rates of an SDF grid; values are the mini preset's, chosen with `benchmarks/mini_reconstruction.py`.

    Args:
        start_radius: Radius of the ball that it starts from, world units.
        sdf_rate: Adam's learning rate of the distances, world units a step.
        colour_rate: Adam's learning rate of the colour logits.
        surface_shift: How many softness lengths outside the zero level the density is half of its inner value; negative
            is inside. See `SdfGrid`.
    """

    start_radius: float = 0.5
    sdf_rate: float = 0.012
    colour_rate: float = 0.1
    surface_shift: float = -2.0


class SdfGrid(nn.Module):
    """Signed distance (negative inside) and colour at grid points, with density sigmoid(shift - s / b) / b.

    With shift 0 a ray that meets a thick wall head-on is half absorbed exactly at s = 0, since its optical depth there
    is log(1 + exp(-s / b)). A ray that only grazes a rounded surface travels far through the soft shell: around a
    curvature radius R it is half absorbed at s = b log(sqrt(2 pi R / b) / log 2), about 3 b outside. Silhouettes are
    such rays, and silhouettes shape the object, so the optimiser pulls the zero level inwards by 2 to 3 b (the pilot
    found 0.04 = 2 b the best level by search). A negative shift moves the density inwards by as much: zero is right.

    Args:
        settings: Start and learning rates.
        resolution: Grid points along an edge.
        seed: Of the faint noise that the colours start from.
        softness: b above, world units; the pipeline anneals it through the attribute of the same name.
    """

    radius = 1.0

    def __init__(self, settings: SdfGridSettings, resolution: int, seed: int, softness: float):
        super().__init__()
        self.settings = settings
        self.softness = softness
        generator = torch.Generator().manual_seed(seed)
        ball = grid_points(resolution, self.radius).norm(dim=-1) - settings.start_radius
        self.sdf = nn.Parameter(ball)
        self.colour = nn.Parameter(torch.randn(resolution, resolution, resolution, 3, generator=generator) * 0.05)

    @property
    def resolution(self) -> int:
        """Grid points along an edge."""
        return self.sdf.shape[0]

    def resize(self, resolution: int) -> None:
        """Interpolate onto a finer or coarser grid; the parameters are new ones and need a new optimiser."""
        values = torch.cat([self.sdf.detach()[..., None], self.colour.detach()], dim=-1).permute(3, 0, 1, 2)[None]
        values = nn.functional.interpolate(values, size=(resolution,) * 3, mode="trilinear", align_corners=True)[0]
        self.sdf = nn.Parameter(values[0].contiguous())
        self.colour = nn.Parameter(values[1:].permute(1, 2, 3, 0).contiguous())

    @torch.no_grad()
    def resample(self, sources: Callable[[Tensor], Tensor]) -> None:
        """Take the values of every grid point from another place; the parameters stay the same ones.

        Args:
            sources: Given the grid's points (R^3, 3) on the CPU, the places in [-1, 1] that their values come from.
        """
        places = sources(grid_points(self.resolution, self.radius).view(-1, 3)).to(self.sdf)
        values = trilinear(places, self._packed()).view(*self.sdf.shape, 4)
        self.sdf.copy_(values[..., 0])
        self.colour.copy_(values[..., 1:])

    def _packed(self) -> Tensor:
        return torch.cat([self.sdf[..., None], self.colour], dim=-1)

    def _density(self, distance: Tensor) -> Tensor:
        return torch.sigmoid(self.settings.surface_shift - distance / self.softness) / self.softness

    def query(self, points: Tensor, *, normals: bool = False) -> FieldSample:
        """See `Field.query`; normals are the normalised slope of the distance by central differences."""
        values = trilinear(points, self._packed())
        normal = self._normals(points) if normals else None
        return FieldSample(self._density(values[:, 0]), torch.sigmoid(2 * values[:, 1:]), normal)

    def _normals(self, points: Tensor) -> Tensor:
        step = 2 * self.radius / (self.resolution - 1)
        offsets = torch.cat([torch.eye(3), -torch.eye(3)]).to(points) * step
        around = (points[None] + offsets[:, None]).clamp(-self.radius, self.radius).reshape(-1, 3)
        distance = trilinear(around, self._packed())[:, 0].view(2, 3, -1)
        return nn.functional.normalize((distance[0] - distance[1]).T, dim=-1)

    def distance(self, points: Tensor) -> Tensor:
        """Signed distance at points (M, 3), negative inside; (M,)."""
        return trilinear(points, self._packed())[:, 0]

    def reach(self, density: float) -> float:
        """The distance outside which the density is below a value, world units."""
        share = min(max(density * self.softness, 1e-9), 1 - 1e-9)
        return self.softness * (self.settings.surface_shift - math.log(share / (1 - share)))

    def density(self, points: Tensor) -> Tensor:
        """See `Field.density`."""
        return self._density(self.distance(points))

    def level_values(self, resolution: int) -> Tensor:
        """See `Field.level_values`: minus the distance, in world units."""
        with torch.no_grad():
            values = nn.functional.interpolate(
                self.sdf[None, None], size=(resolution,) * 3, mode="trilinear", align_corners=True
            )
        return -values[0, 0]

    def parameter_groups(self) -> list[dict]:
        """See `Field.parameter_groups`."""
        return [
            {"name": "sdf", "params": [self.sdf], "lr": self.settings.sdf_rate},
            {"name": "colour", "params": [self.colour], "lr": self.settings.colour_rate},
        ]

    def regularisers(self) -> dict[str, Tensor]:
        """Eikonal, Laplacian of the distance, and variation of the colour logits, each a mean over the grid.

        Eikonal: (|grad s| - 1)^2 by forward differences [systems.md 1.12]. Laplacian: squared seven-point difference,
        not divided by the spacing. Colour: squared forward differences.
        """
        s = self.sdf
        spacing = 2 * self.radius / (self.resolution - 1)
        core = s[:-1, :-1, :-1]
        dx, dy, dz = s[1:, :-1, :-1] - core, s[:-1, 1:, :-1] - core, s[:-1, :-1, 1:] - core
        slope = torch.sqrt(dx * dx + dy * dy + dz * dz + (1e-4 * spacing) ** 2) / spacing
        inner = s[1:-1, 1:-1, 1:-1]
        around = s[2:, 1:-1, 1:-1] + s[:-2, 1:-1, 1:-1] + s[1:-1, 2:, 1:-1] + s[1:-1, :-2, 1:-1]
        around = around + s[1:-1, 1:-1, 2:] + s[1:-1, 1:-1, :-2]
        c = self.colour
        variation = (c[1:] - c[:-1]).square().mean() + (c[:, 1:] - c[:, :-1]).square().mean()
        variation = variation + (c[:, :, 1:] - c[:, :, :-1]).square().mean()
        return {
            "eikonal": (slope - 1).square().mean(),
            "laplacian": (around - 6 * inner).square().mean(),
            "colour_variation": 3 * variation,
        }
