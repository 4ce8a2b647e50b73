"""Colour and opacity of cut-outs: straight, as files and previews have them, and premultiplied, as pixels are averaged.

Averaged straight, what is transparent lends its colour to the rim. Knows four channels, nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-4  # opacity below which a pixel has next to no colour of its own


def premultiplied(cut_out: Tensor) -> Tensor:
    """Straight colour and opacity to colour times opacity, and opacity; (4, H, W) in [0, 1]."""
    return torch.cat([cut_out[:3] * cut_out[3:], cut_out[3:]])


def straight(cut_out: Tensor) -> Tensor:
    """The inverse of `premultiplied`; what is transparent becomes black. (4, H, W) in [0, 1]."""
    return torch.cat([cut_out[:3] / cut_out[3:].clamp_min(LEAST), cut_out[3:]]).clamp(0, 1)
