"""What a job made, an asset or the views of several seeds, as files in the attempt's folder.

Knows what the service is told about them. Knows `assets` (imported when the first result is there) and file names,
which are fixed here.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from dreamlift.pipelines.context import Asset, SeedViews
from dreamlift.protocol import view_grid
from dreamlift.protocol.messages import Artifact

GLB, SHEET, PROVENANCE = "asset.glb", "contact_sheet.png", "provenance.json"
MEDIA_TYPES = {
    GLB: "model/gltf-binary",
    view_grid.NAME: view_grid.MEDIA_TYPE,
    SHEET: "image/png",
    PROVENANCE: "application/json",
}


def write_results(result: Asset | SeedViews, folder: Path) -> None:
    """Write the GLB or the views, a contact sheet and the provenance.

    Args:
        result: What the pipeline made.
        folder: An existing, empty folder.

    Raises:
        OSError: The disk is full or not writable.
    """
    from PIL import Image

    provenance = {**asdict(result.provenance), "settings": dict(result.provenance.settings)}
    if isinstance(result, SeedViews):
        from dreamlift.assets.view_sheet import view_sheet

        (folder / view_grid.NAME).write_bytes(view_grid.pack_views(result.images))
        picture = view_sheet(result)
        provenance |= {"seeds": list(result.seeds), "views": list(result.names)}
    else:
        from dreamlift.assets.contact_sheet import contact_sheet
        from dreamlift.assets.glb import write_glb

        write_glb(result, folder / GLB)
        picture = contact_sheet(result)
    Image.fromarray(picture).save(folder / SHEET)
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
