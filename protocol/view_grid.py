"""The pictures of a job for views as one file, `views.npy`: numpy's own format, nothing else in it.

Knows the bytes. Knows no files and no pictures' encoders; the extension, which has none, reads it like everybody else.
docs/protocol.md section 6a.
"""

from __future__ import annotations

import io
import math

import numpy as np

from .errors import ProtocolError

NAME = "views.npy"
MEDIA_TYPE = "application/x-npy"


def pack_views(
    images: np.ndarray,  # (S, V, H, W, 3) uint8
) -> bytes:
    """The file's bytes.

    Args:
        images: Seed by seed, view by view. (S, V, H, W, 3) uint8 sRGB.
    """
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(images, np.uint8), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def unpack_views(data: bytes) -> np.ndarray:
    """The pictures, read-only and without a copy.

    Args:
        data: A whole file.

    Returns:
        (S, V, H, W, 3) uint8.

    Raises:
        ProtocolError: "bad_buffers": it is not such a file, or its header and its length do not agree.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    except (ValueError, EOFError, SyntaxError) as error:
        raise ProtocolError("bad_buffers", f"The file of views cannot be read: {str(error)[:200]}.") from error
    start = file.tell()
    fits = dtype == np.uint8 and not by_columns and len(shape) == 5 and shape[4] == 3 and 0 not in shape
    if not fits or math.prod(shape) != len(data) - start:
        what = f"The file of views holds {dtype} {shape} in {len(data) - start} bytes, not uint8 (S, V, H, W, 3)."
        raise ProtocolError("bad_buffers", what)
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
