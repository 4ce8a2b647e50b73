"""What lies behind the object: a learned environment by direction.

Knows directions. Knows no rays' origins and no object. Spherical harmonics of degree 3 (nine of them) into a small
bias-free MLP, as in the published code [systems.md 6.5].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Real spherical harmonics with l = 0, 1, 2 of unit vectors (M, 3); (M, 9)."""
    x, y, z = directions.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, 0.28209479),
            0.48860251 * y,
            0.48860251 * z,
            0.48860251 * x,
            1.09254843 * x * y,
            1.09254843 * y * z,
            0.31539157 * (3 * z * z - 1),
            1.09254843 * x * z,
            0.54627422 * (x * x - y * y),
        ],
        dim=-1,
    )


class EnvironmentBackground(nn.Module):
    """Colour by direction: nine harmonics, two hidden layers of 16, sigmoid.

    Args:
        rate: Learning rate; 0.001 as published.
        seed: Of the first weights.
    """

    def __init__(self, rate: float = 0.001, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = mlp(9, 16, 2, 3)
        self.rate = rate

    def forward(self, directions: Tensor) -> Tensor:
        """Colours (M, 3) in [0, 1] of unit directions (M, 3)."""
        return torch.sigmoid(self.network(spherical_harmonics(directions)))

    def parameter_groups(self) -> list[dict]:
        """One group for a torch optimiser."""
        return [{"name": "background", "params": list(self.parameters()), "lr": self.rate}]


def mlp(inputs: int, width: int, hidden: int, outputs: int) -> nn.Sequential:
    """A bias-free ReLU network with a linear output [systems.md 1.13]; `hidden` layers of `width`."""
    sizes = [inputs] + [width] * hidden
    layers: list[nn.Module] = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(before, after, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs, bias=False))
