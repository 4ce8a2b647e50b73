# SPDX-License-Identifier: GPL-3.0-or-later
"""Panel Now Running: four views, progress with time left, and what can be done. Hidden while nothing runs."""

import bpy

from .. import state
from ..snapshot import RunningView
from .shared import SidebarPanel, draw_notes

VIEW_SCALE = 3.2  # of a view's picture; four fit the default width


class DREAMLIFT_PT_running(SidebarPanel, bpy.types.Panel):
    """The object that forms at the moment"""

    bl_idname = "DREAMLIFT_PT_running"
    bl_label = "Now Running"
    bl_order = 1

    @classmethod
    def poll(cls, _context):
        """Only while a job waits or runs."""
        app = state.current()
        return app is not None and app.snapshot.running is not None

    def draw(self, context):
        """From top to bottom as the eye goes: what, how it looks, how far, what to do."""
        app = state.current()
        view = app.snapshot.running
        if view is None:
            return
        layout = self.layout
        row = layout.row(align=True)
        row.label(text=view.name, icon="MESH_DATA")
        if view.others > 0:
            more = row.row()
            more.alignment = "RIGHT"
            more.active = False
            more.label(text=f"+{view.others}")
        if view.icons:
            row = layout.row(align=True)
            for icon in view.icons:
                row.template_icon(icon_value=icon, scale=VIEW_SCALE)
        layout.progress(factor=view.fraction, type="BAR", text=view.line)
        if view.hold:
            layout.label(text=view.hold, icon="PAUSE")
        draw_notes(layout, view.notes)
        _draw_buttons(layout, view)
        if view.can_put_back:
            layout.operator("dreamlift.put_back", text="Put Back", icon="LOOP_BACK").job_id = view.job_id
        if view.is_here:
            window = context.window_manager.dreamlift
            icon = "RESTRICT_VIEW_OFF" if window.live else "RESTRICT_VIEW_ON"
            layout.prop(window, "live", text="Live in Viewport", icon=icon, toggle=True)
        else:
            layout.operator("dreamlift.put_back", text="Show in This Scene", icon="IMPORT").job_id = view.job_id


def _draw_buttons(layout, view: RunningView) -> None:
    row = layout.row(align=True)
    for command, text, icon, enabled in (
        ("PAUSE", "Pause", "PAUSE", view.can_pause),
        ("FINISH", "Use Now", "IMPORT", view.can_finish),
        ("CANCEL", "Cancel", "X", view.can_cancel),
    ):
        button = row.row(align=True)
        button.enabled = enabled
        operator = button.operator("dreamlift.command", text=text, icon=icon)
        operator.job_id, operator.command = view.job_id, command


CLASSES = (DREAMLIFT_PT_running,)
