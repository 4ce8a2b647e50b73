"""Published MVDream checkpoints onto stock diffusers and transformers modules: key by key, nothing guessed.

Knows the original (LDM and OpenCLIP) key layouts, as checkpoints.md restates them; knows no sampling. Files are read
with `weights_only=True`. Scheduler buffers and the text encoder's last block, which the penultimate layer does not
need, are dropped; any other key that is missing, left over or misshaped is named in the error.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."

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
_TEXT_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


class CheckpointMismatch(RuntimeError):
    """A checkpoint does not fit the model: says which keys are missing, left over or misshaped."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` file or of a published pickle, whose code is never run (`weights_only`).

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; give the path of the published checkpoint.")
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return state.get("state_dict", state)


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


def convert_unet(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """All U-Net tensors of a checkpoint, in diffusers' naming."""
    return {unet_key(key, layers): value for key, value in _below(state, UNET).items()}


def convert_vae(state: dict[str, Tensor], levels: int) -> dict[str, Tensor]:
    """All autoencoder tensors; attention's 1x1 convolutions become linear layers."""
    converted = {vae_key(key, levels): value for key, value in _below(state, VAE).items()}
    return {key: value[:, :, 0, 0] if ".attentions." in key and value.ndim == 4 else value
            for key, value in converted.items()}  # fmt: skip


def convert_openclip_text(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """OpenCLIP's text tower up to its penultimate block.

    Args:
        state: The whole checkpoint.
        layers: Blocks that are kept; later ones are dropped, the final norm stays.
    """
    source = _below(state, TEXT)
    converted = {
        "embeddings.token_embedding.weight": source["token_embedding.weight"],
        "embeddings.position_embedding.weight": source["positional_embedding"],
        "final_layer_norm.weight": source["ln_final.weight"],
        "final_layer_norm.bias": source["ln_final.bias"],
    }
    for key, value in source.items():
        match = re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)", key)
        if not match or int(match[1]) >= layers:
            continue
        layer = f"encoder.layers.{match[1]}."
        if match[2].startswith("attn.in_proj_"):
            kind = match[2].removeprefix("attn.in_proj_")
            for name, part in zip("qkv", value.chunk(3), strict=True):
                converted[f"{layer}self_attn.{name}_proj.{kind}"] = part
        else:
            converted[layer + (_renamed(match[2], _TEXT_LAYER) or match[2])] = value
    return converted


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def load_exactly(module: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Load tensors into a module and say precisely what does not fit.

    Args:
        module: Takes the tensors.
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
    module.load_state_dict({key: value.to(own[key].dtype) for key, value in state.items()})
