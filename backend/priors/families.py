"""Which model a checkpoint belongs to, told by the names of its tensors.

Knows the distinctive keys of each published layout [checkpoints.md]. Knows no tensors and no files.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from pathlib import Path

from .weight_errors import NotWeights, WrongFamily

LDM = "model.diffusion_model."
_Test = Callable[..., bool]  # whether any key holds, or starts with, one of the given parts


class Family(enum.Enum):
    """A published layout; the value is its name for people."""

    MVDREAM = "MVDream (2.1)"
    MVDREAM_15 = "MVDream (1.5)"
    IMAGEDREAM = "ImageDream"
    ZERO123 = "Zero123"
    V3D = "V3D"
    STABLE_VIDEO = "Stable Video Diffusion"
    STABLE_DIFFUSION = "Stable Diffusion"
    DEEPFLOYD = "DeepFloyd IF"
    T5 = "a T5 text encoder"
    CLIP = "a CLIP encoder"
    AUTOENCODER = "an autoencoder (VAE)"
    LORA = "a LoRA adapter"
    DIFFUSERS_UNET = "a diffusers U-Net"
    CONVERTED = "weights that Dreamlift converted"


def family_of(keys: Iterable[str]) -> Family | None:
    """The family of a checkpoint, from the names of its tensors alone.

    Args:
        keys: All names, in the published layout (a state dict will do).

    Returns:
        The family, None where no known one has such names.
    """
    keys = list(keys)

    def has(*parts: str) -> bool:
        return any(part in key for key in keys for part in parts)

    def starts(*prefixes: str) -> bool:
        return any(key.startswith(prefixes) for key in keys)

    if has("lora_A", "lora_B", "lora_down", "lora_up", ".lora."):
        return Family.LORA
    if starts("unet.") and starts("vae.", "text_encoder.", "image_encoder."):
        return Family.CONVERTED
    if starts("cc_projection."):
        return Family.ZERO123
    if starts(LDM):
        return _denoiser(has, starts)
    return _part(has, starts)


def _denoiser(has: _Test, starts: _Test) -> Family:
    if starts(f"{LDM}image_embed.") or has("attn2.to_k_ip"):
        return Family.IMAGEDREAM
    if starts(f"{LDM}camera_embed."):
        # Without its text encoder only shapes tell 1.5 from 2.1: the names are the same.
        return Family.MVDREAM_15 if starts("cond_stage_model.transformer.") else Family.MVDREAM
    if has(".time_stack.", "time_mixer."):
        return Family.STABLE_VIDEO if starts("conditioner.") else Family.V3D
    return Family.STABLE_DIFFUSION


def _part(has: _Test, starts: _Test) -> Family | None:
    """Families that come as parts, in diffusers' and transformers' own names."""
    if starts("add_embedding.norm1.", "add_embedding.pool.") or (starts("encoder_hid_proj.") and has(".add_k_proj.")):
        return Family.DEEPFLOYD
    if has(".SelfAttention.q.") and has("relative_attention_bias", "EncDecAttention", "DenseReluDense"):
        return Family.T5
    if has("temporal_transformer_blocks"):
        return Family.STABLE_VIDEO
    if starts("down_blocks.") and starts("conv_in.") and starts("time_embedding."):
        return Family.DIFFUSERS_UNET
    if starts("encoder.down_blocks.", "encoder.down.") and starts("decoder."):
        return Family.AUTOENCODER
    if starts("text_model.", "vision_model.", "visual.transformer.", "transformer.resblocks.", "embeddings."):
        return Family.CLIP
    return None


def check_family(keys: Iterable[str], wanted: Family | tuple[Family, ...], path: Path | str = "the checkpoint") -> None:
    """Refuse good weights of another model.

    Args:
        keys: Names of the tensors, in the published layout.
        wanted: What they must be; the first of several names it in the message.
        path: For the message.

    Raises:
        WrongFamily: They belong to another model; says which.
        NotWeights: They belong to no model that Dreamlift knows.
    """
    keys = list(keys)
    found = family_of(keys)
    allowed = wanted if isinstance(wanted, tuple) else (wanted,)
    if found in allowed:
        return
    name = allowed[0].value
    if found is None:
        few = ", ".join(keys[:3])
        what = f"{path} has {len(keys)} tensors of no model that Dreamlift knows ({few})."
        raise NotWeights(path, what, f"Give the file of {name} (`dreamlift models list` names it).")
    what = f"This is {found.value}, and it was given to {name}: {path}."
    raise WrongFamily(path, what, f"Give the file of {name} (`dreamlift models list` names it).")
