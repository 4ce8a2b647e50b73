"""Contact sheets: an asset beside the truth, and all objects of a variant on one page.

Knows models, pictures and image files. Knows no scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dreamlift.evaluation.benchmark.objects import BenchmarkObject, prompt_pixels
from dreamlift.evaluation.benchmark.pictures import novel_cameras, pictures_of
from dreamlift.evaluation.models import Model
from dreamlift.rendering.cameras import Cameras

TILE = 128  # pixels
SIDES = (0, 2, 4, 6)  # front, left, back, right of the novel cameras
FOVY = 30.0  # degrees: nearer than where it is measured, which leaves room for every turn of a cube
PAPER = 0.88  # grey behind everything: white objects must be seen
GAP = 6  # pixels between objects on a page
COLUMNS = 3
QUALITY = 82  # of the page's JPEG


def object_sheet(asset: Model, truth: Model, case: BenchmarkObject) -> np.ndarray:
    """The prompt image, then the asset from front, left, back and right above the truth from the same sides.

    Returns:
        (2 tiles, 6 tiles, 3) uint8 sRGB: the prompt image takes two by two.
    """
    cameras = novel_cameras()[list(SIDES)]
    cameras = Cameras(cameras.c2w, torch.full_like(cameras.fovy, FOVY))
    rows = [torch.cat(tuple(pictures_of(model, cameras, TILE).over(PAPER)), dim=-1) for model in (asset, truth)]
    prompt = F.interpolate(prompt_pixels(case)[None], (2 * TILE, 2 * TILE), mode="area")[0]
    return _bytes(torch.cat([prompt[:3] + (1 - prompt[3:]) * PAPER, torch.cat(rows, dim=-2)], dim=-1))


def _bytes(picture: Tensor) -> np.ndarray:
    return (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def write_page(sheets: Sequence[Path], file: Path) -> None:
    """Lay the sheets of a variant on one page.

    Args:
        sheets: Files of `object_sheet`, in order; one that is missing leaves its place empty.
        file: The JPEG to write.
    """
    height, width = 2 * TILE, 6 * TILE
    columns = min(COLUMNS, max(len(sheets), 1))
    lines = -(-len(sheets) // columns)
    size = (columns * (width + GAP) - GAP, max(lines * (height + GAP) - GAP, 1))
    page = Image.new("RGB", size, (255, 255, 255))
    for k, sheet in enumerate(sheets):
        if sheet.exists():
            with Image.open(sheet) as picture:
                page.paste(picture, (k % columns * (width + GAP), k // columns * (height + GAP)))
    file.parent.mkdir(parents=True, exist_ok=True)
    page.save(file, "JPEG", quality=QUALITY, optimize=True)
