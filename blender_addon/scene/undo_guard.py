# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be done again after Blender went to another state: undo, redo, another file, a save.

Blender's undo restores the geometry of the last undo step, so a streamed mesh falls back, and redo does not bring the
newer one. The handlers here only pass the event on; what to do is the owner's. They never call operators: undo is not
finished while they run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy


@dataclass(frozen=True)
class Reactions:
    """What the owner does; every function takes nothing and returns at once."""

    undone: Callable[[], None]
    loading: Callable[[], None]
    loaded: Callable[[], None]
    saving: Callable[[], None]


def handlers(reactions: Reactions) -> list[tuple[str, Callable]]:
    """Pairs of a list's name in `bpy.app.handlers` and the function for it, for the registration to add and remove."""

    @bpy.app.handlers.persistent
    def on_undo_or_redo(*_):
        reactions.undone()

    @bpy.app.handlers.persistent
    def on_load_pre(*_):
        reactions.loading()

    @bpy.app.handlers.persistent
    def on_load_post(*_):
        reactions.loaded()

    @bpy.app.handlers.persistent
    def on_save_pre(*_):
        reactions.saving()

    return [
        ("undo_post", on_undo_or_redo),
        ("redo_post", on_undo_or_redo),
        ("load_pre", on_load_pre),
        ("load_post", on_load_post),
        ("save_pre", on_save_pre),
    ]
