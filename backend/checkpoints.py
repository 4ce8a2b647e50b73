"""A job's checkpoint as one file: tensors, numbers, strings and containers, in safetensors. Nothing is executed.

Knows the file. Knows no pipeline and no job: a `Context` (worker's or command line's) says where the file lies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

FORMAT = "dreamlift-checkpoint-1"
_TREE = "tree"


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` so that an interrupted write leaves the checkpoint before it whole.

    Args:
        path: The file; its folder must exist.
        state: Tensors, None, bool, int, float, str, and lists, tuples and dicts of those (dict keys: str or int).

    Raises TypeError for anything else, naming where it is.
    """
    tensors: dict[str, torch.Tensor] = {}
    tree = _pack(dict(state), tensors, "state")
    partial = path.with_name(f"{path.name}.partial")
    safetensors.torch.save_file(tensors, partial, {"format": FORMAT, _TREE: json.dumps(tree)})
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` was given, tensors on the CPU.

    Raises ValueError where the file is no checkpoint of this version.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path} is {metadata.get('format')!r}, not {FORMAT!r}; delete it to start anew")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to start anew") from error
    return _unpack(json.loads(metadata[_TREE]), tensors)


def _pack(value: Any, tensors: dict[str, torch.Tensor], where: str) -> Any:
    """Plain values as they are; the rest as [kind, contents], which JSON keeps apart from plain values."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()  # a copy: two names may share one storage
        return ["tensor", name]
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, [_pack(item, tensors, f"{where}[{number}]") for number, item in enumerate(value)]]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int):
                raise TypeError(f"{where} has the key {key!r}; only str and int can be saved")
        return ["dict", [[key, _pack(item, tensors, f"{where}[{key!r}]")] for key, item in value.items()]]
    raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint takes tensors, numbers, strings and containers")


def _unpack(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if not isinstance(value, list):
        return value
    kind, contents = value
    if kind == "tensor":
        return tensors[contents]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in contents}
    items = [_unpack(item, tensors) for item in contents]
    return tuple(items) if kind == "tuple" else items
