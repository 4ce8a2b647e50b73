# SPDX-License-Identifier: GPL-3.0-or-later
"""What the window shows and nothing saves: the rows of the job list, the Live switch.

The rows live with the window manager because undo does not touch it: a job must not leave the list with Ctrl+Z.
"""

import bpy
from bpy.props import BoolProperty, CollectionProperty, FloatProperty, IntProperty, StringProperty


class DREAMLIFT_PG_row(bpy.types.PropertyGroup):
    """One line of the job list; `name` is the job's name."""

    job_id: StringProperty()
    icon: StringProperty()
    short: StringProperty()
    fraction: FloatProperty()
    has_bar: BoolProperty()


class DREAMLIFT_PG_window(bpy.types.PropertyGroup):
    """State of the panels."""

    rows: CollectionProperty(type=DREAMLIFT_PG_row)
    row_index: IntProperty(name="Job")
    live: BoolProperty(
        name="Live", description="Show the object in the viewport while it forms", default=True, options={"SKIP_SAVE"}
    )
    pairing: StringProperty(
        name="Pairing String",
        description="The line that `dreamlift keys add` printed on the other computer",
        options={"SKIP_SAVE"},
    )


CLASSES = (DREAMLIFT_PG_row, DREAMLIFT_PG_window)


def show_rows(window: DREAMLIFT_PG_window, rows) -> None:
    """Make the list's items those of the snapshot; the selected job stays selected wherever it moved.

    Args:
        window: The window manager's group.
        rows: `snapshot.Row`s.
    """
    index = window.row_index
    selected = window.rows[index].job_id if 0 <= index < len(window.rows) else ""
    while len(window.rows) > len(rows):
        window.rows.remove(len(window.rows) - 1)
    while len(window.rows) < len(rows):
        window.rows.add()
    for item, row in zip(window.rows, rows, strict=True):
        wanted = (row.job_id, row.name, row.icon, row.short, row.fraction or 0.0, row.fraction is not None)
        for field, value in zip(("job_id", "name", "icon", "short", "fraction", "has_bar"), wanted, strict=True):
            if getattr(item, field) != value:
                setattr(item, field, value)
    found = next((at for at, row in enumerate(rows) if row.job_id == selected), None)
    if found is not None and found != index:
        window.row_index = found
