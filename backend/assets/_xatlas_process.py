"""A process of its own around xatlas: reads a mesh on stdin, writes UVs to stdout. Started by `unwrap`.

xatlas has no time limit and keeps the interpreter's lock, so the only way to stop it is to end its process.
"""

from __future__ import annotations

import io
import sys

import numpy as np
import xatlas


def main() -> None:
    """Arrays `vertices`, `faces` and numbers `resolution`, `padding` in an npz file in; `uvs` (F, 3, 2) out."""
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as data:
        vertices, faces = data["vertices"], data["faces"]
        resolution, padding = int(data["resolution"]), int(data["padding"])
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    pack.resolution, pack.padding, pack.bilinear = resolution, padding, True
    atlas.generate(chart_options=charts, pack_options=pack)
    _, corners, uvs = atlas[0]
    output = io.BytesIO()
    np.savez(output, uvs=uvs[corners].astype(np.float32))
    sys.stdout.buffer.write(output.getvalue())


if __name__ == "__main__":
    main()
