"""The T5 v1.1 XXL text encoder of DeepFloyd IF: 4.8 billion numbers that are needed for a second and then let go.

Knows the encoder, 8-bit weights and the cache of finished embeddings. Knows no denoiser. The encoder is opened
when a prompt comes that nobody encoded before, encodes all of them in one batch, and is released.

Sources: checkpoints.md section 5 (77 tokens, attention mask used, 4096 numbers a token); T5 v1.1 is a gated-gelu T5.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from .files import Family, check_family, read_component
from .published import load_exactly
from .t5_tokens import Tokenize

log = logging.getLogger(__name__)

T5_XXL: dict[str, Any] = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "relative_attention_num_buckets": 32,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.0,
    "is_encoder_decoder": False,
    "use_cache": False,
}


class Int8Linear(nn.Module):
    """A linear layer whose weights are kept in 8 bits, with one scale a row; the arithmetic is the input's precision.

    Halves the memory of bfloat16 on any device, at the price of turning the weights back at every call: right for an
    encoder that runs once.

    Args:
        inputs: Columns.
        outputs: Rows.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale.to(x.dtype))


def eight_bit(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (O, I) as int8 and one float32 scale a row (O, 1); errors stay below half a 127th of the row's peak."""
    scale = weight.float().abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
    return (weight.float() / scale).round().to(torch.int8), scale


def build_encoder(config: dict[str, Any], *, in_eight_bit: bool = False) -> T5EncoderModel:
    """The encoder of a configuration (T5Config's arguments); with 8-bit weights its matrices are still zero."""
    encoder = T5EncoderModel(T5Config(**config)).eval().requires_grad_(False)
    if in_eight_bit:
        for module in list(encoder.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, Int8Linear(child.in_features, child.out_features))
    return encoder


def load_encoder(
    folder: Path,
    config: dict[str, Any] = T5_XXL,
    *,
    dtype: torch.dtype = torch.bfloat16,
    in_eight_bit: bool = False,
) -> T5EncoderModel:
    """Read a T5 encoder from a folder of safetensors or published pickles, tensor by tensor.

    Args:
        folder: Holds `model.safetensors`, or shards with their index, as DeepFloyd/IF-I-XL-v1.0's `text_encoder` does.
            A whole T5 will do: its decoder is left out.
        config: T5Config's arguments.
        dtype: Of the weights and the arithmetic. float16 overflows in this model; bfloat16 does not.
        in_eight_bit: Whether matrices are kept in 8 bits.

    Raises:
        WeightsError: The folder's files are missing, damaged or another model's.
        CheckpointMismatch: Tensors are missing, left over or misshaped; says which.
    """
    state = read_component(folder, "")
    check_family(state, Family.T5, folder)
    with torch.device("meta"):
        encoder = build_encoder(config, in_eight_bit=in_eight_bit)
    for parameter in encoder.parameters():  # not encoder.to(dtype): the scales of 8-bit weights stay float32
        parameter.data = parameter.data.to(dtype)
    own = encoder.state_dict().keys()
    tensors: dict[str, Tensor] = {}
    for key in list(state):
        value = state.pop(key)
        if key.startswith(("decoder.", "lm_head.")) or key == "encoder.embed_tokens.weight":
            continue
        module = encoder.get_submodule(key.rpartition(".")[0]) if key in own else None
        if isinstance(module, Int8Linear):
            tensors[key], tensors[key.removesuffix("weight") + "scale"] = eight_bit(value)
        else:
            tensors[key] = value.to(dtype)
    if "shared.weight" in tensors:
        tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"]
    load_exactly(encoder, tensors, "T5 encoder")
    return encoder.eval().requires_grad_(False)


class T5Text:
    """Prompts to embeddings, each prompt once.

    Args:
        load: Opens the encoder; called only when an unknown prompt comes, and what it gives is released afterwards.
        tokenize: Prompts to ids and mask.
        fingerprint: Which weights, precision and length these are: embeddings of others are never mixed up.
        cache: Folder of finished embeddings as safetensors; None keeps them in memory only.
    """

    def __init__(
        self,
        load: Callable[[], nn.Module],
        tokenize: Tokenize,
        fingerprint: str,
        *,
        cache: Path | None = None,
    ):
        self.load, self.tokenize, self.fingerprint = load, tokenize, fingerprint
        self.cache = cache
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str], device: torch.device | str = "cpu") -> Tensor:
        """Last hidden states of the prompts, (B, 77, 4096) float32 on the CPU; the encoder runs on `device`."""
        for prompt in set(prompts) - self._known.keys():
            if (found := self._from_disk(prompt)) is not None:
                self._known[prompt] = found
        unknown = sorted(set(prompts) - self._known.keys())
        if unknown:
            for prompt, states in zip(unknown, self._encode(unknown, torch.device(device)), strict=True):
                self._known[prompt] = states.clone()
                self._to_disk(prompt, states)
        return torch.stack([self._known[prompt] for prompt in prompts])

    def file_of(self, prompt: str) -> Path | None:
        """Where the embedding of a prompt is kept; None without a cache. The prompt itself is not in the name."""
        if self.cache is None:
            return None
        told = json.dumps([self.fingerprint, prompt]).encode()
        return self.cache / f"{hashlib.sha256(told).hexdigest()}.safetensors"

    def _encode(self, prompts: list[str], device: torch.device) -> Tensor:
        ids, mask = self.tokenize(prompts)
        encoder = self.load().to(device)
        try:
            states = encoder(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
            return states.float().cpu()
        finally:
            del encoder
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()

    def _from_disk(self, prompt: str) -> Tensor | None:
        file = self.file_of(prompt)
        if file is None or not file.is_file():
            return None
        try:
            return load_file(file)["states"].float()
        except (SafetensorError, KeyError) as error:
            log.warning("%s is damaged (%s) and is made again", file, error)
            return None

    def _to_disk(self, prompt: str, states: Tensor) -> None:
        file = self.file_of(prompt)
        if file is None:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.tmp")
        save_file({"states": states.contiguous()}, part)
        part.replace(file)
