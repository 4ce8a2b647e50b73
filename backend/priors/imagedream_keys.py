"""ImageDream's U-Net keys onto diffusers': the resampler and the decoupled attention beside what MVDream has.

Knows names only (checkpoints.md, section 2); `published` knows the rest of the U-Net and both CLIP towers.
"""

from __future__ import annotations

import re

from torch import Tensor

from .published import UNET, below, convert_unet

RESAMPLER = "encoder_hid_proj.image_projection_layers.0."

_LAYER = {  # inside layers.i.
    r"0\.norm1": "ln0",
    r"0\.norm2": "ln1",
    r"0\.to_q": "attn.to_q",
    r"0\.to_out": "attn.to_out.0",
    r"1\.0": "ff.0",
    r"1\.1": "ff.1.net.0.proj",
    r"1\.3": "ff.1.net.2",
}


def convert_resampler(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Perceiver resampler onto IPAdapterPlusImageProjection; keys and values come in one matrix and are split.

    Args:
        tensors: By published name, without `image_embed.`.
    """
    converted = {}
    for key, value in tensors.items():
        if match := re.fullmatch(r"layers\.(\d+)\.0\.to_kv\.weight", key):
            for name, half in zip("kv", value.chunk(2), strict=True):
                converted[f"layers.{match[1]}.attn.to_{name}.weight"] = half
            continue
        for old, new in _LAYER.items():
            key = re.sub(rf"^layers\.(\d+)\.{old}\.", rf"layers.\1.{new}.", key)
        converted[key] = value
    return converted


def convert_image_unet(state: dict[str, Tensor], layers: int, prefix: str = UNET) -> dict[str, Tensor]:
    """All U-Net tensors of an ImageDream checkpoint, in diffusers' naming.

    Args:
        state: The whole checkpoint.
        layers: Residual blocks a level.
        prefix: Where the U-Net's keys start; default "model.diffusion_model.".

    Raises:
        CheckpointMismatch: Keys belong to no block that these models have; lists up to five.
    """
    resampler = convert_resampler(below(state, f"{prefix}image_embed."))
    rest = {key: value for key, value in state.items() if not key.startswith(f"{prefix}image_embed.")}
    return {
        re.sub(r"\.attn2\.to_([kv])_ip\.weight$", r".attn2.processor.to_\1_ip.0.weight", key): value
        for key, value in convert_unet(rest, layers, prefix).items()
    } | {RESAMPLER + key: value for key, value in resampler.items()}
