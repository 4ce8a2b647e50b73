"""Which torch device a worker computes on. Imports torch when asked, and can guess the device's name without it."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

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
    import torch

    device = open_device(wanted)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return properties.name, properties.total_memory
    return _describe_cpu(torch.get_num_threads())


def expected_device(wanted: str, threads: int) -> tuple[str, int]:
    """What `describe_device` is going to say, found out in milliseconds because torch is not imported.

    It asks the NVIDIA driver, and which kind of torch is installed. `describe_device` has the last word: it corrects
    this where torch cannot use the device (an old driver) or knows one that this function does not (ROCm).

    Args:
        wanted: As for `open_device`; a name that says nothing here is given back as it is.
        threads: Compute threads that torch will start with.
    """
    found = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", wanted)
    if found is None:
        return wanted, 0
    device = None if wanted == "cpu" or not _torch_speaks_cuda() else _ask_driver(int(found[1] or 0))
    if device is not None:
        return device
    return (wanted, 0) if wanted.startswith("cuda") else _describe_cpu(threads)


def _describe_cpu(threads: int) -> tuple[str, int]:
    return f"CPU, {threads} thread{'s' * (threads != 1)}", psutil.virtual_memory().total


def _torch_speaks_cuda() -> bool:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    return re.search(r"^cuda\b[^=\n]*= *['\"]", version, re.MULTILINE) is not None


def _ask_driver(index: int) -> tuple[str, int] | None:
    """Name and memory of a CUDA device, in the driver's order, which CUDA_VISIBLE_DEVICES changes as for torch."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None  # there is no NVIDIA driver
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(120), ctypes.c_size_t()
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), index)  # refuses an index that is not there
        or driver.cuDeviceGetName(name, len(name), device)
        or driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    )
    return None if failed else (name.value.decode("utf-8", "replace"), memory.value)
