"""A matting model of the user's own: a published network that tells a thing from any background, as an ONNX file.

Knows where such a file lies and how each family takes its picture. Nothing is ever fetched here, and none comes with
Dreamlift: without a file, or without the extra `dreamlift[matting]` (onnxruntime), the colours decide. An ONNX file is
data: operators of its own would need a library that is never registered.

How each family takes its picture follows its authors' code and was not run on published weights here.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamlift.models.store import Store

from .judging import Remark

log = logging.getLogger(__name__)

Matting = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 sRGB to opacity (H, W) float32 in [0, 1]
VARIABLE = "DREAMLIFT_MATTING"  # a file, or "off"
FOLDER = "matting"  # in the model store
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Family:
    """How a network takes its picture and what it says.

    Args:
        start: How its file's name begins.
        size: Side of the square that it sees, pixels, where the file does not say.
        mean: Taken off each channel in [0, 1].
        deviation: Each channel is divided by it afterwards.
        logits: Whether its answer needs a sigmoid; else it is stretched to [0, 1].
    """

    start: str
    size: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    logits: bool = False


# In the order in which they are taken: best edges first. Licences: MIT, Apache-2.0, Apache-2.0 [stack.md section 7].
FAMILIES = (
    Family("birefnet", 1024, *IMAGENET, logits=True),
    Family("isnet", 1024, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0)),
    Family("u2net", 320, *IMAGENET),
)


def find_file(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The model file of this machine: the one that DREAMLIFT_MATTING names, else the store's first; None without.

    Args:
        environment: Its variables.
    """
    named = environment.get(VARIABLE, "").strip()
    if named:
        return None if named.lower() == "off" else Path(named).expanduser()
    for folder in Store.here(environment).folders:
        there = sorted((folder / FOLDER).glob("*.onnx"))
        for family in FAMILIES:
            for path in there:
                if path.name.lower().startswith(family.start):
                    return path
    return None


def find(environment: Mapping[str, str] = os.environ) -> tuple[Matting | None, tuple[Remark, ...]]:
    """The matting model of this machine, opened, and what to tell where there is one that cannot be used.

    Args:
        environment: Its variables.
    """
    path = find_file(environment)
    if path is None:
        return None, ()
    try:
        return open_model(path), ()
    except ImportError:
        remedy = "Run `pip install 'dreamlift[matting]'`, or set DREAMLIFT_MATTING=off."
        what = f"The matting model {path.name} needs onnxruntime, which is not installed; the colours decide."
    except (OSError, RuntimeError, ValueError) as error:
        log.warning("the matting model %s cannot be used: %s", path, error)
        remedy = "Fetch it again, or set DREAMLIFT_MATTING=off."
        what = f"The matting model {path.name} cannot be used; the colours decide."
    return None, (Remark("matting_unavailable", what, remedy),)


def family_of(path: Path) -> Family:
    """The family that a file's name says.

    Args:
        path: Of the model.

    Raises:
        ValueError: None of those that are known.
    """
    for family in FAMILIES:
        if path.name.lower().startswith(family.start):
            return family
    names = ", ".join(family.start for family in FAMILIES)
    raise ValueError(f"{path.name} is of no known family; its name must begin with one of: {names}")


@functools.lru_cache(maxsize=1)
def open_model(path: Path) -> Matting:
    """Open a model; it stays open for the next picture.

    Args:
        path: An ONNX file with one picture as input, the opacity as its first output.

    Raises:
        ImportError: onnxruntime is not installed.
        OSError: The file is not there.
        ValueError: It is of no known family, or takes something else than a picture.
        RuntimeError: onnxruntime cannot read it.
    """
    family = family_of(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share nothing narrower
        raise RuntimeError(f"onnxruntime cannot read {path.name}: {error}") from error
    taken = session.get_inputs()
    if len(taken) != 1 or len(taken[0].shape) != 4:
        raise ValueError(f"{path.name} takes {[each.shape for each in taken]} and not one picture")
    side = taken[0].shape[-1] if isinstance(taken[0].shape[-1], int) else family.size
    return functools.partial(_run, session, taken[0].name, family, side)


def _run(session: Any, name: str, family: Family, side: int, colours: np.ndarray) -> np.ndarray:
    height, width = colours.shape[:2]
    square = Image.fromarray(colours).resize((side, side), Image.Resampling.BILINEAR)
    numbers = (np.asarray(square) / 255 - family.mean) / family.deviation
    answer = np.squeeze(session.run(None, {name: numbers.transpose(2, 0, 1)[None].astype(np.float32)})[0])
    if family.logits:
        answer = 1 / (1 + np.exp(-answer.clip(-30, 30)))
    else:
        answer = (answer - answer.min()) / max(float(np.ptp(answer)), 1e-6)
    large = Image.fromarray(answer.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(large).clip(0, 1)
