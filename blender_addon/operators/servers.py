# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing, adding, testing and leaving servers; the preference that lets extensions use the network."""

import bpy
from bpy.props import StringProperty

from .. import pump, state
from ..protocol.pairing import PairingError


class DREAMLIFT_OT_use_server(bpy.types.Operator):
    """Let this server make the objects"""

    bl_idname = "dreamlift.use_server"
    bl_label = "Use Server"
    bl_options = {"INTERNAL"}

    name: StringProperty()

    def execute(self, _context):
        app = state.current()
        if self.name != app.session.servers.in_use:
            app.session.use_server(self.name)
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_test_server(bpy.types.Operator):
    """Connect to this server and measure a round trip"""

    bl_idname = "dreamlift.test_server"
    bl_label = "Test"
    bl_options = {"INTERNAL"}

    name: StringProperty()

    def execute(self, _context):
        if not bpy.app.online_access:
            self.report({"ERROR"}, "Allow online access first (Preferences, System, Network)")
            return {"CANCELLED"}
        state.current().session.test(self.name)
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_add_server(bpy.types.Operator):
    """Add the server whose pairing string is in the field, or on the clipboard where the field is empty"""

    bl_idname = "dreamlift.add_server"
    bl_label = "Add Server"
    bl_options = {"INTERNAL"}

    def execute(self, context):
        app, window = state.current(), context.window_manager
        try:
            server = app.session.servers.add(window.dreamlift.pairing or window.clipboard)
        except PairingError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        window.dreamlift.pairing = ""
        app.session.use_server(server.name)
        app.session.test(server.name)
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_remove_server(bpy.types.Operator):
    """Forget this server and its keys"""

    bl_idname = "dreamlift.remove_server"
    bl_label = "Remove Server"
    bl_options = {"INTERNAL"}

    name: StringProperty()

    def invoke(self, context, event):
        """Asks first: the keys cannot be had back."""
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, _context):
        session = state.current().session
        was_in_use = session.servers.in_use == self.name
        session.servers.remove(self.name)
        if was_in_use:
            session.use_server(session.servers.in_use)
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_try_again(bpy.types.Operator):
    """Look for the server now"""

    bl_idname = "dreamlift.try_again"
    bl_label = "Try Again"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        state.current().session.retry()
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_show_servers(bpy.types.Operator):
    """Open Dreamlift's preferences: servers, and the backend on this computer"""

    bl_idname = "dreamlift.show_servers"
    bl_label = "Servers"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        bpy.ops.preferences.addon_show(module=__package__.rpartition(".")[0])
        return {"FINISHED"}


class DREAMLIFT_OT_allow_online(bpy.types.Operator):
    """Open the preference that lets extensions use the network: System, Network, Allow Online Access"""

    bl_idname = "dreamlift.allow_online"
    bl_label = "Allow"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        bpy.ops.screen.userpref_show(section="SYSTEM")
        return {"FINISHED"}


CLASSES = (
    DREAMLIFT_OT_use_server,
    DREAMLIFT_OT_test_server,
    DREAMLIFT_OT_add_server,
    DREAMLIFT_OT_remove_server,
    DREAMLIFT_OT_try_again,
    DREAMLIFT_OT_show_servers,
    DREAMLIFT_OT_allow_online,
)
