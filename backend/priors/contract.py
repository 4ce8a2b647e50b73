"""What every prior promises, in types: how a condition is carried and what distillation and sampling may call.

Knows no model. Each family has its own frozen `Condition`, for what it was trained on; the classes are found by
importing their file, never by a name in a string (design.md section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

Source = Path | str | dict[str, Tensor]  # a published file, a folder in diffusers' layout, or the file's tensors


@dataclass(frozen=True)
class Condition:
    """What a denoiser is told beside the noisy sample: tensors with the batch first, None where a part is absent.

    Families derive their own and add the fields; the operations here go over all of them.
    """

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same condition with `change` done to every tensor."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return type(self)(**{name: None if value is None else change(value) for name, value in parts.items()})

    def to(self, device: torch.device | str) -> Self:
        """The same condition on another device."""
        return self.map(lambda value: value.to(device))

    def repeat_interleave(self, times: int) -> Self:
        """Each row `times` times in a row: one object's condition to its views."""
        return self.map(lambda value: value.repeat_interleave(times, 0))

    def __getitem__(self, rows: Any) -> Self:
        return self.map(lambda value: value[rows])

    def __len__(self) -> int:
        return next(len(value) for part in fields(self) if (value := getattr(self, part.name)) is not None)

    @classmethod
    def cat(cls, conditions: Sequence[Self]) -> Self:
        """Several conditions as one batch, such as the conditional and the unconditional one.

        Raises:
            ValueError: A part is there in one and absent in another; says which.
        """
        joined: dict[str, Tensor | None] = {}
        for part in fields(cls):
            values = [getattr(condition, part.name) for condition in conditions]
            absent = sum(value is None for value in values)
            if 0 < absent < len(values):
                raise ValueError(
                    f"{part.name} is absent in {absent} of {len(values)} conditions; give it in all or none."
                )
            joined[part.name] = None if absent else torch.cat(values)
        return cls(**joined)


@dataclass(frozen=True)
class TextContext(Condition):
    """Text alone.

    Args:
        text: Hidden states of the prompt's tokens. (B, L, D) float32.
    """

    text: Tensor


class Prior(Protocol):
    """What distillation, sampling and the pipelines ask of every prior; the concrete classes say what they add.

    Attributes:
        name: What provenance calls the weights.
        licence: Of the weights.
        commercial_use: Whether that licence allows selling what they make.
        image_size: Height and width in pixels that the prior was trained on.
        device: Where the weights are.
        scheduler: The diffusers scheduler of the weights' noise schedule.
        alphas_cumprod: abar of every timestep, (1000,) float32; V3D has noise levels instead.
    """

    name: str
    licence: str
    commercial_use: bool
    image_size: int
    device: torch.device
    scheduler: Any
    alphas_cumprod: Tensor

    def encode(self, *wishes: Any) -> Condition:
        """Prompts or pictures to what the denoiser is told; each family names its own arguments."""
        ...

    def predict(self, x_t: Tensor, t: Tensor, condition: Condition, cameras: Any = None) -> Tensor:
        """Predicted noise, the shape of x_t, from x_t (N, C, h, w), timesteps (N,) and a condition of N rows."""
        ...

    def save(self, folder: Path, version: str) -> None:
        """Write safetensors, a small JSON and their hashes."""
        ...

    @classmethod
    def from_published(cls, source: Source, config: Any = None) -> Self:
        """Read the weights as they are published: a file, a folder in diffusers' layout, or a state dict."""
        ...

    @classmethod
    def from_folder(cls, folder: Path, config: Any = None) -> Self:
        """Read what `save` wrote."""
        ...

    @classmethod
    def random(cls, config: Any, seed: int = 0) -> Self:
        """The model of a configuration with seeded random weights."""
        ...
