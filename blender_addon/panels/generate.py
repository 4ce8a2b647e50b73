# SPDX-License-Identifier: GPL-3.0-or-later
"""Panel Generate: source, prompt, preset, forecast, the button, and the server's settings under Options."""

import bpy

from .. import state
from ..jobs.choices import IMAGE
from ..properties.settings import FIELDS, SIZE_KEY
from ..snapshot import SeedsView, Snapshot
from .picture import draw_picture, draw_sources
from .shared import SidebarPanel, draw_card, draw_notes

SEED_SCALE = 2.9  # of a seed's picture; four fit the box at the default width
MOST_BUTTONS, MOST_LETTERS = 3, 24  # beside each other at the default width; more go into a menu


class DREAMLIFT_PT_generate(SidebarPanel, bpy.types.Panel):
    """Describe an object and make it"""

    bl_idname = "DREAMLIFT_PT_generate"
    bl_label = "Generate"
    bl_order = 0

    def draw_header_preset(self, _context):
        """The server in use and the way to the others."""
        app = state.current()
        if app is None:
            return
        row = self.layout.row(align=True)
        row.label(text=app.snapshot.server, icon=app.snapshot.link_icon)
        row.operator("dreamlift.show_servers", text="", icon="PREFERENCES", emboss=False)

    def draw(self, context):
        """The card alone while there is nothing to choose from; else the fields."""
        app = state.current()
        if app is None:
            return
        shown, fields = app.snapshot, context.scene.dreamlift
        layout = self.layout
        layout.use_property_decorate = False
        if shown.card is not None:
            draw_card(layout, shown.card)
        if not shown.presets:
            return
        draw_sources(layout, fields, shown)
        if shown.source == IMAGE:
            draw_picture(layout, fields, shown)
        words = "Describe it (optional)" if shown.source == IMAGE else "Describe what you want"
        if hasattr(layout, "textbox"):  # from Blender 5.2 on
            lines = 2 if shown.source == IMAGE else 3
            layout.textbox(fields, "prompt", initial_visible_lines=lines, placeholder=words)
        else:
            layout.prop(fields, "prompt", text="", placeholder=words)
        _draw_choices(layout, shown)
        if shown.forecast:
            row = layout.row()
            row.active = False
            row.label(text=shown.forecast, icon="INFO")
        row = layout.row(align=True)
        row.scale_y = 1.6
        row.operator("dreamlift.generate", icon="PLAY")
        if shown.can_preview:
            row.operator("dreamlift.preview_seeds", text="", icon="IMAGE_REFERENCE")
        if shown.seeds is not None:
            _draw_seeds(layout, fields, shown.seeds)
        header, body = layout.panel("dreamlift_options", default_closed=True)
        header.label(text="Options")
        if body is not None:
            _draw_options(body, fields, shown)


def _draw_choices(layout, shown: Snapshot) -> None:
    if len(shown.pipelines) > 1:
        row = layout.row(align=True)
        for pipeline in shown.pipelines:
            choose = row.operator("dreamlift.choose", text=pipeline.label, depress=pipeline.name == shown.pipeline)
            choose.pipeline, choose.preset, choose.help = pipeline.name, pipeline.presets[0].name, pipeline.help
    if len(shown.presets) > MOST_BUTTONS or sum(len(preset.label) for preset in shown.presets) > MOST_LETTERS:
        label = next(preset.label for preset in shown.presets if preset.name == shown.preset)
        layout.menu("DREAMLIFT_MT_presets", text=label, icon="PRESET")
    elif len(shown.presets) > 1:
        draw_presets(layout.row(align=True), shown)


def draw_presets(layout, shown: Snapshot) -> None:
    """One button for each preset, the chosen one pressed."""
    for preset in shown.presets:
        choose = layout.operator("dreamlift.choose", text=preset.label, depress=preset.name == shown.preset)
        choose.pipeline, choose.preset, choose.help = shown.pipeline, preset.name, preset.help


def _draw_seeds(layout, fields, view: SeedsView) -> None:
    """A box: what is drawn, how far, then each seed's pictures and its button, which is pressed for the kept seed."""
    box = layout.box()
    row = box.row()
    row.label(text=view.title, icon="IMAGE_REFERENCE")
    row.operator("dreamlift.drop_preview", text="", icon="X", emboss=False)
    if view.line:
        box.progress(factor=view.fraction, type="BAR", text=view.line)
    if view.problem is not None:
        draw_card(box, view.problem)
        return
    draw_notes(box, view.notes)
    for seed, icons in view.rows:
        if not icons:
            continue
        column = box.column(align=True)
        row = column.row(align=True)
        for icon in icons:
            row.template_icon(icon_value=icon, scale=SEED_SCALE)
        use = column.row()
        use.enabled = view.can_use
        kept = fields.keep_seed and fields.seed == seed
        use.operator("dreamlift.use_seed", text=f"Seed {seed}", icon="PLAY", depress=kept).seed = seed


def _draw_options(layout, fields, shown: Snapshot) -> None:
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.prop(fields, "size")
    row = column.row(align=True)
    row.prop(fields, "seed")
    row.prop(fields, "keep_seed", text="", icon="LOCKED" if fields.keep_seed else "UNLOCKED")
    if shown.can_preview:
        column.operator("dreamlift.preview_seeds", icon="IMAGE_REFERENCE")
    for setting in shown.settings:
        item = fields.settings.get(setting.key)
        if item is not None and setting.key != SIZE_KEY:
            column.prop(item, FIELDS[setting.type], text=setting.label)
    column.prop(fields, "negative_prompt")


class DREAMLIFT_MT_presets(bpy.types.Menu):
    """How much work goes into the object"""

    bl_idname = "DREAMLIFT_MT_presets"
    bl_label = "Preset"

    def draw(self, _context):
        """All presets of the chosen pipeline."""
        app = state.current()
        if app is not None:
            draw_presets(self.layout, app.snapshot)


CLASSES = (DREAMLIFT_PT_generate, DREAMLIFT_MT_presets)
