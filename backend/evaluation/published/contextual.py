"""The contextual distance: do the same local features occur, wherever they are [Mechrez et al. 2018].

Knows pictures and a backbone. DreamCraft3D's script [evaluation.md, section 2] takes VGG19's relu5_4 at 512 px. The
bandwidth h is not named there: it is an argument here and part of every report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamlift.evaluation.published.networks import VGG19, VGG19_RELU5_4, load_features, vgg

BANDWIDTH = 0.1
_EPS = 1e-5
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


@dataclass(frozen=True)
class Contextual:
    """The distance with one backbone.

    Args:
        backbone: Normalised pictures (B, 3, H, W) to a list whose last entry are the features (B, C, h, w).
        bandwidth: h: smaller lets only the nearest feature count.
    """

    backbone: Callable[[Tensor], Sequence[Tensor]]
    bandwidth: float = BANDWIDTH

    @torch.no_grad()
    def __call__(self, image: Tensor, reference: Tensor) -> float:
        """-log CX of a picture and its reference, both (3, H, W) in [0, 1]; 0 at best.

        With d the cosine distances of features centred by the reference's mean, dn_ij = d_ij / (min_k d_ik + eps),
        w_ij = exp((1 - dn_ij) / h), CX = mean_j max_i w_ij / sum_k w_ik.
        """
        x, y = (self.backbone(_normalised(picture[None]))[-1][0].flatten(1).T for picture in (image, reference))
        centre = y.mean(0)
        distance = (1 - F.normalize(x - centre, dim=1) @ F.normalize(y - centre, dim=1).T).clamp_min(0)
        relative = distance / (distance.amin(1, keepdim=True) + _EPS)
        weight = torch.softmax((1 - relative) / self.bandwidth, dim=1)
        return float(-(weight.amax(0).mean() + _EPS).log())


def _normalised(images: Tensor) -> Tensor:
    return (images - images.new_tensor(_MEAN)[:, None, None]) / images.new_tensor(_STD)[:, None, None]


def read_contextual(file: Path, bandwidth: float = BANDWIDTH) -> Contextual:
    """The distance with torchvision's VGG19.

    Args:
        file: Of VGG19 with keys "features.N.weight".
        bandwidth: See `Contextual`.

    Raises:
        WeightsError: The file cannot be read, or is of another network.
    """
    backbone = vgg(VGG19, VGG19_RELU5_4)
    load_features(backbone, file)
    return Contextual(backbone, bandwidth)
