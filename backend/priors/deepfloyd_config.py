"""Sizes of DeepFloyd IF's stage I, as plain data, and what a published folder may add to them.

Knows numbers only. Sources: checkpoints.md section 5 for the kind of blocks; widths and depth are those of
IF-I-XL-v1.0's own `unet/config.json` as others report it. They give the 4.3 billion parameters that its page states.
"""

from __future__ import annotations

import inspect
import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffusers import UNet2DConditionModel

from .published import CheckpointMismatch
from .t5 import T5_XXL

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DeepFloydConfig:
    """Everything that is needed to build stage I without asking a hub.

    Args:
        name: What people call these weights.
        image_size: Height and width in pixels.
        unet: Arguments of diffusers' UNet2DConditionModel.
        text: Arguments of transformers' T5Config.
        licence: Of the weights.
        commercial_use: Whether the licence allows selling what the weights make.
    """

    name: str
    image_size: int
    unet: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=lambda: dict(T5_XXL))
    licence: str = "DeepFloyd IF License Agreement"
    commercial_use: bool = False


IF_I_XL = DeepFloydConfig(
    name="DeepFloyd IF-I-XL v1.0",
    image_size=64,
    unet={
        "sample_size": 64,
        "in_channels": 3,
        "out_channels": 6,
        "block_out_channels": (704, 1408, 2112, 2816),
        "layers_per_block": 3,
        "down_block_types": ("ResnetDownsampleBlock2D",) + ("SimpleCrossAttnDownBlock2D",) * 3,
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D",) * 3 + ("ResnetUpsampleBlock2D",),
        "attention_head_dim": 64,
        "cross_attention_dim": 2816,
        "cross_attention_norm": "group_norm",
        "encoder_hid_dim": 4096,
        "encoder_hid_dim_type": "text_proj",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 64,
        "resnet_time_scale_shift": "scale_shift",
        "act_fn": "gelu",
    },
)


def with_unet_file(config: DeepFloydConfig, file: Path) -> DeepFloydConfig:
    """A configuration with what a diffusers `config.json` says about the U-Net; unchanged where there is no such file.

    The published file could not be read when ours was written (the weights are gated), so it has the last word.
    """
    if not file.is_file():
        return config
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        known = inspect.signature(UNet2DConditionModel.__init__).parameters
        told = {key: tuple(v) if isinstance(v, list) else v for key, v in told.items() if key in known}
    except (ValueError, AttributeError) as error:
        raise CheckpointMismatch(f"{file} is no configuration of a U-Net ({error}); download it again.") from error
    changed = {key: value for key, value in told.items() if key in config.unet and config.unet[key] != value}
    if changed:
        log.warning("%s differs from the built-in configuration and is followed: %s", file, changed)
    return replace(config, unet={**config.unet, **told})
