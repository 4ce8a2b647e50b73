# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the panel Generate that is about an image: where it comes from, what is cut out of it."""

from ..snapshot import PictureView, Snapshot
from .shared import draw_card, draw_notes

THUMB_SCALE = 3.8  # beside four buttons
SUBJECT_SCALE = 8.0  # of the cut-out; fills the default width


def draw_sources(layout, fields, shown: Snapshot) -> None:
    """Text or Image, where this server offers both."""
    if len(shown.sources) > 1:
        row = layout.row(align=True)
        for source in shown.sources:
            row.prop_enum(fields, "source", source)


def draw_picture(layout, fields, shown: Snapshot) -> None:
    """Thumbnail and the four buttons, then the subject."""
    view = shown.picture
    split = layout.split(factor=0.34)
    thumb = split.column()
    if view is not None and view.icon:
        thumb.template_icon(icon_value=view.icon, scale=THUMB_SCALE)
    else:
        box = thumb.box()
        box.scale_y = THUMB_SCALE * 0.72
        box.label(text="", icon="IMAGE_DATA")
    column = split.column(align=True)
    column.operator("dreamlift.choose_image", text="Choose Image...", icon="FILE_FOLDER")
    column.operator("dreamlift.paste_image", icon="PASTEDOWN")
    column.operator("dreamlift.image_from_view", icon="RESTRICT_VIEW_OFF")
    cut = column.row(align=True)
    cut.enabled = view is None or view.can_cut
    cut.prop(fields, "cut_out", toggle=True, icon="IMAGE_ALPHA")
    layout.prop(fields, "picture", text="")
    if view is not None:
        _draw_subject(layout, fields, view)


def _draw_subject(layout, fields, view: PictureView) -> None:
    if view.problem is not None:
        draw_card(layout, view.problem)
        return
    if not (view.is_busy or view.is_cut or view.notes):
        return
    header, body = layout.panel("dreamlift_subject", default_closed=False)
    header.label(text=view.line or "Subject", icon="TIME" if view.is_busy else "NONE")
    if body is None:
        return
    if view.icon:
        body.template_icon(icon_value=view.icon, scale=SUBJECT_SCALE)
    draw_notes(body, view.notes)
    if view.is_painting:
        draw_notes(body, ("White is subject, black is not.", "X swaps the two."))
        row = body.row(align=True)
        row.operator("dreamlift.use_mask", icon="CHECKMARK")
        row.operator("dreamlift.drop_mask", text="", icon="X")
        return
    if view.is_cut:
        body.prop(fields, "threshold", slider=True)
        row = body.row(align=True)
        row.operator("dreamlift.edit_mask", icon="BRUSH_DATA")
        if fields.mask is not None:
            row.operator("dreamlift.drop_mask", text="", icon="X")
