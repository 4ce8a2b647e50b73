"""ImageDream and V3D with every part of the published models and almost no numbers: random weights in milliseconds."""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image

from dreamlift.priors.configs import IMAGEDREAM_PIXEL
from dreamlift.priors.v3d_config import V3D_512

_VAE = {"block_out_channels": (32, 32, 32, 32)}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "projection_dim": 32,
}

IMAGEDREAM = replace(
    IMAGEDREAM_PIXEL,
    image_size=32,
    unet={
        **IMAGEDREAM_PIXEL.unet,
        "sample_size": 4,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": (2, 4),
    },
    vae={**IMAGEDREAM_PIXEL.vae, **_VAE, "layers_per_block": 1},
    text={
        **IMAGEDREAM_PIXEL.text,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    vision={**IMAGEDREAM_PIXEL.vision, **_VISION},
    resampler={
        **IMAGEDREAM_PIXEL.resampler,
        "embed_dims": 32,
        "output_dims": 32,
        "hidden_dims": 32,
        "depth": 1,
        "dim_head": 16,
        "heads": 2,
        "ffn_ratio": 2,
    },
)

V3D = replace(
    V3D_512,
    image_size=32,
    unet={
        **V3D_512.unet,
        "sample_size": 4,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        "cross_attention_dim": 32,
        "num_attention_heads": (2, 4),
        "addition_time_embed_dim": 32,
        "projection_class_embeddings_input_dim": 96,
    },
    vae={**V3D_512.vae, **_VAE, "sample_size": 32},
    vision={**V3D_512.vision, **_VISION},
    steps=3,
)


LARGE = (180, 120), (40, 10, 140, 110)
"""Of `cut_out`: large enough that nobody remarks on it."""


def cut_out(size: tuple[int, int] = (60, 40), box: tuple[int, int, int, int] = (20, 10, 40, 30)) -> Image.Image:
    """A red box on transparent ground."""
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    image.paste((200, 30, 30, 255), box)
    return image


def as_file(image: Image.Image, kind: str = "PNG", **how) -> bytes:
    """The bytes of a picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()
