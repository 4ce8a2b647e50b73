# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate, the preview of seeds, and the choices beside it."""

from dataclasses import replace
from pathlib import Path

import bpy
from bpy.props import IntProperty, StringProperty

from .. import preferences, pump, state
from ..jobs import words
from ..jobs.choices import IMAGE, REFERENCE
from ..jobs.job import Job
from ..jobs.seed_preview import SEED_COUNT
from ..properties import settings as scene_settings
from ..protocol.errors import ProtocolError
from ..protocol.messages import JobRequest
from ..protocol.transfers import Upload


def _is_ready(operator, context, is_able: bool, remedy: str) -> bool:
    """Whether there is a backend for it and a prompt or an image; the tooltip says what is missing."""
    if not is_able:
        operator.poll_message_set(remedy)
        return False
    shown = state.current().snapshot
    if shown.source == IMAGE:
        if shown.needs:
            operator.poll_message_set(shown.needs)
        return not shown.needs
    if not context.scene.dreamlift.prompt.strip():
        operator.poll_message_set("Describe what you want first")
        return False
    return True


class DREAMLIFT_OT_generate(bpy.types.Operator):
    """Make the described object at the 3D cursor"""

    bl_idname = "dreamlift.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context):
        """Says in the tooltip what is missing."""
        app = state.current()
        return _is_ready(cls, context, app is not None and app.snapshot.can_generate, "Connect to a backend first")

    def execute(self, context):
        """Send the request; the object appears with its first geometry."""
        app, fields = state.current(), context.scene.dreamlift
        settings = scene_settings.values(fields, app.snapshot.settings, app.snapshot.preset)
        described, images = _described(app, fields)
        request = replace(described, seed=scene_settings.next_seed(fields), settings=settings)
        return _make(self, context, request, images)


def _described(app: state.App, fields) -> tuple[JobRequest, dict[str, Upload]]:
    """What the panel says, without a seed and without settings, and the pictures that go with it."""
    shown, picture, images = app.snapshot, app.session.picture, {}
    name = words.object_name(fields.prompt)
    if shown.source == IMAGE:
        images[REFERENCE] = picture.upload(fields.cut_out and app.session.can_cut_out)
        name = name if fields.prompt.strip() else words.object_name(Path(picture.name).stem.replace("_", " "))
    request = JobRequest(
        pipeline=shown.pipeline,
        preset=shown.preset,
        prompt=fields.prompt.strip(),
        negative_prompt=fields.negative_prompt.strip(),
        images={role: upload.sha256 for role, upload in images.items()},
        name=name,
    )
    return request, images


def _make(operator, context, request: JobRequest, images: dict[str, Upload] | None = None) -> set[str]:
    """Send a request for an object at the 3D cursor; gives what the operator returns."""
    app, scene = state.current(), context.scene
    job = Job(
        id="",
        name=request.name,
        request=request,
        server=app.session.servers.in_use,
        here=True,
        location=tuple(scene.cursor.location),
        size=scene.dreamlift.size,
        scene_uid=scene.session_uid,
    )
    try:
        app.session.submit(job, images)
    except ProtocolError as error:
        operator.report({"ERROR"}, f"{error.what} {error.remedy}")
        return {"CANCELLED"}
    if preferences.get().viewport_colors and isinstance(context.space_data, bpy.types.SpaceView3D):
        app.colors.show_forming(context.space_data)
    pump.request_redraw()
    return {"FINISHED"}


class DREAMLIFT_OT_preview_seeds(bpy.types.Operator):
    """Show what the model draws from four seeds, to choose one before making the object"""

    bl_idname = "dreamlift.preview_seeds"
    bl_label = "Preview Seeds"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context):
        """Says in the tooltip what is missing."""
        app = state.current()
        can_preview = app is not None and app.snapshot.can_preview
        return _is_ready(cls, context, can_preview, "Connect to a backend whose model can draw seeds first")

    def execute(self, context):
        """Send the request; the pictures appear in the panel and get clearer."""
        app, fields = state.current(), context.scene.dreamlift
        seeds = scene_settings.preview_seeds(fields, SEED_COUNT)
        described, images = _described(app, fields)
        request = replace(described, goal="views", seeds=seeds, seed=seeds[0])
        try:
            app.session.preview_seeds(Job("", request.name, request, app.session.servers.in_use), images)
        except ProtocolError as error:
            self.report({"ERROR"}, f"{error.what} {error.remedy}")
            return {"CANCELLED"}
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_use_seed(bpy.types.Operator):
    """Make the object from this seed, with the prompt of the pictures; it follows the words, not every detail drawn"""

    bl_idname = "dreamlift.use_seed"
    bl_label = "Use Seed"
    bl_options = {"REGISTER"}

    seed: IntProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context):
        """Keep the seed in its field and start."""
        app, fields = state.current(), context.scene.dreamlift
        preview, shown = app.session.preview, app.snapshot
        if preview is None or self.seed not in preview.job.request.seeds or not shown.can_generate:
            self.report({"WARNING"}, "These pictures are gone, or the server is")
            return {"CANCELLED"}
        drawn = preview.job.request
        alike = (shown.pipeline, shown.preset) == (drawn.pipeline, drawn.preset)
        settings = scene_settings.values(fields, shown.settings, shown.preset) if alike else {}
        fields.seed, fields.keep_seed = self.seed, True
        app.session.settle_preview()
        return _make(self, context, preview.chosen(self.seed, settings))


class DREAMLIFT_OT_drop_preview(bpy.types.Operator):
    """Put the pictures of the seeds away; stops drawing them"""

    bl_idname = "dreamlift.drop_preview"
    bl_label = "Close"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        state.current().session.drop_preview()
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


CLASSES = (
    DREAMLIFT_OT_generate,
    DREAMLIFT_OT_preview_seeds,
    DREAMLIFT_OT_use_seed,
    DREAMLIFT_OT_drop_preview,
    DREAMLIFT_OT_choose,
    DREAMLIFT_OT_dismiss,
)
