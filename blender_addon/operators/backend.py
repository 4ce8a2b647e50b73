# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend on this computer: start, stop, look into its log."""

import bpy

from .. import pump, state


class DREAMLIFT_OT_start_backend(bpy.types.Operator):
    """Start the backend on this computer"""

    bl_idname = "dreamlift.start_backend"
    bl_label = "Start Backend"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        app = state.current()
        try:
            started = pump.start_backend(app)
        except OSError as error:
            self.report({"ERROR"}, f"The backend cannot be started: {error}")
            return {"CANCELLED"}
        if app.command is None:
            self.report({"ERROR"}, "The dreamlift command was not found; choose it in Dreamlift's preferences")
            bpy.ops.dreamlift.show_servers()
            return {"CANCELLED"}
        if not started:
            self.report({"INFO"}, "The backend was started a moment ago")
        return {"FINISHED"}


class DREAMLIFT_OT_stop_backend(bpy.types.Operator):
    """Stop the backend that this Blender started; unfinished jobs go on when it is started again"""

    bl_idname = "dreamlift.stop_backend"
    bl_label = "Stop Backend"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        state.current().backend.stop()
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_show_log(bpy.types.Operator):
    """Open the backend's log in the system's text viewer"""

    bl_idname = "dreamlift.show_log"
    bl_label = "Show Log"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        path = state.current().backend.log_path
        if not path.exists():
            self.report({"INFO"}, "There is no log yet: this Blender has not started a backend")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(path))
        return {"FINISHED"}


CLASSES = (DREAMLIFT_OT_start_backend, DREAMLIFT_OT_stop_backend, DREAMLIFT_OT_show_log)
