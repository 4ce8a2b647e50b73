"""Which torch device a worker computes on. Imports torch when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dreamlift.pipelines.context import RequestError

if TYPE_CHECKING:
    import torch


def open_device(wanted: str) -> torch.device:
    """The device for "auto" (the first CUDA device where there is one, else the CPU) or for torch's own name.

    Raises:
        RequestError: "bad_device": it is not on this machine.
    """
    import torch

    if wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise RequestError(
            "bad_device", f"{wanted!r} is not a device.", "Start the server with cpu or cuda:0."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        what = f"There is no {wanted} on the server ({torch.cuda.device_count()} CUDA devices)."
        raise RequestError("bad_device", what, "Start the server with a device that it has.")
    return device


def describe_device(wanted: str) -> tuple[str, int]:
    """Name of the device for people, and its memory in bytes."""
    import psutil
    import torch

    device = open_device(wanted)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return properties.name, properties.total_memory
    return f"CPU, {torch.get_num_threads()} threads", psutil.virtual_memory().total


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the device's or the computer's memory did not suffice."""
    if isinstance(error, MemoryError):
        return True
    # torch's CPU allocator raises a plain RuntimeError; its text is the only sign.
    named = type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
