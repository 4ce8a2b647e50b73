# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's preferences: servers, the backend on this computer, what the viewport shows.

Draws from the session's lists and computes nothing. The servers themselves are not here: they hold keys and lie in a
file of their own (client/servers.py).
"""

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty, StringProperty

from . import state


class DreamliftPreferences(bpy.types.AddonPreferences):
    """Settings of this Blender, for all files."""

    bl_idname = __package__

    command: StringProperty(
        name="Command",
        description="The dreamlift program, its virtual environment or its checkout; empty searches for it",
        subtype="FILE_PATH",
    )
    port: IntProperty(
        name="Port", description="TCP port of the backend on this computer; 0 takes a free one", min=0, max=65535
    )
    start_with_blender: BoolProperty(
        name="Start with Blender", description="Start the backend on this computer when Blender starts"
    )
    live_rate: FloatProperty(
        name="Live Rate",
        description="How often a second the object may change; less where the machine cannot keep up",
        default=2.0,
        min=0.2,
        max=10.0,
    )
    triangle_limit: IntProperty(
        name="Triangle Limit",
        description="Previews with more triangles than this are not shown while the object forms",
        default=300_000,
        min=1_000,
        max=5_000_000,
    )
    viewport_colors: BoolProperty(
        name="Colors in Solid View",
        description="Let Solid view show the object's colors in the viewport where Generate was clicked",
        default=True,
    )
    mark_assets: BoolProperty(
        name="Mark Results as Assets", description="Put every finished object into the Asset Browser"
    )

    def draw(self, _context):
        """Two columns of fields, the servers as rows."""
        layout = self.layout
        app = state.current()
        if app is None:
            layout.label(text="Dreamlift did not start; see the console.", icon="ERROR")
            return
        _draw_servers(layout, app)
        _draw_backend(layout, self, app)
        box = layout.box()
        box.label(text="Viewport", icon="VIEW3D")
        column = box.column()
        column.use_property_split = True
        column.prop(self, "live_rate")
        column.prop(self, "triangle_limit")
        column.prop(self, "viewport_colors")
        column.prop(self, "mark_assets")


def _draw_servers(layout, app) -> None:
    box = layout.box()
    box.label(text="Servers", icon="NETWORK_DRIVE")
    column = box.column(align=True)
    for server in app.snapshot.servers:
        row = column.split(factor=0.8, align=True)
        icon = "RADIOBUT_ON" if server.in_use else "RADIOBUT_OFF"
        row.operator("dreamlift.use_server", text=server.name, icon=icon, depress=server.in_use).name = server.name
        tools = row.row(align=True)
        tools.operator("dreamlift.test_server", text="Test").name = server.name
        if server.can_remove:
            tools.operator("dreamlift.remove_server", text="", icon="X").name = server.name
        if server.answer:
            answer = column.row()
            answer.alert = server.ok is False
            answer.label(text=server.answer, icon={None: "TIME", True: "CHECKMARK", False: "ERROR"}[server.ok])
    row = box.split(factor=0.8, align=True)
    row.prop(bpy.context.window_manager.dreamlift, "pairing", text="", placeholder="Paste a pairing string")
    row.operator("dreamlift.add_server", text="Add Server", icon="ADD")
    box.label(text="On the other computer: dreamlift serve, then dreamlift keys add NAME")


def _draw_backend(layout, preferences, app) -> None:
    box = layout.box()
    box.label(text="Backend on This Computer", icon="DESKTOP")
    column = box.column()
    column.use_property_split = True
    column.prop(preferences, "command", placeholder=app.command_text)
    column.prop(preferences, "port")
    column.prop(preferences, "start_with_blender")
    row = box.row(align=True)
    if app.snapshot.backend_runs:
        row.operator("dreamlift.stop_backend", icon="PAUSE")
    else:
        row.operator("dreamlift.start_backend", icon="PLAY")
    row.operator("dreamlift.show_log", icon="TEXT")


CLASSES = (DreamliftPreferences,)


def get() -> DreamliftPreferences:
    """The preferences of this Blender."""
    return bpy.context.preferences.addons[__package__].preferences
