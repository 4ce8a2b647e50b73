"""MVDream's field: a hash grid with one small network for density and one for colour.

Knows the published density bias and activation [systems.md 1.13 and 6.5]. Knows no rays and no prior.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ._hash_grid_torch import HashGridSettings
from .background import mlp
from .field import FieldSample, contains, grid_points
from .hash_grid import HashGrid


@dataclass(frozen=True)
class DensityFieldSettings:
    """Published values; keys in brackets are those of configs/mvdream-sd21*.yaml [systems.md 6.5].

    Args:
        grid: The hash grid [geometry.pos_encoding_config].
        radius: Half the edge of the box, world units [geometry.radius].
        width: Of the hidden layer of both networks [geometry.mlp_network_config.n_neurons].
        blob_scale: Density logit added at the origin [geometry.density_blob_scale, "blob_magic3d"].
        blob_radius: Where that addition reaches zero, world units [geometry.density_blob_std].
        encoding_rate: Learning rate of the table [optimizer.params.geometry.encoding].
        network_rate: Learning rate of both networks [optimizer.params.geometry.density_network].
        level: Density of the isosurface, per world unit [geometry.isosurface_threshold].
    """

    grid: HashGridSettings = field(default_factory=HashGridSettings)
    radius: float = 1.0
    width: int = 64
    blob_scale: float = 10.0
    blob_radius: float = 0.5
    encoding_rate: float = 0.01
    network_rate: float = 0.001
    level: float = 25.0


class DensityField(nn.Module):
    """density = softplus(MLP(h(x)) + 10 (1 - |x| / 0.5)), albedo = sigmoid(MLP'(h(x))), normal = -grad density / |...|.

    Args:
        settings: Sizes and rates.
        seed: Of the first weights.
    """

    def __init__(self, settings: DensityFieldSettings, seed: int = 0):
        super().__init__()
        self.settings = settings
        self.radius = settings.radius
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoding = HashGrid(settings.grid, seed)
            self.density_network = mlp(self.encoding.features, settings.width, 1, 1)
            self.colour_network = mlp(self.encoding.features, settings.width, 1, 3)

    def _encode_and_density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoding((points / self.radius + 1) / 2)
        blob = self.settings.blob_scale * (1 - points.norm(dim=-1) / self.settings.blob_radius)
        # The published code evaluates both networks outside autocast; so does this, whatever surrounds it.
        with torch.autocast(points.device.type, enabled=False):
            density = nn.functional.softplus(self.density_network(features.float())[:, 0] + blob)
        return features, torch.where(contains(points, self.radius), density, 0.0)

    def query(self, points: Tensor, *, normals: bool = False) -> FieldSample:
        """See `Field.query`; normals are analytic and themselves differentiable in the parameters."""
        if not normals:
            features, density = self._encode_and_density(points)
            return FieldSample(density, self._albedo(features))
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            features, density = self._encode_and_density(points)
            (slope,) = torch.autograd.grad(density.sum(), points, create_graph=self.training)
        normal = -nn.functional.normalize(slope, dim=-1, eps=1e-6)
        return FieldSample(density, self._albedo(features), normal)

    def _albedo(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return torch.sigmoid(self.colour_network(features.float()))

    def density(self, points: Tensor) -> Tensor:
        """See `Field.density`."""
        return self._encode_and_density(points)[1]

    @torch.no_grad()
    def level_values(self, resolution: int) -> Tensor:
        """See `Field.level_values`: density less `settings.level`."""
        points = grid_points(resolution, self.radius, self.encoding.table.device).view(-1, 3)
        density = torch.cat([self.density(chunk) for chunk in points.split(2**18)])
        return density.view((resolution,) * 3) - self.settings.level

    def parameter_groups(self) -> list[dict]:
        """See `Field.parameter_groups`."""
        rates = (self.settings.encoding_rate, self.settings.network_rate, self.settings.network_rate)
        parts = {"encoding": self.encoding, "density": self.density_network, "feature": self.colour_network}
        return [
            {"name": name, "params": list(part.parameters()), "lr": rate}
            for (name, part), rate in zip(parts.items(), rates, strict=True)
        ]

    def regularisers(self) -> dict[str, Tensor]:
        """None: MVDream's penalties are all on renderings."""
        return {}
