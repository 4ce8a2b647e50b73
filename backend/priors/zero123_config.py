"""Sizes and conventions of the Zero123 family: Zero-1-to-3, Zero123-XL and the two Stable-Zero123, as plain data.

Knows numbers only [checkpoints.md section 3]. All four share one network; they differ in weights, licence and the
fourth camera number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .configs import LatentConfig
from .reference import parameters, prediction, unet_arguments, vae_arguments, vision_arguments


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
        cls,
        reference: dict[str, Any],
        *,
        vision: dict[str, int] | None = None,
        embed_dim: int | None = None,
        absolute_polar: bool = False,
    ) -> Zero123Config:
        """The configuration of a model in the reference implementation's own terms, such as a test's tiny one.

        Args:
            reference: The reference's yaml as a dict, with `params` on top.
            vision: The CLIP tower's layers, width, head_width, patch_size and image_size; None is the published one.
            embed_dim: Length of CLIP's projected embedding; None takes the context's length, as published.
            absolute_polar: As in the class; the yaml does not tell.
        """
        params = parameters(reference)
        unet, stage = params["unet_config"]["params"], params["first_stage_config"]
        latents = params.get("image_size", unet.get("image_size", 32))
        return cls(
            name="Zero123 (reference configuration)",
            image_size=latents * 2 ** (len(stage["params"]["ddconfig"]["ch_mult"]) - 1),
            unet={**unet_arguments(unet), "sample_size": latents},
            vae=vae_arguments(stage, params.get("scale_factor", 0.18215)),
            prediction=prediction(params),
            vision={
                **(vision_arguments(vision, ZERO123.vision) if vision else ZERO123.vision),
                "projection_dim": embed_dim or unet["context_dim"],
            },
            absolute_polar=absolute_polar,
        )


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
