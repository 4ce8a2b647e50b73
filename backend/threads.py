"""How many threads a Dreamlift process computes with, and how they wait. The one place that decides it.

Knows environment variables and core counts. Knows no torch: call `prepare_threads` before the first torch import,
because OpenMP reads its settings once, when its library is loaded.
"""

from __future__ import annotations

import logging
import os

log = logging.getLogger(__name__)

MOST_THREADS = 8  # more cores than this gain nothing on the small tensors of a mini run


def usable_cores() -> int:
    """Physical cores this process may run on, at least 1; a container's or a user's limit counts."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def prepare_threads(threads: int | None = None) -> int:
    """Set OpenMP's waiting and thread count for this process and its children. Call before torch is imported.

    Waiting threads sleep instead of spinning: with two spinning threads on a busy two-core machine the same render
    took 227 to 1320 ms, with sleeping ones 69 to 84 ms (stack.md, trap 3). What the user has set is left alone.

    Args:
        threads: Compute threads; None keeps OMP_NUM_THREADS or takes the usable cores, at most `MOST_THREADS`.

    Returns:
        The number of threads that torch will start with.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads is None:
        threads = _positive(os.environ.get("OMP_NUM_THREADS")) or min(usable_cores(), MOST_THREADS)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    log.debug("computing with %d threads, OMP_WAIT_POLICY=%s", threads, os.environ["OMP_WAIT_POLICY"])
    return threads


def _positive(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and int(text) > 0 else None
