# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a job. Every operator names its job, so that a button never acts on another one."""

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from .. import pump, state
from ..jobs import choices
from ..properties import settings as scene_settings
from ..protocol import messages
from ..protocol.errors import ProtocolError
from ..scene.live_object import find_finished, select_only

_COMMANDS = {
    "CANCEL": (messages.Cancel, "Stop and drop what was made"),
    "FINISH": (messages.Finish, "Stop here and turn what there is into a finished object"),
    "PAUSE": (messages.Pause, "Put it aside; it goes on later from where it is"),
    "RESUME": (messages.Resume, "Go on with it"),
    "REMOVE": (messages.Remove, "Forget this job and its files on the server; the object in the scene stays"),
}


class _JobOperator:
    """Finds the job and tells the panel; subclasses do one thing with it."""

    bl_options = {"INTERNAL"}

    job_id: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context):
        app = state.current()
        job = app.session.book.get(self.job_id)
        if job is None:
            self.report({"WARNING"}, "This job is gone")
            return {"CANCELLED"}
        pump.request_redraw()
        return self.act(context, app, job)


class DREAMLIFT_OT_command(_JobOperator, bpy.types.Operator):
    """Ask the server to do something with a job"""

    bl_idname = "dreamlift.command"
    bl_label = "Job"

    command: EnumProperty(items=[(key, key.capitalize(), text) for key, (_, text) in _COMMANDS.items()])

    @classmethod
    def description(cls, _context, properties):
        """What this command does."""
        return _COMMANDS[properties.command][1]

    def act(self, _context, app, job):
        app.session.ask(_COMMANDS[self.command][0](), job)
        return {"FINISHED"}


class DREAMLIFT_OT_again(_JobOperator, bpy.types.Operator):
    """Make it again, with another seed or with the settings that the error suggests"""

    bl_idname = "dreamlift.again"
    bl_label = "Again"

    use_suggestion: BoolProperty(options={"SKIP_SAVE"})
    new_seed: BoolProperty(options={"SKIP_SAVE"})

    def act(self, context, app, job):
        changes = {}
        if self.use_suggestion and job.problem is not None:
            changes["settings"] = {**job.request.settings, **job.problem.suggestion}
        if self.new_seed:
            changes["seed"] = scene_settings.random_seed()
        if not job.here:
            job.location, job.scene_uid = tuple(context.scene.cursor.location), context.scene.session_uid
        try:
            app.session.again(job, **changes)
        except ProtocolError as error:
            self.report({"ERROR"}, f"{error.what} {error.remedy}")
            return {"CANCELLED"}
        return {"FINISHED"}


class DREAMLIFT_OT_copy_settings(_JobOperator, bpy.types.Operator):
    """Put this job's prompt, seed and settings into the panel"""

    bl_idname = "dreamlift.copy_settings"
    bl_label = "Copy Settings"

    def act(self, context, app, job):
        fields, request = context.scene.dreamlift, job.request
        fields.prompt, fields.negative_prompt = request.prompt, request.negative_prompt
        fields.seed, fields.keep_seed = min(request.seed, 2**31 - 1), True
        fields.source = choices.IMAGE if choices.REFERENCE in request.images else choices.TEXT
        offered = app.session.welcome.pipelines if app.session.welcome else ()
        pipeline = next((each for each in offered if each.name == request.pipeline), None)
        settings = tuple(choices.settings_of(pipeline, request.preset)) if pipeline else ()
        if not settings:
            self.report(
                {"WARNING"}, f"This server has no preset {request.preset}; only the prompt and seed were copied"
            )
            return {"FINISHED"}
        scene_settings.apply(fields, request.pipeline, request.preset, settings, dict(request.settings))
        return {"FINISHED"}


class DREAMLIFT_OT_put_back(_JobOperator, bpy.types.Operator):
    """Put the object into this scene"""

    bl_idname = "dreamlift.put_back"
    bl_label = "Put in Scene"

    def act(self, _context, app, job):
        pump.put_back(app, job)
        return {"FINISHED"}


class DREAMLIFT_OT_select(_JobOperator, bpy.types.Operator):
    """Select the object and bring it into view"""

    bl_idname = "dreamlift.select"
    bl_label = "Select Object"
    bl_options = {"INTERNAL", "UNDO"}

    def act(self, context, _app, job):
        found = find_finished(job.id)
        if found is None or context.mode != "OBJECT" or not select_only(context, found):
            self.report({"WARNING"}, "The object is not in this view layer, or a mode is active")
            return {"CANCELLED"}
        if isinstance(context.space_data, bpy.types.SpaceView3D):
            region = next(region for region in context.area.regions if region.type == "WINDOW")
            with context.temp_override(region=region):
                bpy.ops.view3d.view_selected()
        return {"FINISHED"}


class DREAMLIFT_OT_mark_asset(_JobOperator, bpy.types.Operator):
    """Put the object into the Asset Browser"""

    bl_idname = "dreamlift.mark_asset"
    bl_label = "Mark as Asset"
    bl_options = {"INTERNAL", "UNDO"}

    def act(self, _context, app, job):
        return {"FINISHED"} if pump.mark_asset(app, job) else {"CANCELLED"}


class DREAMLIFT_OT_copy_report(_JobOperator, bpy.types.Operator):
    """Copy what is known about this problem, for a bug report"""

    bl_idname = "dreamlift.copy_report"
    bl_label = "Copy Report"

    def act(self, context, app, job):
        welcome = app.session.welcome
        lines = [
            f"Dreamlift {state.VERSION}, Blender {bpy.app.version_string}",
            f"server {welcome.server} {welcome.server_version}" if welcome else "no server",
            f"job {job.id} {job.state.value if job.state else 'not sent'}",
            f"request {job.request.to_body()}",
            f"problem {job.problem.to_body() if job.problem else 'none'}",
        ]
        context.window_manager.clipboard = "\n".join(lines)
        self.report({"INFO"}, "The report is on the clipboard")
        return {"FINISHED"}


CLASSES = (
    DREAMLIFT_OT_command,
    DREAMLIFT_OT_again,
    DREAMLIFT_OT_copy_settings,
    DREAMLIFT_OT_put_back,
    DREAMLIFT_OT_select,
    DREAMLIFT_OT_mark_asset,
    DREAMLIFT_OT_copy_report,
)
