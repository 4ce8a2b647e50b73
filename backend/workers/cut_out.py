"""One picture in, its subject out: the process in which a picture from outside is decoded for the service.

    python -m dreamlift.workers.cut_out PICTURE THRESHOLD

Writes one line of JSON to standard output, then (H, W, 4) uint8. Limits itself before it opens anything, so that a
hostile file ends this process and nothing else; `service/cut_outs.py` watches the clock and reads the answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import BinaryIO

MEMORY_BYTES = 8 << 30  # of address space; a matting model at 1024 pixels takes most of it
CPU_SECONDS = 240  # of all threads
FILE_BYTES = 64 << 20  # of what it writes


def limit_self() -> None:
    """Bound memory, processor time and files. Windows has none of these limits; the service's clock remains."""
    if sys.platform == "win32":
        return
    import resource

    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (least, hard))
        except (ValueError, OSError) as error:  # macOS refuses to bound address space
            print(f"limit {kind} cannot be set: {error}", file=sys.stderr)


def cut_out(data: bytes, threshold: float, output: BinaryIO) -> None:
    """Write the answer to one picture.

    Args:
        data: A picture file.
        threshold: As in `preprocessing.subject`.
        output: Takes a line of JSON, {"method", "remarks", "height", "width"} or {"error"}, then the pixels.
    """
    import numpy as np

    from dreamlift.pipelines.context import RequestError
    from dreamlift.preprocessing.decoding import read_picture
    from dreamlift.preprocessing.subject import subject

    try:
        try:
            found = subject(data, threshold=threshold)
            method, remarks = found.method, [remark._asdict() for remark in found.warnings]
            pixels = read_picture(data).pixels
            # Outside of it the picture's own colours: the artist may mark more of it as the subject.
            rgba = np.where(found.rgba[..., 3:] > 0, found.rgba, pixels * np.array([1, 1, 1, 0], np.uint8))
        except RequestError as error:
            if error.code == "bad_image":
                raise
            # The picture is good and what it shows is not clear: the artist can mark it by hand.
            rgba = read_picture(data).pixels.copy()
            rgba[..., 3] = 0
            method, remarks = "", [{"code": error.code, "what": error.what, "remedy": error.remedy}]
    except RequestError as error:
        answer = {"code": error.code, "what": error.what, "remedy": error.remedy, "suggestion": error.suggestion}
        output.write(json.dumps({"error": answer}).encode() + b"\n")
        return
    height, width = rgba.shape[:2]
    head = {"method": method, "remarks": remarks, "height": height, "width": width}
    output.write(json.dumps(head).encode() + b"\n")
    output.write(rgba.tobytes())


if __name__ == "__main__":
    limit_self()
    cut_out(Path(sys.argv[1]).read_bytes(), float(sys.argv[2]), sys.stdout.buffer)
