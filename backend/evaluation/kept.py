"""One folder of assets, sheets and scores by name, so that an interrupted run goes on.

Knows files and assets. Knows no measure: a score is plain data here, and whoever measures decides when a kept one is
out of date.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dreamlift.assets.glb import write_glb
from dreamlift.pipelines.context import Asset, Provenance


class AssetFolder:
    """Scores, assets and sheets of one model and its settings.

    Args:
        path: Made where it is missing. Another model's results do not belong in it: name it after the weights.
    """

    def __init__(self, path: Path):
        self.path = path
        for part in ("scores", "assets", "sheets"):
            (path / part).mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> dict[str, Any] | None:
        """The score that `write` kept; None where there is none."""
        file = self._score_file(name)
        return json.loads(file.read_text()) if file.exists() else None

    def write(self, name: str, score: dict[str, Any]) -> None:
        """Keep a score. Do it last: where that is, the rest is complete."""
        file = self._score_file(name)
        unfinished = file.with_suffix(f".{os.getpid()}.part")
        unfinished.write_text(json.dumps(score, indent=1) + "\n")
        os.replace(unfinished, file)

    def keep_asset(self, name: str, asset: Asset) -> None:
        """Keep the arrays, which `asset` reads again, and the GLB, for people."""
        arrays = {"vertices": asset.vertices, "faces": asset.faces, "uvs": asset.uvs, "texture": asset.texture}
        np.savez_compressed(self.path / "assets" / f"{name}.npz", **arrays)
        write_glb(asset, self.path / "assets" / f"{name}.glb")

    def keep_sheet(self, name: str, sheet: np.ndarray) -> None:
        """Keep a picture, (H, W, 3) uint8."""
        Image.fromarray(sheet).save(self.sheet_file(name))

    def asset(self, name: str) -> Asset:
        """A kept asset; its provenance is not kept, as no measure reads it."""
        with np.load(self.path / "assets" / f"{name}.npz", allow_pickle=False) as data:
            arrays = {key: data[key] for key in ("vertices", "faces", "uvs", "texture")}
        return Asset(**arrays, provenance=Provenance("", "", "", "", 0, "", "", True, "", 0.0))

    def sheet_file(self, name: str) -> Path:
        """Where the picture of that name is."""
        return self.path / "sheets" / f"{name}.png"

    def _score_file(self, name: str) -> Path:
        return self.path / "scores" / f"{name}.json"


def file_name(*parts: object) -> str:
    """Parts of a name, joined by dashes, with nothing in it that a file system minds."""
    return "-".join("".join(c if c.isalnum() else "_" for c in str(part).lower()).strip("_") for part in parts)
