"""Pictures to what CLIP's vision tower takes: the ways to 224 pixels that published models were trained with.

Knows resizing and CLIP's colour statistics; knows no weights. The models are sensitive to the filter: without the blur
a 512 px picture moves V3D's embedding by 0.96, and without aligned corners Zero123's by 0.29 [checkpoints.md 0 and 4].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# OpenAI's statistics of the training pictures, RGB in [0, 1]; OpenCLIP uses the same.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def resize_aligned(images: Tensor, size: int) -> Tensor:
    """Bicubic with aligned corners and without a blur, as Zero123 was trained. (N, 3, H, W) -> (N, 3, size, size)."""
    return F.interpolate(images, (size, size), mode="bicubic", align_corners=True)


def resize_antialiased(images: Tensor, size: int) -> Tensor:
    """Gaussian blur, then bicubic with aligned corners, as Stable Video Diffusion was trained (kornia's `antialias`).

    The blur has sigma (factor - 1) / 2 and a window of 4 sigma, made odd and at least 3; enlarging does not blur.
    (N, 3, H, W) -> (N, 3, size, size).
    """
    for dim in (-1, -2):
        images = _blur(images, (images.shape[dim] / size - 1) / 2, dim)
    return resize_aligned(images, size)


def _blur(images: Tensor, sigma: float, dim: int) -> Tensor:
    """Gaussian along one dimension, borders reflected."""
    if sigma <= 0:
        return images
    window = max(int(4 * sigma), 3)
    window += 1 - window % 2
    ticks = torch.arange(window, dtype=images.dtype, device=images.device) - window // 2
    kernel = torch.exp(-ticks.square() / (2 * sigma * sigma))
    kernel = kernel / kernel.sum()
    along = (1, 1, 1, window) if dim == -1 else (1, 1, window, 1)
    margin = (window // 2, window // 2, 0, 0) if dim == -1 else (0, 0, window // 2, window // 2)
    channels = images.shape[1]
    padded = F.pad(images, margin, mode="reflect")
    return F.conv2d(padded, kernel.view(along).expand(channels, *along[1:]), groups=channels)


def normalise(images: Tensor) -> Tensor:
    """Take CLIP's mean off and divide by its deviation. (N, 3, H, W) in [0, 1] -> the same shape."""
    mean, std = (
        torch.tensor(values, dtype=images.dtype, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD)
    )
    return (images - mean) / std


def clip_pixels(images: Tensor, size: int) -> Tensor:
    """Pictures as the vision tower takes them: resized, cut to the centre, normalised; OpenCLIP's evaluation transform.

    Args:
        images: (B, 3, H, W) in [0, 1].
        size: Height and width of the answer.
    """
    short = min(images.shape[-2:])
    height, width = (max(size, round(side * size / short)) for side in images.shape[-2:])
    resized = F.interpolate(images, (height, width), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return normalise(resized[..., top : top + size, left : left + size])
