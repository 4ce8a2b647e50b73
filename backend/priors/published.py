"""Published checkpoints onto stock diffusers and transformers modules: key by key, nothing guessed.

Knows the original (LDM, OpenCLIP, OpenAI CLIP) key layouts, as checkpoints.md restates them; knows no family and no
sampling: a family calls the converters with its own prefixes. Files are read with `weights_only=True`. Scheduler
buffers and the text encoder's last block, which the penultimate layer does not need, are dropped; any other key that
is missing, left over or misshaped is named in the error.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from .files import read_weights

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
CLIP_TEXT = "cond_stage_model.transformer."
SCHEDULE = frozenset(
    [
        *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod"),
        *("log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod"),
        *("posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
    ]
)

_TOP = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "camera_embed.0": "class_embedding.linear_1",
    "camera_embed.2": "class_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_VISION_TOP = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",  # transformers' spelling
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_CLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


class CheckpointMismatch(RuntimeError):
    """A checkpoint does not fit the model: says which keys are missing, left over or misshaped."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` file or of a published pickle, whose code is never run.

    Raises:
        WeightsError: Missing, unfinished, damaged or unsafe; see `files.read_weights`.
    """
    return read_weights(path)


def _renamed(key: str, table: dict[str, str]) -> str | None:
    for old, new in table.items():
        if key.startswith(old + "."):
            return new + key[len(old) :]
    return None


def unet_key(key: str, layers: int) -> str:
    """LDM's U-Net key in diffusers' naming.

    Args:
        key: Without the `model.diffusion_model.` prefix.
        layers: Residual blocks a level.

    Raises:
        KeyError: The key belongs to no block that these models have.
    """
    if top := _renamed(key, _TOP):
        return top
    if match := re.fullmatch(r"middle_block\.([012])\.(.+)", key):
        part = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}[match[1]]
        return f"mid_block.{part}.{match[2] if match[1] == '1' else _resnet(match[2])}"
    match = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", key)
    if not match:
        raise KeyError(key)
    down, place, slot, rest = match[1] == "input", int(match[2]), match[3], match[4]
    level, layer = divmod(place - 1 if down else place, layers + 1)
    block = f"{'down' if down else 'up'}_blocks.{level}"
    if down and layer == layers:
        return f"{block}.downsamplers.0.{rest.replace('op.', 'conv.')}"
    if slot == "0":
        return f"{block}.resnets.{layer}.{_resnet(rest)}"
    if rest.startswith("conv."):
        return f"{block}.upsamplers.0.{rest}"
    return f"{block}.attentions.{layer}.{rest}"


def _resnet(key: str) -> str:
    renamed = _renamed(key, _RESNET)
    if renamed is None:
        raise KeyError(key)
    return renamed


def vae_key(key: str, levels: int) -> str:
    """LDM's autoencoder key, without its prefix, in diffusers' naming; `levels` is the number of resolutions."""
    key = key.replace("nin_shortcut", "conv_shortcut").replace("norm_out", "conv_norm_out")
    if match := re.fullmatch(r"(encoder|decoder)\.mid\.attn_1\.(\w+)\.(weight|bias)", key):
        return f"{match[1]}.mid_block.attentions.0.{_VAE_ATTENTION[match[2]]}.{match[3]}"
    key = re.sub(r"\.mid\.block_(\d)", lambda m: f".mid_block.resnets.{int(m[1]) - 1}", key)
    key = re.sub(r"\.down\.(\d+)\.block\.", r".down_blocks.\1.resnets.", key)
    key = re.sub(r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0.", key)
    key = re.sub(r"\.up\.(\d+)\.block\.", lambda m: f".up_blocks.{levels - 1 - int(m[1])}.resnets.", key)
    return re.sub(r"\.up\.(\d+)\.upsample\.", lambda m: f".up_blocks.{levels - 1 - int(m[1])}.upsamplers.0.", key)


def convert_unet(state: dict[str, Tensor], layers: int, prefix: str = UNET) -> dict[str, Tensor]:
    """All U-Net tensors of a checkpoint, in diffusers' naming.

    Attention's names are the same on both sides, and its outer projections are linear or 1x1 convolutions on both
    sides: what a model has is `use_linear_projection` of its configuration, and a wrong choice is a misshaped key.

    Args:
        state: The whole checkpoint.
        layers: Residual blocks a level.
        prefix: Where the U-Net's keys start; default "model.diffusion_model.".

    Raises:
        CheckpointMismatch: Keys belong to no block that these models have; lists up to five.
    """
    converted, unknown = {}, []
    for key, value in below(state, prefix).items():
        try:
            converted[unet_key(key, layers)] = value
        except KeyError:
            unknown.append(prefix + key)
    if unknown:
        told = ", ".join(sorted(unknown)[:5])
        raise CheckpointMismatch(
            f"The checkpoint does not fit the U-Net: {len(unknown)} left over: {told}. Is it the file of this model?"
        )
    return converted


def convert_vae(state: dict[str, Tensor], levels: int, prefix: str = VAE) -> dict[str, Tensor]:
    """All autoencoder tensors; attention's 1x1 convolutions become linear layers.

    Args:
        state: The whole checkpoint.
        levels: Number of resolutions.
        prefix: Where the autoencoder's keys start; default "first_stage_model.". Its loss is left out.
    """
    tensors = {key: value for key, value in below(state, prefix).items() if not key.startswith("loss.")}
    converted = {vae_key(key, levels): value for key, value in tensors.items()}
    return {key: value[:, :, 0, 0] if ".attentions." in key and value.ndim == 4 else value
            for key, value in converted.items()}  # fmt: skip


def convert_openclip_text(state: dict[str, Tensor], layers: int, prefix: str = TEXT) -> dict[str, Tensor]:
    """OpenCLIP's text tower up to its penultimate block, as transformers' CLIPTextModel names it.

    Args:
        state: The whole checkpoint.
        layers: Blocks that are kept; later ones are dropped, the final norm stays.
        prefix: Where the tower's keys start; default "cond_stage_model.model.".
    """
    source = below(state, prefix)
    tops = {
        "token_embedding.weight": "embeddings.token_embedding.weight",
        "positional_embedding": "embeddings.position_embedding.weight",
        "ln_final.weight": "final_layer_norm.weight",
        "ln_final.bias": "final_layer_norm.bias",
    }
    return {new: source[old] for old, new in tops.items() if old in source} | _clip_layers(source, layers)


def convert_openclip_vision(state: dict[str, Tensor], prefix: str, projection: bool = True) -> dict[str, Tensor]:
    """OpenCLIP's or OpenAI's vision tower (both have the same keys), as transformers names it.

    Args:
        state: The whole checkpoint.
        prefix: Where the tower's keys start, such as "cond_stage_model.model.visual.".
        projection: Whether the target is CLIPVisionModelWithProjection, whose keys begin with `vision_model.`; else
            CLIPVisionModel, whose keys do not since transformers 5.6, and the projection is dropped.
    """
    source = below(state, prefix)
    body = {new: source[old] for old, new in _VISION_TOP.items() if old in source} | _clip_layers(source)
    if not projection:
        return body
    projected = {"visual_projection.weight": source["proj"].t().contiguous()} if "proj" in source else {}
    return {f"vision_model.{key}": value for key, value in body.items()} | projected


def convert_clip_text(state: dict[str, Tensor], prefix: str = CLIP_TEXT) -> dict[str, Tensor]:
    """The text tower of CLIP ViT-L/14 as Stable Diffusion 1.5 keeps it: already transformers' names, one level deeper.

    Args:
        state: The whole checkpoint.
        prefix: Where the tower's keys start; default "cond_stage_model.transformer.". Old files carry position_ids,
            which transformers makes itself: dropped.
    """
    source = {key.removeprefix("text_model."): value for key, value in below(state, prefix).items()}
    return {key: value for key, value in source.items() if not key.endswith("position_ids")}


def _clip_layers(source: dict[str, Tensor], layers: int | None = None) -> dict[str, Tensor]:
    """The transformer blocks of either tower; in_proj is split into q, k and v. `layers` None takes all."""
    converted = {}
    for key, value in source.items():
        match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", key)
        if not match or (layers is not None and int(match[1]) >= layers):
            continue
        layer, rest = f"encoder.layers.{match[1]}.", match[2]
        if rest.startswith("attn.in_proj_"):
            kind = rest.removeprefix("attn.in_proj_")
            for name, part in zip("qkv", value.chunk(3), strict=True):
                converted[f"{layer}self_attn.{name}_proj.{kind}"] = part
        else:
            converted[layer + (_renamed(rest, _CLIP_LAYER) or rest)] = value
    return converted


def below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose keys start with `prefix`, without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def unread(state: dict[str, Tensor], *prefixes: str) -> list[str]:
    """Keys that belong neither to the given parts nor to the noise schedule, whose buffers are never needed."""
    return sorted(key for key in state if key not in SCHEDULE and not key.startswith(prefixes))


def load_exactly(module: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Load tensors into a module and say precisely what does not fit.

    Args:
        module: Takes the tensors, as float32. A module built on torch's meta device takes them over without a copy
            where they are float32 already, and is real afterwards.
        state: By the module's own names.
        what: Name of the module for the message.

    Raises:
        CheckpointMismatch: Keys are missing, left over or misshaped; lists up to five of each.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    surplus = sorted(state.keys() - own.keys())
    shapes = [
        f"{key} is {tuple(state[key].shape)}, must be {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if own[key].shape != state[key].shape
    ]
    if missing or surplus or shapes:
        lists = {"missing": missing, "left over": surplus, "misshaped": shapes}
        told = "; ".join(f"{len(keys)} {name}: {', '.join(keys[:5])}" for name, keys in lists.items() if keys)
        raise CheckpointMismatch(f"The checkpoint does not fit the {what}: {told}. Is it the file of this model?")
    empty = any(value.is_meta for value in own.values())
    tensors = {key: value.to(own[key].dtype) for key, value in state.items()}
    module.load_state_dict(tensors, assign=empty)
    if empty:
        _fill_positions(module)


def _fill_positions(module: nn.Module) -> None:
    """Buffers that no file holds, on a module that was built on the meta device: CLIP's position numbers only."""
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta and not next(module.parameters()).is_meta:
            if not name.endswith("position_ids"):
                raise RuntimeError(
                    f"{name} has no values and is in no checkpoint; build this module off the meta device."
                )
            owner, _, last = name.rpartition(".")
            numbers = torch.arange(buffer.shape[-1]).expand(buffer.shape)
            module.get_submodule(owner).register_buffer(last, numbers, persistent=False)
