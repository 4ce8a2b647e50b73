"""Sizes and conventions of V3D, Stable Video Diffusion taught to orbit an object, as plain data.

Knows numbers only [checkpoints.md section 4; systems.md 7.2]. Two published files make one model: `V3D.ckpt` holds the
U-Net and the decoder, `svd_xt.safetensors` the two encoders of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .configs import LatentConfig
from .reference import vision_arguments


@dataclass(frozen=True, kw_only=True)
class V3DConfig(LatentConfig):
    """Everything that is needed to build one V3D model without asking a hub. Further fields: `LatentConfig`.

    Args:
        vision: Arguments of transformers' CLIPVisionConfig.
        frames: Views of the orbit, evenly spread, the first being the picture's.
        vector: What the network is told beside the picture: frames a second, motion bucket, noise on the picture's
            latent. diffusers' own pipeline takes one off the first; this is what the network sees.
        sigma_min: Least noise level of the sampler above 0.
        sigma_max: Noise level it starts from.
        rho: Spacing of the levels.
        guidance: w of the first and of the last frame, linear between.
        steps: Of the sampler.
    """

    vision: dict[str, Any]
    frames: int = 18
    vector: tuple[float, float, float] = (1.0, 300.0, 0.02)
    sigma_min: float = 0.002
    sigma_max: float = 700.0
    rho: float = 7.0
    guidance: tuple[float, float] = (3.5, 3.5)
    steps: int = 25

    @classmethod
    def from_reference(
        cls, reference: dict[str, Any], *, vision: dict[str, int] | None = None, embed_dim: int | None = None
    ) -> V3DConfig:
        """The configuration of a model in the reference implementation's own terms, such as a test's tiny one.

        Args:
            reference: The reference's yaml as a dict, with `params` on top, or `model` above it.
            vision: The CLIP tower's layers, width, head_width, patch_size and image_size; None is the published one.
            embed_dim: Length of CLIP's projected embedding; None takes the context's length, as published.
        """
        params = reference.get("model", reference)["params"]
        unet, sampler = params["network_config"]["params"], params["sampler_config"]["params"]
        stage = params["first_stage_config"]["params"]["encoder_config"]["params"]
        levels, guider = sampler["discretization_config"].get("params", {}), sampler["guider_config"]["params"]
        frames = guider["num_frames"]
        vae = _vae_of(stage, params.get("scale_factor", 0.18215))
        return cls(
            name="V3D (reference configuration)",
            image_size=64 * 2 ** (len(stage["ch_mult"]) - 1),
            unet=_unet_of(unet, frames),
            vae=vae,
            prediction="v_prediction",
            vision={
                **(vision_arguments(vision, V3D_512.vision) if vision else V3D_512.vision),
                "projection_dim": embed_dim or unet["context_dim"],
            },
            frames=frames,
            sigma_min=levels.get("sigma_min", 0.002),
            sigma_max=levels.get("sigma_max", 80.0),  # the reference class's own default
            rho=levels.get("rho", 7.0),
            guidance=(guider.get("min_scale", 1.0), guider["max_scale"]),
            steps=sampler["num_steps"],
        )


def _unet_of(unet: dict[str, Any], frames: int) -> dict[str, Any]:
    channels = tuple(unet["model_channels"] * factor for factor in unet["channel_mult"])
    attends = [2**level in unet["attention_resolutions"] for level in range(len(channels))]
    return {
        "sample_size": 64,
        "in_channels": unet["in_channels"],
        "out_channels": unet["out_channels"],
        "block_out_channels": channels,
        "layers_per_block": unet["num_res_blocks"],
        "down_block_types": tuple(f"{'CrossAttnDown' if a else 'Down'}BlockSpatioTemporal" for a in attends),
        "up_block_types": tuple(f"{'CrossAttnUp' if a else 'Up'}BlockSpatioTemporal" for a in reversed(attends)),
        "cross_attention_dim": unet["context_dim"],
        "num_attention_heads": tuple(count // unet["num_head_channels"] for count in channels),
        "transformer_layers_per_block": unet.get("transformer_depth", 1),
        "addition_time_embed_dim": unet["adm_in_channels"] // 3,
        "projection_class_embeddings_input_dim": unet["adm_in_channels"],
        "num_frames": frames,
    }


def _vae_of(stage: dict[str, Any], scaling: float) -> dict[str, Any]:
    return {
        "in_channels": stage["in_channels"],
        "out_channels": stage["out_ch"],
        "latent_channels": stage["z_channels"],
        "block_out_channels": tuple(stage["ch"] * factor for factor in stage["ch_mult"]),
        "layers_per_block": stage["num_res_blocks"],
        "down_block_types": ("DownEncoderBlock2D",) * len(stage["ch_mult"]),
        "sample_size": stage["resolution"],
        "scaling_factor": scaling,
    }


V3D_512 = V3DConfig(
    name="V3D 512",
    image_size=512,
    unet={
        "sample_size": 64,
        "in_channels": 8,  # noisy latent, then the picture's
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": ("CrossAttnDownBlockSpatioTemporal",) * 3 + ("DownBlockSpatioTemporal",),
        "up_block_types": ("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * 3,
        "cross_attention_dim": 1024,
        "num_attention_heads": (5, 10, 20, 20),
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 768,
        "num_frames": 18,
    },
    vae={
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,  # must be 2: diffusers sizes the decoder's middle by it
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "sample_size": 768,
        "scaling_factor": 0.18215,
    },
    vision={  # OpenCLIP ViT-H/14
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "gelu",
        "projection_dim": 1024,
        "layer_norm_eps": 1e-5,
    },
    prediction="v_prediction",
    licence="none stated; built on Stable Video Diffusion under Stability AI's non-commercial licence",
    commercial_use=False,
    notes={"licence": "Neither V3D's repository nor its weights carry a licence file."},
)
