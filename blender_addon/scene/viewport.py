# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours in Solid view: vertex colours while an object forms, its texture afterwards.

Knows the shading of a 3D viewport. Changes only the colour source of Solid view, only in the viewport where the artist
clicked Generate, and only from Blender's default or from what it set itself: no shading mode is switched.
"""

from __future__ import annotations

import bpy

FORMING, FINISHED = "VERTEX", "TEXTURE"


def show_forming(space: bpy.types.SpaceView3D | None) -> None:
    """Show vertex colours in this viewport if it is in Solid view with the default colour source."""
    shading = getattr(space, "shading", None)
    if shading is not None and shading.type == "SOLID" and shading.color_type in ("MATERIAL", FINISHED):
        shading.color_type = FORMING


def show_finished() -> None:
    """Show textures in every viewport that shows vertex colours."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D" and area.spaces.active.shading.color_type == FORMING:
                area.spaces.active.shading.color_type = FINISHED
