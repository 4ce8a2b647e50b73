"""What the parity tests of several families share: tolerances, the lists of published keys, drawn weights."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

SHARED = Path(__file__).parents[3] / "shared"


def error_of(mine: Tensor, reference: Tensor) -> float:
    """Largest error as a share of the largest value."""
    return float((mine - reference).abs().max() / reference.abs().max())


def close(mine: Tensor, reference: Tensor, tolerance: float = 5e-6) -> None:
    """5e-6 for one forward, 2e-5 for sampling: 2.6 and 5.3 times the worst seen on a CPU (checkpoints.md 7)."""
    assert mine.shape == reference.shape
    error = error_of(mine, reference)
    assert error < tolerance, f"largest error {error:.1e} of the largest value, allowed {tolerance:.0e}"


@dataclass(frozen=True)
class Row:
    """One line of a list in checkpoint-keys."""

    key: str
    shape: tuple[int, ...]
    target: str
    target_key: str
    transform: str


def read_table(name: str) -> list[Row]:
    """All lines of `checkpoint-keys/<name>.tsv`."""
    lines = (SHARED / "spec" / "checkpoint-keys" / f"{name}.tsv").read_text().splitlines()[1:]
    cells = [(line.split("\t") + [""] * 5)[:5] for line in lines]
    return [Row(key, tuple(int(n) for n in re.findall(r"\d+", shape)), *rest) for key, shape, *rest in cells]


def meta_state(rows: list[Row]) -> dict[str, Tensor]:
    """The listed checkpoint with shapes and no memory."""
    return {row.key: torch.empty(row.shape, device="meta") for row in rows}


def targets_of(row: Row, module: str) -> list[str]:
    """Where a line's tensor goes in a module; a split one goes to several, of which the list may shorten the name."""
    if row.target != module:
        return []
    first, *others = row.target_key.split(" | ")
    return [first, *(re.sub(r"\.\.\.to_v\.weight", first.replace("to_k", "to_v"), other) for other in others)]


def drawn_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Random weights of usable size: norms near one, the rest shrinking with fan-in; signals neither die nor grow."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            state[key] = noise / math.sqrt(math.prod(shape[1:]))
        else:
            state[key] = 1 + 0.1 * noise if key.endswith("weight") else 0.1 * noise
    return state
