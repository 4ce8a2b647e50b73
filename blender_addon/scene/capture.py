# SPDX-License-Identifier: GPL-3.0-or-later
"""The current view as a picture: what the artist sees, without overlays, on a transparent background.

Knows the viewport's matrices and off-screen drawing. Draws with the viewport's own shading and puts back what it
switched off, whatever happens.
"""

from __future__ import annotations

import bpy
import gpu
import numpy as np

MOST_SIDE = 1024  # pixels


def view_pixels(context: bpy.types.Context) -> np.ndarray:
    """Draw the view of `context.region_data` off screen.

    Args:
        context: Of a 3D viewport, in a Blender with a window.

    Returns:
        (H, W, 4) uint8 sRGB, not multiplied by the opacity, row 0 on top; the window region's proportions.

    Raises:
        RuntimeError: The graphics card gives no off-screen buffer.
    """
    space, view = context.space_data, context.space_data.region_3d
    region = next(each for each in context.area.regions if each.type == "WINDOW")
    scale = MOST_SIDE / max(region.width, region.height)
    width, height = (max(1, round(side * scale)) for side in (region.width, region.height))
    offscreen = gpu.types.GPUOffScreen(width, height)
    overlays, gizmos = space.overlay.show_overlays, space.show_gizmo
    try:
        space.overlay.show_overlays = space.show_gizmo = False
        offscreen.draw_view3d(
            context.scene,
            context.view_layer,
            space,
            region,
            view.view_matrix,
            view.window_matrix,
            do_color_management=True,
            draw_background=False,
        )
        buffer = offscreen.texture_color.read()
    finally:
        space.overlay.show_overlays, space.show_gizmo = overlays, gizmos
        offscreen.free()
    buffer.dimensions = width * height * 4
    pixels = np.asarray(buffer)
    if pixels.dtype != np.uint8:
        pixels = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
    return _straight(pixels.reshape(height, width, 4)[::-1])


def _straight(premultiplied: np.ndarray) -> np.ndarray:
    """Colours divided by the opacity they were multiplied by."""
    alpha = premultiplied[..., 3:].astype(np.float32)
    colour = premultiplied[..., :3] * (255 / np.maximum(alpha, 1))
    return np.concatenate([np.minimum(colour, 255).astype(np.uint8), premultiplied[..., 3:]], -1)
