# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours in Solid view: vertex colours while an object forms, its texture afterwards.

Knows the shading of a 3D viewport. Changes only the colour source of Solid view, only in the viewport where the artist
clicked Generate, and only from Blender's default or from what it set itself: no shading mode is switched.
"""

from __future__ import annotations

import bpy

FORMING, FINISHED = "VERTEX", "TEXTURE"


class ViewportColors:
    """Remembers which viewports it changed."""

    def __init__(self):
        self._changed: set[int] = set()

    def show_forming(self, space: bpy.types.SpaceView3D) -> None:
        """Show vertex colours in this viewport if it is in Solid view with the default colour source."""
        shading = space.shading
        ours = space.as_pointer() in self._changed and shading.color_type == FINISHED
        if shading.type == "SOLID" and (ours or shading.color_type == "MATERIAL"):
            shading.color_type = FORMING
            self._changed.add(space.as_pointer())

    def show_finished(self) -> None:
        """Show textures in the viewports that were changed and still show vertex colours."""
        for window in bpy.context.window_manager.windows:
            for area in window.screen.areas:
                space = area.spaces.active
                if area.type == "VIEW_3D" and space.as_pointer() in self._changed:
                    if space.shading.color_type == FORMING:
                        space.shading.color_type = FINISHED
