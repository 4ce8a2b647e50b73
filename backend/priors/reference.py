"""The reference implementations' own yaml, as dictionaries, to the arguments of our modules.

Knows the LDM family's names (MVDream, ImageDream, Zero123, Stable Diffusion). Knows no weights: sizes that a yaml does
not hold (of the text and vision towers, which their libraries name by a string) come as hints.
"""

from __future__ import annotations

from typing import Any

Reference = dict[str, Any]


def parameters(reference: Reference) -> Reference:
    """`params` of the whole model, from a yaml's root or from its `model`.

    Raises:
        ValueError: There is none, or the noise schedule is not the one that all these models share.
    """
    model = reference.get("model", reference)
    if "params" not in model:
        raise ValueError(f"This is no reference configuration: it has {sorted(model)} and no 'params'.")
    params = model["params"]
    schedule = [params.get(name, usual) for name, usual in _SCHEDULE.items()]
    if schedule != list(_SCHEDULE.values()):
        raise ValueError(f"The noise schedule must be {_SCHEDULE}, the reference has {schedule} in that order.")
    return params


_SCHEDULE = {"linear_start": 0.00085, "linear_end": 0.012, "timesteps": 1000}


def prediction(params: Reference) -> str:
    """What the U-Net predicts, in diffusers' words."""
    names = {"eps": "epsilon", "v": "v_prediction"}
    said = params.get("parameterization", "eps")
    if said not in names:
        raise ValueError(f"parameterization must be one of {sorted(names)}, the reference has {said!r}.")
    return names[said]


def unet_arguments(params: Reference) -> Reference:
    """Arguments of UNet2DConditionModel from `params` of an LDM U-Net.

    `attention_head_dim` is diffusers' name for the number of heads. LDM takes `num_head_channels` where it is given
    and positive, and `num_heads` at every level else.
    """
    factors = params["channel_mult"]
    channels = tuple(params["model_channels"] * factor for factor in factors)
    attends = [2**level in params["attention_resolutions"] for level in range(len(factors))]
    per_head = params.get("num_head_channels", -1)
    heads = tuple(count // per_head for count in channels) if per_head > 0 else params["num_heads"]
    arguments = {
        "sample_size": params.get("image_size", 32),
        "in_channels": params["in_channels"],
        "out_channels": params["out_channels"],
        "block_out_channels": channels,
        "layers_per_block": params["num_res_blocks"],
        "down_block_types": tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        "up_block_types": tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        "cross_attention_dim": params["context_dim"],
        "attention_head_dim": heads,
        "transformer_layers_per_block": params.get("transformer_depth", 1),
        "use_linear_projection": bool(params.get("use_linear_in_transformer", False)),
    }
    if params.get("camera_dim"):
        arguments["class_embed_type"] = "projection"
        arguments["projection_class_embeddings_input_dim"] = params["camera_dim"]
    return arguments


def vae_arguments(first_stage: Reference, scaling_factor: float = 0.18215) -> Reference:
    """Arguments of AutoencoderKL.

    Args:
        first_stage: `first_stage_config` or `vae_config`, with its `params`.
        scaling_factor: `scale_factor` of the whole model; default 0.18215.
    """
    params = first_stage["params"]
    sizes = params["ddconfig"]
    levels = len(sizes["ch_mult"])
    return {
        "in_channels": sizes["in_channels"],
        "out_channels": sizes["out_ch"],
        "latent_channels": params.get("embed_dim", sizes["z_channels"]),
        "block_out_channels": tuple(sizes["ch"] * factor for factor in sizes["ch_mult"]),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": sizes["num_res_blocks"],
        "sample_size": sizes["resolution"],
        "scaling_factor": scaling_factor,
    }


def text_arguments(hint: Reference, base: Reference, dropped: int = 0) -> Reference:
    """Arguments of CLIPTextConfig.

    Args:
        hint: `width`, `heads`, `layers`, `vocab_size` and `context_length` of the published tower.
        base: Arguments of the full-size tower: activation and special tokens come from there.
        dropped: Last blocks that are never run; 1 for the penultimate layer.
    """
    return {
        **base,
        "vocab_size": hint["vocab_size"],
        "hidden_size": hint["width"],
        "intermediate_size": hint.get("mlp_width", 4 * hint["width"]),
        "num_hidden_layers": hint["layers"] - dropped,
        "num_attention_heads": hint["heads"],
        "max_position_embeddings": hint.get("context_length", 77),
    }


def vision_arguments(hint: Reference, base: Reference, embed_dim: int | None = None) -> Reference:
    """Arguments of CLIPVisionConfig.

    Args:
        hint: `width`, `head_width`, `layers`, `patch_size` and `image_size` of the published tower.
        base: Arguments of the full-size tower: the activation comes from there.
        embed_dim: Width of the projected embedding; None leaves it to the weights, see `fit_projection`.
    """
    return {
        **base,
        "hidden_size": hint["width"],
        "intermediate_size": hint.get("mlp_width", 4 * hint["width"]),
        "num_hidden_layers": hint["layers"],
        "num_attention_heads": hint["heads"] if "heads" in hint else hint["width"] // hint["head_width"],
        "patch_size": hint["patch_size"],
        "image_size": hint["image_size"],
        "projection_dim": embed_dim,
    }
