"""Where a job computes, as far as memory is concerned: the sizes that are planned for, and what a real device has.

Knows bytes and which precisions a device multiplies fast. Knows no models. `card_of` alone imports torch, when called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

GIB = 1024**3
SIZES = (8, 12, 16, 24, 48, 80)  # GB printed on the boxes of the cards that are planned for
REPORTED = 0.975  # of the printed size is what a driver reports (23.65 GiB of 24, 79.1 of 80; stack of drivers of 2025)
CUDA_CONTEXT = int(0.7 * GIB)  # the driver's context and the libraries' workspaces; torch does not count them
FRAGMENTED = 0.06  # of the rest is lost between blocks of torch's allocator
SYSTEM = 2 * GIB  # of a computer's memory is the system's and other programs'
BFLOAT16_SINCE = 8  # major compute capability: Ampere; before it bfloat16 is emulated
FLASH_SINCE = 8


@dataclass(frozen=True)
class Card:
    """One device.

    Args:
        name: For people.
        kind: "cuda" or "cpu".
        memory_bytes: All of it.
        bfloat16: Whether it multiplies bfloat16 in hardware.
        flash: Whether torch's flash attention runs on it.
    """

    name: str
    kind: str
    memory_bytes: int
    bfloat16: bool = True
    flash: bool = True

    @property
    def usable_bytes(self) -> int:
        """What a job may fill: without the driver's context and what fragmentation takes, or the system's share."""
        if self.kind == "cpu":
            return max(self.memory_bytes - SYSTEM, 0)
        return int(max(self.memory_bytes - CUDA_CONTEXT, 0) * (1 - FRAGMENTED))


def card_of_size(gigabytes: int, bfloat16: bool = True) -> Card:
    """The usual card of a printed size.

    Args:
        gigabytes: As in `SIZES`.
        bfloat16: False for cards before Ampere, which have no flash attention either.
    """
    memory = int(gigabytes * GIB * REPORTED)
    return Card(f"{gigabytes} GB" + ("" if bfloat16 else ", before Ampere"), "cuda", memory, bfloat16, bfloat16)


def computer(memory_bytes: int) -> Card:
    """A CPU with its memory; models compute in float32 on it."""
    return Card("CPU", "cpu", memory_bytes, bfloat16=False, flash=False)


def card_of(device: torch.device | None) -> Card:
    """What a torch device is, less what other programs hold of a GPU now. Asks the driver: milliseconds.

    Args:
        device: As a job opened it; None is the computer itself.
    """
    if device is None or device.type != "cuda":
        return computer(psutil.virtual_memory().total)
    import torch

    found = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    others = max(total - free - torch.cuda.memory_reserved(device) - CUDA_CONTEXT, 0)
    return Card(found.name, "cuda", total - others, found.major >= BFLOAT16_SINCE, found.major >= FLASH_SINCE)
