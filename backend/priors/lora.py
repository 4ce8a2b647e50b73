"""LoRA adapters on one shared U-Net: several denoisers that differ by a few million numbers, and the untouched one.

Knows which adapter a U-Net runs with, its camera embedding, and how adapters are saved. Knows no losses: variational
and bootstrapped score distillation take the contexts from here (systems.md 1.4 and 1.5). Built on peft through
diffusers; checkpoints.md section 6 lists the traps, and this module is shaped by three of them:

* Outside any context the U-Net is the untouched one, bit for bit, also after training.
* peft clears `requires_grad` whenever an adapter is switched off, so that a backward pass after the switch silently
  loses the gradients. Here switching never changes `requires_grad`; only `add(..., trainable=...)` decides it.
* A camera embedding with random weights shifts every prediction at the start. Here its last layer starts at zero.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import TimestepEmbedding
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .published import CheckpointMismatch

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")  # every attention, as ProlificDreamer trains it
CAMERA_NUMBERS = 16  # a flattened 4x4 camera-to-world matrix
_CAMERA_KEY, _UNET_KEY = "camera_embedding.", "unet."


@dataclass(frozen=True)
class Adapter:
    """One adapter that a U-Net carries.

    Args:
        name: How contexts call it.
        rank: Width of the low-rank detour.
        alpha: The detour is multiplied by alpha / rank.
        trainable: Whether its parameters collect gradients.
        camera: Takes 16 numbers of a camera; None where this adapter sees no cameras.
    """

    name: str
    rank: int
    alpha: float
    trainable: bool
    camera: TimestepEmbedding | None


class LoraAdapters:
    """The adapters of one U-Net. Not thread-safe, as a U-Net is not.

    Args:
        unet: Any diffusers U-Net with attention. Its own weights are frozen and never change.

    Example:
        adapters = LoraAdapters(prior.unet)
        adapters.add("vsd", seed=0)
        optimizer = torch.optim.AdamW(adapters.parameters("vsd"), lr=1e-4)
        eps_pretrained = prior.predict(x_t, t, context)
        with adapters.use("vsd"):
            eps_lora = prior.raw_output(x_t, t, context, cameras)
    """

    def __init__(self, unet: UNet2DConditionModel):
        self.unet = unet.requires_grad_(False)
        self._adapters: dict[str, Adapter] = {}
        self._layers: dict[str, BaseTunerLayer] = {}
        self._own_embedding = unet.class_embedding
        self._current: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters, in the order in which they were added."""
        return tuple(self._adapters)

    @property
    def current(self) -> str | None:
        """The adapter that a call of the U-Net runs with now; None for the untouched weights."""
        return self._current

    def add(
        self,
        name: str,
        *,
        rank: int = 4,
        alpha: float = 4.0,
        camera: bool = True,
        trainable: bool = True,
        seed: int = 0,
    ) -> Adapter:
        """Add an adapter that changes nothing until it is trained: the up projections start at zero.

        Args:
            name: Not used before; no dots.
            rank: Width of the detour; 4 as in ProlificDreamer.
            alpha: Scale times rank.
            camera: Whether it is told the camera, added to the time embedding.
            trainable: Whether its parameters collect gradients.
            seed: Of the down projections and of the camera embedding's first layer.

        Returns:
            The adapter, on the U-Net's device, in float32.

        Raises:
            ValueError: The name is taken or has a dot, or the U-Net has a class embedding of its own already.
        """
        self._check_name(name)
        if camera and self._own_embedding is not None:
            raise ValueError(
                f"Adapter {name!r} cannot be given cameras: this U-Net has a class embedding of its own. "
                "Pass camera=False; it then goes on using that one."
            )
        config = LoraConfig(r=rank, lora_alpha=alpha, init_lora_weights="gaussian", target_modules=list(TARGETS))
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several adapters are meant
            torch.manual_seed(seed)
            self.unet.add_adapter(config, adapter_name=name)
            self._layers = {
                path: layer for path, layer in self.unet.named_modules() if isinstance(layer, BaseTunerLayer)
            }
            embedding = self._camera_embedding() if camera else None
        self._adapters[name] = Adapter(name, rank, alpha, trainable, embedding)
        for tensor in self._tensors(name).values():
            tensor.data = tensor.data.to(self._device, torch.float32)
        self._switch(None)
        return self._adapters[name]

    def parameters(self, name: str) -> list[nn.Parameter]:
        """What an optimiser of this adapter trains: the detours and the camera embedding."""
        return list(self._tensors(name).values())

    @contextlib.contextmanager
    def use(self, name: str) -> Iterator[UNet2DConditionModel]:
        """Run the U-Net with one adapter; contexts nest. With a camera embedding, calls need `class_labels`.

        The backward pass may run outside, except with gradient checkpointing, which runs the forward pass again. Enter
        autocast for each call, as the priors do, not around optimiser steps: torch keeps the cast copies of adapters
        until its outermost autocast ends, and calls after a step would go on using those of before.
        """
        before = self._current
        self._switch(self._known(name).name)
        try:
            yield self.unet
        finally:
            self._switch(before)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[UNet2DConditionModel]:
        """Run the untouched U-Net inside another context; outside of contexts it runs untouched anyway."""
        before = self._current
        self._switch(None)
        try:
            yield self.unet
        finally:
            self._switch(before)

    def to(self, device: torch.device | str) -> LoraAdapters:
        """Move U-Net and adapters."""
        self.unet.to(device)
        for adapter in self._adapters.values():
            if adapter.camera is not None:
                adapter.camera.to(device)
        return self

    def remove(self) -> UNet2DConditionModel:
        """Take every adapter off and give the U-Net back as it was, its parameter names included."""
        self._switch(None)
        if self._adapters:
            self.unet.unload_lora()
        self._adapters, self._layers = {}, {}
        return self.unet

    def save(self, name: str, path: Path, version: str = "") -> None:
        """Write one adapter as safetensors, in the key layout that diffusers and peft read, float32.

        Args:
            name: Of the adapter.
            path: The file; its folder must exist.
            version: Whatever provenance should say.
        """
        adapter = self._known(name)
        metadata = {
            "format": "pt",
            "rank": str(adapter.rank),
            "alpha": str(adapter.alpha),
            "camera": "yes" if adapter.camera is not None else "no",
            "version": version,
        }
        save_file({key: value.detach().contiguous() for key, value in self._tensors(name).items()}, path, metadata)

    def load(self, path: Path, name: str, *, trainable: bool = False) -> Adapter:
        """Add an adapter that `save` wrote.

        Args:
            path: The file.
            name: What to call it here.
            trainable: Whether it goes on being trained.

        Raises:
            CheckpointMismatch: The file is damaged, no adapter, or one of another U-Net; says what does not fit.
            FileNotFoundError: There is no such file.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is not a file; give the path of an adapter that was saved.")
        self._check_name(name)
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}
        except SafetensorError as error:
            raise CheckpointMismatch(
                f"{path} is no whole safetensors file ({error}); save or copy it again."
            ) from error
        missing = [key for key in ("rank", "alpha", "camera") if key not in about]
        if missing:
            raise CheckpointMismatch(f"{path} is no adapter of ours: its header lacks {', '.join(missing)}.")
        camera = about["camera"] == "yes"
        self.add(name, rank=int(about["rank"]), alpha=float(about["alpha"]), camera=camera, trainable=trainable)
        try:
            self._fill(name, tensors, path)
        except CheckpointMismatch:
            self._forget(name)
            raise
        return self._adapters[name]

    def _fill(self, name: str, tensors: dict[str, Tensor], path: Path) -> None:
        own = self._tensors(name)
        problems = {
            "missing": [key for key in own if key not in tensors],
            "left over": [key for key in tensors if key not in own],
            "misshaped": [key for key in own if key in tensors and own[key].shape != tensors[key].shape],
        }
        if any(problems.values()):
            told = "; ".join(f"{len(keys)} {kind}: {', '.join(keys[:5])}" for kind, keys in problems.items() if keys)
            raise CheckpointMismatch(f"{path} does not fit this U-Net: {told}. Was it trained on another model?")
        with torch.no_grad():
            for key, value in own.items():
                value.copy_(tensors[key])

    def _forget(self, name: str) -> None:
        del self._adapters[name]
        if not self._adapters:
            self.unet.unload_lora()
            self._layers = {}
        else:
            self.unet.delete_adapters(name)

    def _camera_embedding(self) -> TimestepEmbedding:
        embedding = TimestepEmbedding(CAMERA_NUMBERS, self.unet.time_embedding.linear_2.out_features)
        nn.init.zeros_(embedding.linear_2.weight)
        nn.init.zeros_(embedding.linear_2.bias)
        return embedding

    def _tensors(self, name: str) -> dict[str, nn.Parameter]:
        adapter = self._known(name)
        found = {}
        for path, layer in self._layers.items():
            for part in ("lora_A", "lora_B"):
                found[f"{_UNET_KEY}{path}.{part}.weight"] = getattr(layer, part)[name].weight
        if adapter.camera is not None:
            found |= {_CAMERA_KEY + key: value for key, value in adapter.camera.named_parameters()}
        return found

    def _switch(self, name: str | None) -> None:
        """Choose what the U-Net runs with. peft touches requires_grad here, so it is set again afterwards."""
        for layer in self._layers.values():
            if name is not None:
                layer.set_adapter(name)
            layer.enable_adapters(name is not None)
        camera = self._adapters[name].camera if name is not None else None
        self.unet.class_embedding = camera if camera is not None else self._own_embedding
        self._current = name
        for adapter in self._adapters.values():
            for parameter in self._tensors(adapter.name).values():
                parameter.requires_grad_(adapter.trainable)

    def _known(self, name: str) -> Adapter:
        if name not in self._adapters:
            raise KeyError(f"There is no adapter {name!r}; there are: {', '.join(self._adapters) or 'none'}.")
        return self._adapters[name]

    def _check_name(self, name: str) -> None:
        if name in self._adapters:
            raise ValueError(f"There is an adapter {name!r} already; remove it or choose another name.")
        if not name or "." in name:
            raise ValueError(f"An adapter's name must be without dots and not empty, got {name!r}.")

    @property
    def _device(self) -> torch.device:
        return self.unet.time_embedding.linear_2.weight.device
