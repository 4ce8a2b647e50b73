"""Sizes of the MVDream and ImageDream models: the published ones and the embedded mini one, as plain data.

Knows numbers only. Sources: checkpoints.md sections 1 and 2 for the published values, mini.md for the mini ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

from . import reference


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
        fast_on_cpu: Whether a CPU may trade accuracy for speed: bfloat16 where it is in hardware, and channels-last
            memory, whose group norm is 500 times less exact on nearly constant pictures (docs/log.md). For the mini
            models; published ones are kept exact there.
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
    fast_on_cpu: bool = False
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

    @classmethod
    def from_reference(cls, yaml: dict[str, Any], *, text: dict[str, Any] | None = None) -> Self:
        """The configuration that a yaml of MVDream's own code describes.

        Args:
            yaml: As published, read into a dictionary; its root or its `model`.
            text: Sizes of the text tower, which the yaml does not hold: `width`, `heads`, `layers`, `vocab_size`,
                `context_length`. None where the weights come without one.

        Raises:
            ValueError: The yaml belongs to something else; says what.
        """
        params = reference.parameters(yaml)
        openclip = "FrozenCLIP" not in params.get("cond_stage_config", {}).get("target", "")
        base = MVDREAM_SD21 if openclip else MVDREAM_SD15
        towers = text and reference.text_arguments(text, base.text, dropped=1 if openclip else 0)
        return replace(
            base,
            name="MVDream",
            image_size=params["first_stage_config"]["params"]["ddconfig"]["resolution"],
            unet=reference.unet_arguments(params["unet_config"]["params"]),
            vae=reference.vae_arguments(params["first_stage_config"], params.get("scale_factor", 0.18215)),
            text=towers,
            prediction=reference.prediction(params),
        )


@dataclass(frozen=True, kw_only=True)
class ImageDreamConfig(MVDreamConfig):
    """Everything that is needed to build one ImageDream model. Further fields: `MVDreamConfig` and `LatentConfig`.

    Args:
        vision: Arguments of transformers' CLIPVisionConfig. A `projection_dim` of None is taken from the weights.
        resampler: Arguments of diffusers' IPAdapterPlusImageProjection, which turns image features into tokens.
        image_weight: How much the image's attention counts beside the text's; the yaml's `ip_weight`.
        controller: What the image's tokens are made of [systems.md 5.2]: "global", its one embedding; "local", the
            features of all its patches; "pixel", these and the image itself as a further frame beside the views.
        global_tokens: Tokens that a global controller makes of the embedding.
    """

    vision: dict[str, Any]
    resampler: dict[str, Any]
    image_weight: float = 1.0
    controller: str = "pixel"
    global_tokens: int = 4

    @property
    def pixel(self) -> bool:
        """Whether the image itself stands as a further frame beside the views."""
        return self.controller == "pixel"

    @property
    def image_tokens(self) -> int:
        """How many tokens the attention takes of an image."""
        return self.global_tokens if self.controller == "global" else self.resampler["num_queries"]

    @classmethod
    def from_reference(
        cls,
        yaml: dict[str, Any],
        *,
        text: dict[str, Any] | None = None,
        vision: dict[str, Any],
        resampler: dict[str, Any] | None = None,
        pixel: bool = True,
    ) -> Self:
        """The configuration that a yaml of ImageDream's own code describes.

        Args:
            yaml: As published, read into a dictionary; its root or its `model`.
            text: Sizes of the text tower, as in `MVDreamConfig.from_reference`.
            vision: Sizes of the vision tower: `width`, `head_width` (or `heads`), `layers`, `patch_size`, `image_size`.
            resampler: Sizes of the resampler, which the reference has in its code: `embedding_dim`, `dim`, `dim_head`,
                `heads`, `depth`, `num_queries`, `ff_mult`. None takes the published ones.
            pixel: Whether the file is the pixel variant: the two yaml files differ in nothing that tells.

        Raises:
            ValueError: The yaml belongs to something else; says what.
        """
        params = reference.parameters(yaml)
        unet = params["unet_config"]["params"]
        if not unet.get("with_ip"):
            raise ValueError("This yaml has no with_ip: it is MVDream's, not ImageDream's; use MVDreamConfig.")
        if unet.get("ip_mode") != "local_resample":
            raise ValueError(f"ip_mode must be 'local_resample', as published; the yaml has {unet.get('ip_mode')!r}.")
        sizes = {"num_queries": unet.get("ip_dim", 16), **(resampler or {})}
        return replace(
            IMAGEDREAM_PIXEL if pixel else IMAGEDREAM_LOCAL,
            name="ImageDream",
            image_size=params["vae_config"]["params"]["ddconfig"]["resolution"],
            unet=reference.unet_arguments(unet),
            vae=reference.vae_arguments(params["vae_config"], params.get("scale_factor", 0.18215)),
            text=text and reference.text_arguments(text, MVDREAM_SD21.text, dropped=1),
            vision=reference.vision_arguments(vision, VIT_H_14),
            resampler={
                "embed_dims": sizes.get("embedding_dim", vision["width"]),
                "output_dims": unet["context_dim"],
                "hidden_dims": sizes.get("dim", unet["context_dim"]),
                "depth": sizes.get("depth", 4),
                "dim_head": sizes.get("dim_head", 64),
                "heads": sizes.get("heads", 12),
                "num_queries": sizes["num_queries"],
                "ffn_ratio": sizes.get("ff_mult", 4),
            },
            prediction=reference.prediction(params),
            image_weight=unet.get("ip_weight", 1.0),
            controller="pixel" if pixel else "local",
        )


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

MVDREAM_SD15 = replace(
    MVDREAM_SD21,
    name="MVDream sd-v1.5-4view",
    unet={
        **MVDREAM_SD21.unet,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,  # heads at every level; diffusers misnames it
        "use_linear_projection": False,
    },
    text={  # CLIP ViT-L/14, all its layers
        **MVDREAM_SD21.text,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
        "projection_dim": 768,
        "pad_token_id": 49407,
    },
    text_layout="clip",
)

VIT_H_14 = {  # OpenCLIP's
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 1024,
    "hidden_act": "gelu",
}

IMAGEDREAM_PIXEL = ImageDreamConfig(
    name="ImageDream sd-v2.1-base-4view-ipmv",
    image_size=256,
    unet=MVDREAM_SD21.unet,
    vae=MVDREAM_SD21.vae,
    text=MVDREAM_SD21.text,
    vision=VIT_H_14,
    resampler={
        "embed_dims": 1280,
        "output_dims": 1024,
        "hidden_dims": 1024,
        "depth": 4,
        "dim_head": 64,
        "heads": 12,
        "num_queries": 16,
        "ffn_ratio": 4,
    },
    controller="pixel",
    prompt_suffix=", 3d asset",
    licence="not stated by its authors",
    commercial_use=False,
    notes={"licence": "The code is MIT; the weights carry no licence of their own. Ask before selling what they make."},
)

IMAGEDREAM_LOCAL = replace(IMAGEDREAM_PIXEL, name="ImageDream sd-v2.1-base-4view-ipmv-local", controller="local")

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
    fast_on_cpu=True,
    prediction="v_prediction",
    zero_terminal_snr=True,
)

MINI_VISION = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 8,
    "projection_dim": 96,
    "hidden_act": "gelu",
}

MINI_IMAGEDREAM = ImageDreamConfig(
    **{**vars(MINI), "name": "mini-imagedream"},
    vision=MINI_VISION,
    resampler={
        "embed_dims": 128,
        "output_dims": 96,
        "hidden_dims": 96,
        "depth": 2,
        "dim_head": 32,
        "heads": 3,
        "num_queries": 16,
        "ffn_ratio": 2,
    },
)
