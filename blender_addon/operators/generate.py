# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate, and the choices beside it."""

import bpy
from bpy.props import StringProperty

from .. import preferences, pump, state
from ..jobs import words
from ..jobs.job import Job
from ..properties import settings as scene_settings
from ..protocol.errors import ProtocolError
from ..protocol.messages import JobRequest


class DREAMLIFT_OT_generate(bpy.types.Operator):
    """Make the described object at the 3D cursor"""

    bl_idname = "dreamlift.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context):
        """Says in the tooltip what is missing."""
        app = state.current()
        if app is None or not app.snapshot.can_generate:
            cls.poll_message_set("Connect to a backend first")
            return False
        if not context.scene.dreamlift.prompt.strip():
            cls.poll_message_set("Describe what you want first")
            return False
        return True

    def execute(self, context):
        """Send the request; the object appears with its first geometry."""
        app, fields = state.current(), context.scene.dreamlift
        shown = app.snapshot
        request = JobRequest(
            pipeline=shown.pipeline,
            preset=shown.preset,
            prompt=fields.prompt.strip(),
            negative_prompt=fields.negative_prompt.strip(),
            seed=scene_settings.next_seed(fields),
            settings=scene_settings.values(fields, shown.settings, shown.preset),
            name=words.object_name(fields.prompt),
        )
        job = Job(
            id="",
            name=request.name,
            request=request,
            server=app.session.servers.in_use,
            here=True,
            location=tuple(context.scene.cursor.location),
            size=fields.size,
            scene_uid=context.scene.session_uid,
        )
        try:
            app.session.submit(job)
        except ProtocolError as error:
            self.report({"ERROR"}, f"{error.what} {error.remedy}")
            return {"CANCELLED"}
        if preferences.get().viewport_colors and isinstance(context.space_data, bpy.types.SpaceView3D):
            app.colors.show_forming(context.space_data)
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_choose(bpy.types.Operator):
    """Choose this one"""

    bl_idname = "dreamlift.choose"
    bl_label = "Choose"
    bl_options = {"INTERNAL"}

    pipeline: StringProperty()
    preset: StringProperty()
    help: StringProperty()

    @classmethod
    def description(cls, _context, properties):
        """What the server says about it."""
        return properties.help

    def execute(self, context):
        """The next tick brings the settings of the new preset."""
        context.scene.dreamlift.pipeline, context.scene.dreamlift.preset = self.pipeline, self.preset
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_dismiss(bpy.types.Operator):
    """Put the message away"""

    bl_idname = "dreamlift.dismiss"
    bl_label = "OK"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        """The request stays in the panel."""
        state.current().session.dismiss()
        return {"FINISHED"}


CLASSES = (DREAMLIFT_OT_generate, DREAMLIFT_OT_choose, DREAMLIFT_OT_dismiss)
