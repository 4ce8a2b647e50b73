"""A process of its own around xatlas: reads a mesh on stdin, writes UVs to stdout. Started by `unwrap`.

xatlas has no time limit and keeps the interpreter's lock, so the only way to stop it is to end its process.
"""

from __future__ import annotations

import io
import math
import sys

import numpy as np
import xatlas


def limit_processor_time(seconds: float) -> None:
    """End this process when it has computed for so long; where the system cannot, the parent's clock must do."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])  # imports are not xatlas' fault
    whole = math.ceil(used + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))


def main() -> None:
    """Arrays `vertices`, `faces`, numbers `resolution`, `padding`, `seconds` in an npz file in; `uvs` (F, 3, 2) out."""
    with np.load(io.BytesIO(sys.stdin.buffer.read())) as data:
        vertices, faces = data["vertices"], data["faces"]
        resolution, padding = int(data["resolution"]), int(data["padding"])
        limit_processor_time(float(data["seconds"]))
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
