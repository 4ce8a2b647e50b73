"""LPIPS: how different two pictures look to a network that was calibrated on people [Zhang et al. 2018, version 0.1].

Knows pictures and a backbone that gives activations. Which backbone is the caller's: AlexNet or VGG16 with published
weights, or any other in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamlift.evaluation.published.networks import VGG16, VGG16_TAPS, alexnet, load_features, vgg
from dreamlift.priors.files import read_weights
from dreamlift.priors.weight_errors import WeightsError

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]
NETWORKS = ("alex", "vgg")
_CHANNELS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


@dataclass(frozen=True)
class Lpips:
    """The distance with one backbone.

    Args:
        backbone: Normalised pictures (B, 3, H, W) to a list of activations (B, C, h, w).
        heads: For each of them the weight of its channels, (C,), not negative.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    heads: Sequence[Tensor]

    @torch.no_grad()
    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        """Distances of pairs of pictures, both (B, 3, H, W) in [0, 1]; (B,), 0 for equal pictures."""
        seen = [self.backbone(_scaled(images)) for images in (one, other)]
        total = torch.zeros(len(one))
        for head, a, b in zip(self.heads, *seen, strict=True):
            difference = (_unit(a) - _unit(b)).square()
            total = total + torch.einsum("bchw,c->bhw", difference, head).mean((1, 2))
        return total


def _scaled(images: Tensor) -> Tensor:
    return (images * 2 - 1 - images.new_tensor(SHIFT)[:, None, None]) / images.new_tensor(SCALE)[:, None, None]


def _unit(activations: Tensor) -> Tensor:
    return F.normalize(activations, dim=1, eps=1e-10)


def read_lpips(file: Path, network: str = "alex") -> Lpips:
    """The published distance.

    Args:
        file: The state of the `lpips` package's module: backbone ("net.sliceK.N.weight" or torchvision's
            "features.N.weight") and heads ("linK.model.1.weight") together, safetensors or a pickle of tensors.
        network: One of `NETWORKS`.

    Raises:
        WeightsError: The file cannot be read, or is of another network.
    """
    backbone = alexnet() if network == "alex" else vgg(VGG16, VGG16_TAPS)
    load_features(backbone, file)
    tensors, heads = read_weights(file), []
    for index, channels in enumerate(_CHANNELS[network]):
        key = f"lin{index}.model.1.weight"
        if key not in tensors or tensors[key].numel() != channels:
            what = f"{file} has no {key} of {channels} numbers."
            raise WeightsError(file, what, "Save the whole state of lpips.LPIPS: backbone and heads in one file.")
        heads.append(tensors[key].float().flatten())
    return Lpips(backbone, heads)
