"""A finished asset as files in the attempt's folder, and what the service is told about them.

Knows `assets` (imported when the first asset is there) and file names, which are fixed here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from dreamlift.pipelines.context import Asset
from dreamlift.protocol.messages import Artifact

GLB, SHEET, PROVENANCE = "asset.glb", "contact_sheet.png", "provenance.json"
MEDIA_TYPES = {GLB: "model/gltf-binary", SHEET: "image/png", PROVENANCE: "application/json"}


def write_results(asset: Asset, folder: Path) -> None:
    """Write the GLB, the contact sheet and the provenance.

    Args:
        asset: What the pipeline made.
        folder: An existing, empty folder.

    Raises:
        OSError: The disk is full or not writable.
    """
    from PIL import Image

    from dreamlift.assets.contact_sheet import contact_sheet
    from dreamlift.assets.glb import write_glb

    write_glb(asset, folder / GLB)
    Image.fromarray(contact_sheet(asset)).save(folder / SHEET)
    provenance = {**asdict(asset.provenance), "settings": dict(asset.provenance.settings)}
    (folder / PROVENANCE).write_text(json.dumps(provenance, indent=1), encoding="utf-8")


def describe(folder: Path) -> tuple[Artifact, ...]:
    """Name, type, size and SHA-256 of every result in a folder."""
    return tuple(
        Artifact(
            name=name, media_type=MEDIA_TYPES[name], size=(folder / name).stat().st_size, sha256=_hash(folder / name)
        )
        for name in MEDIA_TYPES
        if (folder / name).exists()
    )


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
