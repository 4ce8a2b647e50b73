# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures from the artist: image datablocks to encoded files and pixels, and back.

Knows Blender's image datablocks. Knows no server and no panel. A picture that is a PNG or JPEG file already is never
decoded here: its bytes are what is sent.
"""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import BinaryIO

import bpy
import numpy as np

from ..jobs.png import PngEncoder
from .image_writer import pack_picture

log = logging.getLogger(__name__)

MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # PNG, JPEG
MOST_BYTES = 64 << 20  # of a file, as on the server
MOST_SIDE = 1024  # pixels; what is encoded here is made smaller first, no model sees more
MASK, CANVAS = "Dreamlift Mask", "Dreamlift Paint"
FROM_VIEW, PASTED = "From View", "Pasted"


class PictureError(Exception):
    """An image cannot be used; the text is a sentence for the artist."""


def load(path: str) -> bpy.types.Image:
    """The datablock of a picture file, usable; raises PictureError."""
    found = Path(bpy.path.abspath(path))
    if not found.is_file():
        raise PictureError(f"{found.name or path} is not a file.")
    try:
        image = bpy.data.images.load(str(found), check_existing=True)
    except RuntimeError as error:
        raise PictureError(f"Blender cannot open {found.name}.") from error
    return usable(image)


def can_be_used(image: bpy.types.Image) -> bool:
    """Whether a datablock may be offered: a still picture, none of our own marks."""
    ours = image.name.startswith((MASK, CANVAS))
    return image.source in ("FILE", "GENERATED") and image.type in ("IMAGE", "UV_TEST") and not ours


def usable(image: bpy.types.Image) -> bpy.types.Image:
    """The datablock itself where its file can be sent as it is, else a smaller copy with a PNG packed into it.

    One without pixels is given back too: `open_file` says why it cannot be used.
    """
    if not image.is_dirty and _starts_like_a_file(image):
        return image
    if not all(image.size):
        return image
    return pack(f"{Path(image.name).stem} (PNG)", _top_first(image))


def open_file(image: bpy.types.Image) -> BinaryIO:
    """The encoded bytes of a usable picture, to read; raises PictureError."""
    if image.packed_file is not None:
        return io.BytesIO(image.packed_file.data)
    path = bpy.path.abspath(image.filepath, library=image.library)
    try:
        size = os.stat(path).st_size
        if size > MOST_BYTES:
            raise PictureError(f"{image.name} has {size >> 20} MiB; {MOST_BYTES >> 20} MiB is the most.")
        return open(path, "rb")  # noqa: SIM115 - read a piece a tick, closed by who reads
    except OSError as error:
        raise PictureError(f"{image.name} cannot be read: {error.strerror or error}.") from error


def identity(image: bpy.types.Image) -> str:
    """Another text for another picture: another datablock, another file, another packed file."""
    packed = image.packed_file.size if image.packed_file is not None else 0
    return f"{image.session_uid}/{image.filepath}/{packed}"


def icon(image: bpy.types.Image) -> int:
    """The icon id of Blender's own preview of it, which Blender draws when it has time."""
    return image.preview_ensure().icon_id


def pack(name: str, pixels: np.ndarray) -> bpy.types.Image:
    """A new datablock with these pixels as a PNG, so that the file that is saved has them.

    Args:
        name: Of the datablock.
        pixels: (H, W, C) uint8 sRGB, row 0 on top; C 1, 3 or 4.
    """
    data, _ = PngEncoder(pixels).result()
    return pack_picture(name, data)


# -- marks -----------------------------------------------------------------------------------------


def read_mask(image: bpy.types.Image, width: int, height: int) -> np.ndarray | None:
    """What was marked, (H, W) uint8, row 0 on top; None where there is none of this size."""
    if tuple(image.size) != (width, height):
        return None
    return _bytes(image)[::-1, :, 0].copy()


def open_canvas(fields, pixels: np.ndarray) -> bpy.types.Image:
    """A datablock to paint on, kept in `fields.canvas`.

    Args:
        fields: The scene's property group.
        pixels: (H, W, 3) uint8, row 0 on top.
    """
    close_canvas(fields)
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(CANVAS, width, height, alpha=False)
    values = np.ones((height, width, 4), np.float32)
    np.multiply(pixels[::-1], np.float32(1 / 255), out=values[..., :3])
    image.pixels.foreach_set(values.reshape(-1))
    image.update()
    fields.canvas = image
    return image


def read_canvas(fields) -> np.ndarray:
    """What was painted, (H, W, 3) uint8, row 0 on top."""
    return _bytes(fields.canvas)[::-1, :, :3]


def keep_mask(fields, mask: np.ndarray) -> None:
    """Put marks, (H, W) uint8, into `fields.mask` in place of those before."""
    _remove(fields.mask)
    fields.mask = pack(MASK, mask[..., None])


def close_canvas(fields) -> None:
    """Take the painting away; nothing where there is none."""
    _remove(fields.canvas)
    fields.canvas = None


def forget_marks(fields) -> None:
    """They belonged to another picture."""
    close_canvas(fields)
    _remove(fields.mask)
    fields.mask = None


def keep_canvas(fields) -> None:
    """Before a save: strokes that were painted go into the file."""
    if fields.canvas is not None and fields.canvas.is_dirty:
        fields.canvas.pack()


# -- inside ----------------------------------------------------------------------------------------


def _starts_like_a_file(image: bpy.types.Image) -> bool:
    if image.source != "FILE":
        return False
    try:
        with open_file(image) as file:
            return file.read(8).startswith(MAGIC)
    except PictureError as error:
        log.info("%s", error)
        return False


def _top_first(image: bpy.types.Image) -> np.ndarray:
    """(H, W, 4) uint8 sRGB, row 0 on top, at most `MOST_SIDE` a side; the datablock stays as it is."""
    width, height = image.size
    scale = MOST_SIDE / max(width, height)
    small = image
    if scale < 1:
        small = image.copy()
        small.scale(max(1, round(width * scale)), max(1, round(height * scale)))
    try:
        return _bytes(small)[::-1].copy()
    finally:
        if small is not image:
            bpy.data.images.remove(small)


def _bytes(image: bpy.types.Image) -> np.ndarray:
    """(H, W, 4) uint8, row 0 at the bottom as Blender has it."""
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    values = values.reshape(height, width, 4)
    if image.is_float:  # scene linear; a byte image is sRGB already
        colour = np.clip(values[..., :3], 0, 1)
        values[..., :3] = np.where(colour <= 0.0031308, colour * 12.92, 1.055 * colour ** (1 / 2.4) - 0.055)
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def _remove(image: bpy.types.Image | None) -> None:
    if image is not None:
        bpy.data.images.remove(image)
