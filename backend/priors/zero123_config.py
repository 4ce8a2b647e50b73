"""Sizes and conventions of the Zero123 family: Zero-1-to-3, Zero123-XL and the two Stable-Zero123, as plain data.

Knows numbers only [checkpoints.md section 3]. All four share one network; they differ in weights, licence and the
fourth camera number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .configs import LatentConfig


@dataclass(frozen=True, kw_only=True)
class Zero123Config(LatentConfig):
    """Everything that is needed to build one Zero123 model without asking a hub. Further fields: `LatentConfig`.

    Args:
        vision: Arguments of transformers' CLIPVisionConfig.
        absolute_polar: Whether the fourth camera number is the picture's own polar angle (Stable-Zero123); otherwise it
            is the change of distance (Zero-1-to-3, Zero123-XL).
    """

    vision: dict[str, Any]
    absolute_polar: bool = False

    @classmethod
    def from_reference(
        cls, reference: dict[str, Any], *, vision: dict[str, int], embed_dim: int, absolute_polar: bool = False
    ) -> Zero123Config:
        """The configuration of a model in the reference implementation's own terms, such as a test's tiny one.

        Args:
            reference: The reference's yaml as a dict, with `params` on top.
            vision: The CLIP tower's layers, width, head_width, patch_size and image_size.
            embed_dim: Length of CLIP's projected embedding.
            absolute_polar: As in the class; the yaml does not tell.
        """
        params = reference["params"]
        unet, stage = params["unet_config"]["params"], params["first_stage_config"]["params"]["ddconfig"]
        latents = params.get("image_size", unet.get("image_size", 32))
        return cls(
            name="Zero123 (reference configuration)",
            image_size=latents * 2 ** (len(stage["ch_mult"]) - 1),
            unet=_unet_of(unet, latents),
            vae=_vae_of(stage, params.get("scale_factor", 0.18215)),
            vision=vision_of(vision, embed_dim, "quick_gelu"),
            absolute_polar=absolute_polar,
        )


def vision_of(vision: dict[str, int], embed_dim: int, activation: str) -> dict[str, Any]:
    """Arguments of CLIPVisionConfig from a tower's sizes in OpenCLIP's terms.

    Args:
        vision: layers, width, head_width, patch_size, image_size; mlp_ratio where it is not 4.
        embed_dim: Length of the projected embedding.
        activation: "quick_gelu" for OpenAI's weights, "gelu" for OpenCLIP's.
    """
    return {
        "hidden_size": vision["width"],
        "intermediate_size": int(vision["width"] * vision.get("mlp_ratio", 4)),
        "num_hidden_layers": vision["layers"],
        "num_attention_heads": vision["width"] // vision["head_width"],
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "hidden_act": activation,
        "projection_dim": embed_dim,
        "layer_norm_eps": 1e-5,
    }


def _unet_of(unet: dict[str, Any], latents: int) -> dict[str, Any]:
    channels = tuple(unet["model_channels"] * factor for factor in unet["channel_mult"])
    attends = [2**level in unet["attention_resolutions"] for level in range(len(channels))]
    width = unet.get("num_head_channels", -1)
    heads = tuple(c // width for c in channels) if width > 0 else unet["num_heads"]
    return {
        "sample_size": latents,
        "in_channels": unet["in_channels"],
        "out_channels": unet["out_channels"],
        "block_out_channels": channels,
        "layers_per_block": unet["num_res_blocks"],
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        "cross_attention_dim": unet["context_dim"],
        "attention_head_dim": heads,  # diffusers' name for the NUMBER of heads
        "transformer_layers_per_block": unet.get("transformer_depth", 1),
        "use_linear_projection": unet.get("use_linear_in_transformer", False),
    }


def _vae_of(stage: dict[str, Any], scaling: float) -> dict[str, Any]:
    levels = len(stage["ch_mult"])
    return {
        "in_channels": stage["in_channels"],
        "out_channels": stage["out_ch"],
        "latent_channels": stage["z_channels"],
        "block_out_channels": tuple(stage["ch"] * factor for factor in stage["ch_mult"]),
        "layers_per_block": stage["num_res_blocks"],
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "sample_size": stage["resolution"],
        "scaling_factor": scaling,
    }


ZERO123 = Zero123Config(
    name="Zero-1-to-3",
    image_size=256,
    unet={
        "sample_size": 32,
        "in_channels": 8,  # noisy latent, then the picture's
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,  # heads at every level
        "use_linear_projection": False,
    },
    vae={
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "sample_size": 256,
        "scaling_factor": 0.18215,
    },
    vision={  # OpenAI CLIP ViT-L/14
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "quick_gelu",
        "projection_dim": 768,
        "layer_norm_eps": 1e-5,
    },
    licence="MIT",
)
ZERO123_XL = replace(ZERO123, name="Zero123-XL")
STABLE_ZERO123 = replace(
    ZERO123,
    name="Stable-Zero123",
    absolute_polar=True,
    licence="Stability AI Non-Commercial Research Community License",
    commercial_use=False,
)
STABLE_ZERO123_C = replace(
    STABLE_ZERO123,
    name="Stable-Zero123 C",
    licence="Stability AI Community License",
    commercial_use=True,
    notes={"licence": "Commercial use is tied to the licence's conditions; read it."},
)
CONFIGS = {config.name: config for config in (ZERO123, ZERO123_XL, STABLE_ZERO123, STABLE_ZERO123_C)}
