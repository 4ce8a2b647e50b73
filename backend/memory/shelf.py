"""The model that a process keeps between jobs: one at a time, so that a warm worker starts the next job at once.

Knows a key and what was made for it. Knows no models. Before another one is made, the last is let go: two full-size
models at once would need the memory of both.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Hashable
from typing import TypeVar

Made = TypeVar("Made")
_kept: dict[Hashable, object] = {}


def keep(key: Hashable, make: Callable[[], Made]) -> Made:
    """What was made for this key, or what `make` gives now.

    Args:
        key: Says everything about it: weights, device, precision.
        make: Called where the shelf holds another key; whatever it raises leaves the shelf empty.
    """
    if key not in _kept:
        clear()
        _kept[key] = make()
    return _kept[key]


def clear() -> None:
    """Let go of what is kept, and of the memory that nothing refers to."""
    _kept.clear()
    free_memory()


def free_memory() -> None:
    """Give back what nothing refers to any more: Python's cycles first, then torch's cache of free blocks."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
