"""Sizes of Stable Diffusion 2.1-base and 1.5, as plain data.

Knows numbers only. Sources: the authors' `v2-inference.yaml` and `v1-inference.yaml`; for where the weights are today,
checkpoints.md section 0, point 9. Both predict noise on 512 x 512 pixels; 2.1 (768) predicts v and is not built in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from . import reference
from .configs import MVDREAM_SD15, MVDREAM_SD21, LatentConfig


@dataclass(frozen=True, kw_only=True)
class StableDiffusionConfig(LatentConfig):
    """Everything that is needed to build one Stable Diffusion without asking a hub. Further fields: `LatentConfig`.

    Args:
        text: Arguments of transformers' CLIPTextConfig.
        text_layout: How the original file names the text encoder: "openclip" (2.1) or "clip" (1.5).
    """

    text: dict[str, Any]
    text_layout: str = "openclip"

    @classmethod
    def from_reference(cls, yaml: dict[str, Any], *, text: dict[str, Any] | None = None) -> Self:
        """The configuration that a yaml of the authors' code describes.

        Args:
            yaml: As published, read into a dictionary; its root or its `model`.
            text: Sizes of the text tower, which the yaml does not hold: `width`, `heads`, `layers`, `vocab_size`,
                `context_length`. None takes the published ones.

        Raises:
            ValueError: The yaml belongs to something else; says what.
        """
        params = reference.parameters(yaml)
        base = SD21_BASE if "OpenCLIP" in params["cond_stage_config"]["target"] else SD15
        unet = reference.unet_arguments(params["unet_config"]["params"])
        vae = reference.vae_arguments(params["first_stage_config"], params.get("scale_factor", 0.18215))
        latents = params.get("image_size", unet["sample_size"])  # of the model; the U-Net's own is marked unused
        towers = text and reference.text_arguments(text, base.text, dropped=1 if base is SD21_BASE else 0)
        return replace(
            base,
            name="Stable Diffusion",
            image_size=latents * 2 ** (len(vae["block_out_channels"]) - 1),
            unet={**unet, "sample_size": latents},
            vae=vae,
            text=towers or base.text,
            prediction=reference.prediction(params),
        )


def _without_camera(unet: dict[str, Any]) -> dict[str, Any]:
    """MVDream's U-Net is Stable Diffusion's with a camera embedding, on latents of 64 x 64 here."""
    return {key: value for key, value in unet.items() if "class_embed" not in key} | {"sample_size": 64}


SD21_BASE = StableDiffusionConfig(
    name="Stable Diffusion 2.1-base",
    image_size=512,
    unet=_without_camera(MVDREAM_SD21.unet),
    vae={**MVDREAM_SD21.vae, "sample_size": 512},
    text=MVDREAM_SD21.text,
    licence="CreativeML Open RAIL++-M",
)

SD15 = replace(
    SD21_BASE,
    name="Stable Diffusion 1.5",
    unet=_without_camera(MVDREAM_SD15.unet),
    text=MVDREAM_SD15.text,
    text_layout="clip",
    licence="CreativeML Open RAIL-M",
)

CONFIGS = {config.name: config for config in (SD21_BASE, SD15)}
