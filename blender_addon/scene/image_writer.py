# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures into Blender: packed image datablocks for results, thumbnails for panels.

Knows how Blender stores pictures. Knows no jobs. A packed file keeps its own encoding (0.3 ms at 1K; `Image.pack()` of
raw pixels would spend 115 ms on encoding PNG).
"""

from __future__ import annotations

import bpy
import bpy.utils.previews
import numpy as np


def pack_picture(name: str, encoded: bytes) -> bpy.types.Image:
    """A new image datablock that holds an encoded picture file, with nothing on disk.

    Args:
        name: Name of the datablock.
        encoded: A whole PNG or JPEG file, sRGB.
    """
    image = bpy.data.images.new(name, 1, 1)
    image.pack(data=encoded, data_len=len(encoded))
    image.source = "FILE"  # after the packing: drops the generated pixel, so that the packed file is read when needed
    image.colorspace_settings.name = "sRGB"
    return image


class Thumbnails:
    """Pictures that panels show by icon id. One per extension; `close` gives everything back."""

    def __init__(self):
        self._previews = bpy.utils.previews.new()

    def show(self, name: str, picture: np.ndarray) -> int:
        """Put a picture under a name, new or over the old one.

        Args:
            name: The place, such as "job-1/front".
            picture: (H, W, 3) uint8 sRGB, row 0 on top.

        Returns:
            The icon id for `template_icon`.
        """
        height, width = picture.shape[:2]
        pixels = np.ones((height, width, 4), np.float32)
        np.multiply(picture[::-1], np.float32(1 / 255), out=pixels[..., :3])  # Blender's row 0 is the bottom
        preview = self._previews.get(name) or self._previews.new(name)
        if tuple(preview.image_size) != (width, height):
            preview.image_size = (width, height)
        preview.image_pixels_float.foreach_set(pixels.reshape(-1))
        return preview.icon_id

    def drop(self, prefix: str) -> None:
        """Forget every picture whose name starts with `prefix`."""
        for name in [name for name in self._previews if name.startswith(prefix)]:
            del self._previews[name]

    def close(self) -> None:
        """Free all pictures; Blender complains about collections that outlive their add-on."""
        bpy.utils.previews.remove(self._previews)
