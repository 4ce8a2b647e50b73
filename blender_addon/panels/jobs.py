# SPDX-License-Identifier: GPL-3.0-or-later
"""Panel Jobs: all jobs with their states, a menu for the selected one, and its error with what mends it."""

import bpy

from .. import state
from ..snapshot import Row
from .shared import SidebarPanel, draw_card, draw_notes


class DREAMLIFT_UL_jobs(bpy.types.UIList):
    """One line a job: icon, name, percent or state"""

    bl_idname = "DREAMLIFT_UL_jobs"

    def draw_item(self, _context, layout, _data, item, _icon, _active_data, _active_property, _index=0, _flag=0):
        """Called by Blender for every visible line."""
        split = layout.split(factor=0.62, align=True)
        split.label(text=item.name, icon=item.icon or "BLANK1")
        if item.has_bar:
            split.progress(factor=item.fraction, type="BAR", text=item.short)
        else:
            split.label(text=item.short)


class DREAMLIFT_MT_job(bpy.types.Menu):
    """What can be done with the selected job"""

    bl_idname = "DREAMLIFT_MT_job"
    bl_label = "Job"

    def draw(self, context):
        """Only what is possible in the job's state."""
        row = selected(context)
        if row is None:
            return
        layout = self.layout
        if row.can_place:
            layout.operator("dreamlift.put_back", icon="IMPORT").job_id = row.job_id
        if row.in_scene:
            layout.operator("dreamlift.select", icon="RESTRICT_SELECT_OFF").job_id = row.job_id
            if row.icon == "CHECKMARK":
                layout.operator("dreamlift.mark_asset", icon="ASSET_MANAGER").job_id = row.job_id
        layout.separator()
        layout.operator("dreamlift.again", icon="FILE_REFRESH").job_id = row.job_id
        variation = layout.operator("dreamlift.again", text="Variation", icon="DUPLICATE")
        variation.job_id, variation.new_seed = row.job_id, True
        layout.operator("dreamlift.copy_settings", icon="COPYDOWN").job_id = row.job_id
        if row.can_resume:
            _command(layout, row, "RESUME", "Resume", "PLAY")
        if row.can_cancel:
            _command(layout, row, "CANCEL", "Cancel", "X")
        if row.can_remove:
            layout.separator()
            _command(layout, row, "REMOVE", "Remove", "TRASH")


class DREAMLIFT_PT_jobs(SidebarPanel, bpy.types.Panel):
    """Jobs of this file and of the server"""

    bl_idname = "DREAMLIFT_PT_jobs"
    bl_label = "Jobs"
    bl_order = 2

    @classmethod
    def poll(cls, _context):
        """Not before there is one."""
        app = state.current()
        return app is not None and bool(app.snapshot.rows)

    def draw_header_preset(self, context):
        """The selected job's menu; in the header, because beside the list it would take a fifth of the width."""
        chosen = selected(context)
        row = self.layout.row()
        row.enabled = chosen is not None and bool(chosen.job_id)
        row.menu("DREAMLIFT_MT_job", text="Actions", icon="DOWNARROW_HLT")

    def draw(self, context):
        """The list, then what the selected job needs."""
        window = context.window_manager.dreamlift
        self.layout.template_list("DREAMLIFT_UL_jobs", "", window, "rows", window, "row_index", rows=3, maxrows=6)
        chosen = selected(context)
        if chosen is None:
            return
        if chosen.can_resume:
            _command(self.layout, chosen, "RESUME", "Resume", "PLAY")
        elif chosen.can_place:
            self.layout.operator("dreamlift.put_back", icon="IMPORT").job_id = chosen.job_id
        if chosen.problem is not None:
            draw_card(self.layout, chosen.problem)
        draw_notes(self.layout, chosen.notes)


def selected(context) -> Row | None:
    """The snapshot's row of the line that is selected in the list."""
    app = state.current()
    index = context.window_manager.dreamlift.row_index
    if app is None or not 0 <= index < len(app.snapshot.rows):
        return None
    return app.snapshot.rows[index]


def _command(layout, row: Row, command: str, text: str, icon: str) -> None:
    operator = layout.operator("dreamlift.command", text=text, icon=icon)
    operator.job_id, operator.command = row.job_id, command


CLASSES = (DREAMLIFT_UL_jobs, DREAMLIFT_MT_job, DREAMLIFT_PT_jobs)
