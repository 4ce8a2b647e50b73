"""Sizes of the MVDream models: the published ones and the embedded mini one, as plain data.

Knows numbers only. Sources: checkpoints.md section 1 for the published values, mini.md for the mini ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """What every latent diffusion model is built from, without asking a hub.

    Args:
        name: What people call these weights.
        image_size: Height and width of a picture in pixels.
        unet: Arguments of the diffusers U-Net.
        vae: Arguments of the diffusers autoencoder.
        prediction: "epsilon" or "v_prediction".
        zero_terminal_snr: Whether the noise schedule ends in pure noise.
        cpu_autocast: Whether a CPU that multiplies bfloat16 in hardware may; published models are kept exact there.
        licence: Of the weights.
        commercial_use: Whether the licence allows selling what the weights make.
        notes: Free remarks for people.
    """

    name: str
    image_size: int
    unet: dict[str, Any]
    vae: dict[str, Any]
    prediction: str = "epsilon"
    zero_terminal_snr: bool = False
    cpu_autocast: bool = False
    licence: str = "Apache-2.0"
    commercial_use: bool = True
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MVDreamConfig(LatentConfig):
    """Everything that is needed to build one MVDream model without asking a hub. Further fields: `LatentConfig`.

    Args:
        text: Arguments of transformers' CLIPTextConfig; None where the weights come without a text encoder.
        text_layout: How the published file names the text encoder: "openclip" (2.1) or "clip" (1.5).
        camera: "matrix" for the published 16 numbers of camera-to-world, "harmonic" for the mini models' harmonics.
        ray_maps: Whether the U-Net also sees every pixel's ray beside the latents. The published model does not; with
            it a small model learns its camera in minutes rather than hours (docs/log.md).
        prompt_suffix: Added to prompts where the weights expect it.
    """

    text: dict[str, Any] | None
    text_layout: str = "openclip"
    camera: str = "matrix"
    ray_maps: bool = False
    prompt_suffix: str = ""


def _vae(channels: tuple[int, ...], latents: int, **more) -> dict[str, Any]:
    return {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": latents,
        "block_out_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        **more,
    }


MVDREAM_SD21 = MVDreamConfig(
    name="MVDream sd-v2.1-base-4view",
    image_size=256,
    unet={
        "sample_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 16,
    },
    vae=_vae((128, 256, 512, 512), 4, layers_per_block=2, sample_size=256, scaling_factor=0.18215),
    text={
        "vocab_size": 49408,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,  # the penultimate layer of 24: the last is dropped, the final norm stays
        "num_attention_heads": 16,
        "max_position_embeddings": 77,
        "hidden_act": "gelu",
        "projection_dim": 1024,
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 0,
    },
    camera="matrix",
    prediction="epsilon",
    zero_terminal_snr=False,
    prompt_suffix=", 3d asset",
    licence="OpenRAIL",
)

MINI_TEXT_LENGTH = 20  # tokens, with start and end

MINI = MVDreamConfig(
    name="mini-mvdream",
    image_size=64,
    unet={
        "sample_size": 16,
        "in_channels": 8 + 6,  # latents and ray maps
        "out_channels": 8,
        "block_out_channels": (48, 96, 160),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 96,
        "attention_head_dim": (2, 3, 5),
        "norm_num_groups": 16,
        "use_linear_projection": True,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 16,
    },
    vae=_vae((24, 48, 64), 8, layers_per_block=1, sample_size=64, norm_num_groups=8, mid_block_add_attention=False),
    text={
        "vocab_size": 0,  # set from the tokenizer's words
        "hidden_size": 96,
        "intermediate_size": 288,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": MINI_TEXT_LENGTH,
        "projection_dim": 96,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    },
    camera="harmonic",
    ray_maps=True,
    cpu_autocast=True,
    prediction="v_prediction",
    zero_terminal_snr=True,
)
