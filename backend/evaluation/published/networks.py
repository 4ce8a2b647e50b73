"""The three networks that published image metrics look through, in plain torch: AlexNet, VGG and Inception v3.

Knows layers and where activations are taken. Knows no metric. Their weights are torchvision's files, which are read by
their own keys; torchvision itself is not needed (and breaks on a CPU torch: stack.md). Sources: Krizhevsky 2014
(one tower), Simonyan and Zisserman 2015, Szegedy et al. 2016.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamlift.priors.files import read_weights
from dreamlift.priors.weight_errors import WeightsError

ALEXNET = (
    (3, 64, 11, 4, 2),
    "M",
    (64, 192, 5, 1, 2),
    "M",
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
)
"""Input and output channels, kernel, stride, padding of each convolution; "M" is a pooling."""
VGG16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512)
VGG19 = (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4)
ALEXNET_TAPS, VGG16_TAPS, VGG19_RELU5_4 = (1, 4, 7, 9, 11), (3, 8, 15, 22, 29), (35,)
"""Indices of the activations that LPIPS and the contextual distance read, as torchvision's `features` counts layers."""


class Features(nn.Module):
    """A row of convolutions that gives its activations at some layers.

    Args:
        layers: In torchvision's order, so that its keys "features.N.weight" fit.
        taps: Indices of the layers whose outputs are given.
    """

    def __init__(self, layers: Sequence[nn.Module], taps: Sequence[int]):
        super().__init__()
        self.features = nn.Sequential(*layers[: max(taps) + 1])
        self.taps = tuple(taps)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised pictures (B, 3, H, W) to one (B, C, h, w) for each tap."""
        found = []
        for index, layer in enumerate(self.features):
            images = layer(images)
            if index in self.taps:
                found.append(images)
        return found


def alexnet(taps: Sequence[int] = ALEXNET_TAPS) -> Features:
    """AlexNet's convolutions, without weights."""
    layers: list[nn.Module] = []
    for entry in ALEXNET:
        layers += [nn.MaxPool2d(3, 2)] if entry == "M" else [nn.Conv2d(*entry), nn.ReLU()]
    return Features(layers, taps)


def vgg(plan: Sequence[int | str], taps: Sequence[int]) -> Features:
    """VGG's convolutions, without weights; the plan is `VGG16` or `VGG19`."""
    layers: list[nn.Module] = []
    channels = 3
    for entry in plan:
        if entry == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.ReLU()]
            channels = entry
    return Features(layers, taps)


def load_features(network: Features, file: Path) -> None:
    """Take over convolutions from torchvision's file ("features.N.weight") or LPIPS's own ("net.sliceK.N.weight").

    Raises:
        WeightsError: The file cannot be read, or a convolution is missing or has another shape.
    """
    pattern = re.compile(r"(?:features|net\.slice\d)\.(\d+\.(?:weight|bias))")
    found = {match[1]: value for key, value in read_weights(file).items() if (match := pattern.fullmatch(key))}
    load_own(network.features, found, file)


