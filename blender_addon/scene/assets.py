# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished objects in the Asset Browser. Knows asset metadata and previews; knows no jobs."""

from __future__ import annotations

import bpy
import numpy as np


def mark_as_asset(
    found: bpy.types.Object, description: str, licence: str, picture: np.ndarray | None, tags: tuple[str, ...]
) -> None:
    """Put an object into the Asset Browser.

    Args:
        found: The finished object.
        description: What the browser shows below it, such as the prompt.
        licence: SPDX name or a name.
        picture: Preview, (H, W, 3) uint8 sRGB; None lets Blender render one when it shows it.
        tags: Words to find it by.
    """
    found.asset_mark()
    found.asset_data.description = description
    found.asset_data.license = licence
    for tag in tags:
        found.asset_data.tags.new(tag, skip_if_exists=True)
    if picture is None:
        return
    height, width = picture.shape[:2]
    pixels = np.ones((height, width, 4), np.float32)
    np.multiply(picture[::-1], np.float32(1 / 255), out=pixels[..., :3])
    preview = found.preview_ensure()
    preview.image_size = (width, height)
    preview.image_pixels_float.foreach_set(pixels.reshape(-1))
