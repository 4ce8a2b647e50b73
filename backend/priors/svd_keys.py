"""Stable Video Diffusion's published key layout (V3D's too) onto diffusers' spatio-temporal modules.

Knows names only. Each residual block and transformer holds a spatial and a temporal half and the factor that mixes
them; within a half the names are those of `published` [checkpoints.md section 4].
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from . import published

VISION = "conditioner.embedders.0.open_clip.model.visual."
OPEN_CLIP = "conditioner.embedders.0.open_clip.model."  # its text side comes along and is not needed

_VECTOR = {"label_emb.0.0.": "add_embedding.linear_1.", "label_emb.0.2.": "add_embedding.linear_2."}
_BLOCK = re.compile(r"((?:input|output)_blocks\.\d+\.\d|middle_block\.[012])\.(.+)")
_DECODER_BLOCK = re.compile(r"(decoder\.(?:mid\.block_\d|up\.\d+\.block\.\d+))\.(.+)")


def held(state: dict[str, Tensor], conditioner: dict[str, Tensor]) -> tuple[str, ...]:
    """Which parts two checkpoints have any tensor of: U-Net and decoder in the first, both encoders in the second.

    Raises:
        CheckpointMismatch: They have none.
    """
    places = {
        "unet": (state, published.UNET),
        "decoder": (state, f"{published.VAE}decoder."),
        "encoder": (conditioner, f"{published.VAE}encoder."),
        "image_encoder": (conditioner, VISION),
    }
    found = tuple(part for part, (owner, prefix) in places.items() if any(key.startswith(prefix) for key in owner))
    if not found:
        few = ", ".join(sorted(state)[:3])
        raise published.CheckpointMismatch(f"These are no weights of V3D: {len(state)} tensors ({few}).")
    return found


def unet_key(key: str, layers: int) -> str:
    """A key of the video U-Net in diffusers' naming.

    Args:
        key: Without the `model.diffusion_model.` prefix.
        layers: Residual blocks a level.

    Raises:
        KeyError: The key belongs to no block that these models have.
    """
    for old, new in _VECTOR.items():
        if key.startswith(old):
            return new + key[len(old) :]
    match = _BLOCK.fullmatch(key)
    if not match or match[2].startswith(("op.", "conv.")) or match[1] == "input_blocks.0.0":
        return published.unet_key(key, layers)
    place, rest = match.groups()
    return _residual(place, rest, layers) if _is_residual(place) else _transformer(place, rest, layers)


def _is_residual(place: str) -> bool:
    return place in ("middle_block.0", "middle_block.2") if place.startswith("middle") else place.endswith(".0")


def _residual(place: str, rest: str, layers: int) -> str:
    home = published.unet_key(f"{place}.in_layers.0.weight", layers).removesuffix("norm1.weight")
    return home + _halves(rest)


def _halves(rest: str) -> str:
    """Inside of a residual block: the factor that mixes, the temporal half or the spatial half."""
    if rest.endswith("mix_factor"):
        return "time_mixer.mix_factor"
    temporal = rest.startswith("time_stack.")
    inner = published.unet_key("middle_block.0." + rest.removeprefix("time_stack."), 1)
    return f"{'temporal' if temporal else 'spatial'}_res_block." + inner.removeprefix("mid_block.resnets.0.")


def _transformer(place: str, rest: str, layers: int) -> str:
    home = published.unet_key(f"{place}.norm", layers).removesuffix("norm")
    rest = re.sub(r"^time_stack\.", "temporal_transformer_blocks.", rest)
    return home + re.sub(r"^time_pos_embed\.([02])\.", lambda m: f"time_pos_embed.linear_{int(m[1]) // 2 + 1}.", rest)


def vae_key(key: str, levels: int) -> str:
    """A key of the first stage, without its prefix, in diffusers' naming; `levels` is the number of resolutions."""
    if key.startswith("decoder.conv_out.time_mix_conv."):
        return key.replace("decoder.conv_out.time_mix_conv.", "decoder.time_conv_out.")
    match = _DECODER_BLOCK.fullmatch(key)
    if not match:
        return published.vae_key(key, levels)
    home, rest = published.vae_key(match[1] + ".", levels), match[2]
    if rest.startswith(("time_stack.", "mix_factor")):
        return home + _halves(rest)
    return f"{home}spatial_res_block.{rest.replace('nin_shortcut', 'conv_shortcut')}"


def convert_unet(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """All U-Net tensors of a checkpoint, in diffusers' naming.

    Args:
        state: The whole checkpoint.
        layers: Residual blocks a level.

    Raises:
        CheckpointMismatch: Keys belong to no block that these models have; lists up to five.
    """
    converted, unknown = {}, []
    for key, value in published.below(state, published.UNET).items():
        try:
            converted[unet_key(key, layers)] = value
        except KeyError:
            unknown.append(published.UNET + key)
    if unknown:
        told = f"{len(unknown)} left over: {', '.join(sorted(unknown)[:5])}"
        raise published.CheckpointMismatch(
            f"The checkpoint does not fit the video U-Net: {told}. Is it the file of this model?"
        )
    return converted


def convert_first_stage(state: dict[str, Tensor], half: str, levels: int) -> dict[str, Tensor]:
    """One half of the first stage, named as inside of that half's module.

    Args:
        state: The whole checkpoint.
        half: "encoder" or "decoder".
        levels: Number of resolutions.

    Returns:
        Tensors by name; attention's 1x1 convolutions become linear layers.
    """
    prefix = f"{published.VAE}{half}."
    found = {key: value for key, value in state.items() if key.startswith(prefix)}
    named = {vae_key(key.removeprefix(published.VAE), levels): value for key, value in found.items()}
    return {
        key.removeprefix(half + "."): value[:, :, 0, 0] if ".attentions." in key and value.ndim == 4 else value
        for key, value in named.items()
    }


def identity_quantiser(channels: int) -> dict[str, Tensor]:
    """Weights of a 1x1 convolution that changes nothing: diffusers has one where the published engine has none."""
    return {"weight": torch.eye(channels)[:, :, None, None], "bias": torch.zeros(channels)}
