# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that Blender is told of, in one list: what `register` adds, `unregister` takes away in reverse.

A step that fails undoes the steps before it and lets the error out, so that a failed enable leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable

import bpy

from . import preferences, pump, state
from .operators import backend as backend_operators
from .operators import generate as generate_operators
from .operators import jobs as job_operators
from .operators import picture as picture_operators
from .operators import servers as server_operators
from .panels import generate as generate_panel
from .panels import jobs as jobs_panel
from .panels import running as running_panel
from .properties import settings as scene_settings
from .properties import window as window_rows
from .scene import undo_guard

Step = tuple[Callable[[], None], Callable[[], None]]

CLASSES = (
    *scene_settings.CLASSES,
    *window_rows.CLASSES,
    *preferences.CLASSES,
    *generate_operators.CLASSES,
    *picture_operators.CLASSES,
    *job_operators.CLASSES,
    *server_operators.CLASSES,
    *backend_operators.CLASSES,
    *generate_panel.CLASSES,
    *running_panel.CLASSES,
    *jobs_panel.CLASSES,
)

_done: list[Callable[[], None]] = []  # how to take back what was registered, in order


def register() -> None:
    """Run every step; on a failure take back what was done and raise."""
    if _done:
        raise RuntimeError("Dreamlift is registered already; unregister it first.")
    try:
        for do, undo in _steps():
            do()
            _done.append(undo)
    except Exception:
        unregister()
        raise


def unregister() -> None:
    """Take everything back, newest first."""
    while _done:
        _done.pop()()


def _steps() -> list[Step]:
    return [
        *(_class_step(each) for each in CLASSES),
        _property_step(bpy.types.Scene, scene_settings.DREAMLIFT_PG_scene),
        _property_step(bpy.types.WindowManager, window_rows.DREAMLIFT_PG_window),
        (pump.reset, scene_settings.forget_server),
        (lambda: state.start().look_for_command(preferences.get().command), state.stop),
        *(_handler_step(name, function) for name, function in undo_guard.handlers(pump.reactions())),
        (_start_timer, _stop_timer),
    ]


def _class_step(cls: type) -> Step:
    return lambda: bpy.utils.register_class(cls), lambda: bpy.utils.unregister_class(cls)


def _property_step(owner: type, group: type) -> Step:
    def do() -> None:
        owner.dreamlift = bpy.props.PointerProperty(type=group)

    def undo() -> None:
        del owner.dreamlift

    return do, undo


def _handler_step(name: str, function: Callable) -> Step:
    handlers = getattr(bpy.app.handlers, name)
    return lambda: handlers.append(function), lambda: handlers.remove(function)


def _start_timer() -> None:
    bpy.app.timers.register(pump.timer, first_interval=0.1, persistent=True)
    bpy.app.timers.register(_open_first_file, first_interval=0.0)


def _stop_timer() -> None:
    for function in (pump.timer, _open_first_file):
        if bpy.app.timers.is_registered(function):
            bpy.app.timers.unregister(function)


def _open_first_file() -> None:
    """The file that is open while the extension is enabled; `bpy.context` has no scene during `register`."""
    app = state.current()
    if app is not None:
        pump.open_file(app)
