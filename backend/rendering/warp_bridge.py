"""From torch tensors to Warp kernels and back, without a copy and on torch's own stream.

Knows devices and streams. Knows no kernels: each lives beside the code that uses it.
"""

from __future__ import annotations

import functools

import torch
import warp as wp
from torch import Tensor

wp.config.quiet = True


def as_array(tensor: Tensor, dtype) -> wp.array:
    """A Warp view of a tensor's memory, without its gradient; `dtype` is a Warp type, vectors eat the last axis."""
    _initialise()
    return wp.from_torch(tensor.detach().contiguous(), dtype=dtype, requires_grad=False)


def launch(kernel, dim: int | tuple[int, ...], inputs: list, device: torch.device) -> None:
    """Run a kernel on a torch device; on CUDA on torch's current stream, so that the order of work is torch's.

    Args:
        kernel: A `wp.kernel`.
        dim: Number of threads along each axis; nothing runs where it is 0.
        inputs: Arrays (`as_array`), structs and numbers, in the kernel's order.
        device: Where all arrays live.
    """
    _initialise()
    if device.type == "cuda":
        with wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device))):
            wp.launch(kernel, dim=dim, inputs=inputs)
    else:
        wp.launch(kernel, dim=dim, inputs=inputs, device="cpu")


@functools.cache
def _initialise() -> None:
    # Only the first launch pays for it, not the import: `dreamlift --help` loads no compiler.
    wp.init()