def load_own(network: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Copy all that a network has; what the file has beside it, such as an auxiliary head, is left.

    Raises:
        WeightsError: A tensor is missing or has another shape; names the file.
    """
    own = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    wrong = [key for key, value in own.items() if key not in tensors or tensors[key].shape != value.shape]
    if wrong:
        what = f"{file} does not fit: {len(wrong)} of {len(own)} tensors are missing or misshaped, such as {wrong[0]}."
        raise WeightsError(file, what, "Name the file of the network that the option asks for.")
    network.load_state_dict({key: tensors[key].float() for key in own}, strict=False)
    network.eval().requires_grad_(False)


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU; arguments as `nn.Conv2d`'s."""

    def __init__(self, channels: int, out: int, kernel: int | tuple[int, int], stride: int = 1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out, h, w)."""
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Named branches of convolutions side by side, and one that pools."""

    def branch(self, *names: str, x: Tensor) -> Tensor:
        for name in names:
            x = getattr(self, name)(x)
        return x


class BlockA(_Block):
    """35 x 35: 1x1, 5x5, two 3x3, pooling."""

    def __init__(self, channels: int, pool: int):
        super().__init__()
        self.branch1x1 = Convolution(channels, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Convolution(channels, 48, 1), Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(channels, 64, 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = (Convolution(c, 96, 3, padding=1) for c in (64, 96))
        self.branch_pool = Convolution(channels, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 224 + pool, H, W)."""
        long = self.branch("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3", x=x)
        pooled = self.branch_pool(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat([self.branch1x1(x), self.branch("branch5x5_1", "branch5x5_2", x=x), long, pooled], 1)


class BlockB(_Block):
    """35 x 35 to 17 x 17."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3 = Convolution(channels, 384, 3, 2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Convolution(channels, 64, 1), Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 480 + C, h, w)."""
        long = self.branch("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3", x=x)
        return torch.cat([self.branch3x3(x), long, F.max_pool2d(x, 3, 2)], 1)


class BlockC(_Block):
    """17 x 17: 7x7 as 1x7 and 7x1."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        wide, high = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = Convolution(channels, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Convolution(channels, inner, 1), Convolution(inner, inner, **wide)
        self.branch7x7_3 = Convolution(inner, 192, **high)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Convolution(channels, inner, 1), Convolution(inner, inner, **high)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Convolution(inner, inner, **wide), Convolution(inner, inner, **high)
        self.branch7x7dbl_5 = Convolution(inner, 192, **wide)
        self.branch_pool = Convolution(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 768, H, W)."""
        short = self.branch("branch7x7_1", "branch7x7_2", "branch7x7_3", x=x)
        long = self.branch(*(f"branch7x7dbl_{k}" for k in range(1, 6)), x=x)
        return torch.cat([self.branch1x1(x), short, long, self.branch_pool(F.avg_pool2d(x, 3, 1, 1))], 1)


class BlockD(_Block):
    """17 x 17 to 8 x 8."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Convolution(channels, 192, 1), Convolution(192, 320, 3, 2)
        self.branch7x7x3_1 = Convolution(channels, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 512 + C, h, w)."""
        long = self.branch(*(f"branch7x7x3_{k}" for k in range(1, 5)), x=x)
        return torch.cat([self.branch("branch3x3_1", "branch3x3_2", x=x), long, F.max_pool2d(x, 3, 2)], 1)


class BlockE(_Block):
    """8 x 8: 3x3 as 1x3 beside 3x1."""

    def __init__(self, channels: int):
        super().__init__()
        wide, high = {"kernel": (1, 3), "padding": (0, 1)}, {"kernel": (3, 1), "padding": (1, 0)}
        self.branch1x1, self.branch3x3_1 = Convolution(channels, 320, 1), Convolution(channels, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Convolution(384, 384, **wide), Convolution(384, 384, **high)
        self.branch3x3dbl_1 = Convolution(channels, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Convolution(384, 384, **wide), Convolution(384, 384, **high)
        self.branch_pool = Convolution(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2048, H, W)."""
        short, long = self.branch3x3_1(x), self.branch("branch3x3dbl_1", "branch3x3dbl_2", x=x)
        forks = [self.branch3x3_2a(short), self.branch3x3_2b(short)]
        forks += [self.branch3x3dbl_3a(long), self.branch3x3dbl_3b(long)]
        return torch.cat([self.branch1x1(x), *forks, self.branch_pool(F.avg_pool2d(x, 3, 1, 1))], 1)


class InceptionV3(nn.Module):
    """The classifier of 1000 kinds, for looking: no auxiliary head, no dropout. 23,834,568 numbers."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Convolution(3, 32, 3, 2), Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Convolution(64, 80, 1), Convolution(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = BlockD(768), BlockE(1280), BlockE(2048)
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, 299, 299) in [-1, 1] to logits (B, 1000)."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{name}")(x)
        return self.fc(x.mean((2, 3)))
