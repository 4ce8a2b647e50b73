"""From torch tensors to Warp kernels and back, without a copy and on torch's own stream.

Knows devices and streams. Knows no kernels: each lives beside the code that uses it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import warp as wp
from torch import Tensor

wp.config.log_level = wp.LOG_ERROR  # stdout belongs to results, and Warp greets there


def as_array(tensor: Tensor, dtype) -> wp.array:
    """A Warp view of a tensor's memory, without its gradient; `dtype` is a Warp type, vectors eat the last axis."""
    initialise()
    return wp.from_torch(tensor.detach().contiguous(), dtype=dtype, requires_grad=False)


def launch(kernel, dim: int | tuple[int, ...], inputs: list, device: torch.device) -> None:
    """Run a kernel on a torch device; on CUDA on torch's current stream, so that the order of work is torch's.

    Args:
        kernel: A `wp.kernel`.
        dim: Number of threads along each axis; nothing runs where it is 0.
        inputs: Arrays (`as_array`), structs and numbers, in the kernel's order.
        device: Where all arrays live.
    """
    initialise()
    if device.type == "cuda":
        with wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device))):
            wp.launch(kernel, dim=dim, inputs=inputs)
    else:
        wp.launch(kernel, dim=dim, inputs=inputs, device="cpu")


@functools.cache
def initialise() -> None:
    """Start Warp, once. The first launch pays for it, not the import: `dreamlift --help` loads no compiler."""
    with nullcontext() if torch.cuda.is_available() else _without_stderr():
        wp.init()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Without a driver Warp's library tells so on the process's stderr at every start, past any Python setting."""
    try:
        kept = os.dup(2)
    except OSError:  # no stderr to hide, as in a Windows program without a console
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
