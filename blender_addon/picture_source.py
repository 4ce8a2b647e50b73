# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's image on its way to a request: read, cut out, marked, encoded, a step of each in every tick of the pump.

Knows the scene's fields and the session. What is done to the pixels is jobs/picture.py's, what Blender does with images
is scene/pictures.py's.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import bpy

from .jobs.choices import IMAGE
from .jobs.picture import PicturePrompt
from .protocol.messages import Problem
from .scene import pictures
from .state import App

log = logging.getLogger(__name__)

SHOWN = "picture"  # where it lies among the thumbnails


def tend(app: App, now: float, budget: float) -> bool:
    """One step; whether panels show something else now.

    Args:
        app: The running instance.
        now: Monotonic seconds.
        budget: Seconds to read and encode; what the artist marked is taken besides, once.
    """
    scene = bpy.context.scene
    fields = scene.dreamlift if scene else None
    image = fields.picture if fields is not None and fields.source == IMAGE else None
    if image is None:
        if app.session.picture is None:
            return False
        app.session.use_picture(None)
        return True
    key, picture = pictures.identity(image), app.session.picture
    if picture is None or picture.key != key:
        app.session.use_picture(_opened(key, image))
        app.picture_icon = app.cut_icon = 0
        return True
    was_read = picture.source is not None
    if not picture.fresh:  # showing it takes a tick of its own
        picture.step(time.perf_counter() + budget)
    holds_still = fields.canvas is not None and picture.is_cut_out  # it is painted on
    can_ask = app.snapshot.online and app.session.can_cut_out
    if can_ask and fields.cut_out and not holds_still and picture.want(fields.threshold, now):
        app.session.cut_out(picture)
    changed = picture.fresh or was_read != (picture.source is not None)
    if picture.is_cut_out and not picture.asked and _take_mask(picture, fields.mask):
        return True
    if picture.fresh:
        picture.fresh = False
        shown = picture.shown()
        app.cut_icon = app.thumbnails.show(SHOWN, shown) if shown is not None else 0
    return _choose_icon(app, image, bool(app.cut_icon and fields.cut_out)) or changed


def _choose_icon(app: App, image: bpy.types.Image, is_cut: bool) -> bool:
    """The subject where one is cut out, else Blender's preview of the image; whether it is another one now."""
    before = app.picture_icon
    if is_cut:
        app.picture_icon, app.borrows_icon = app.cut_icon, False
    elif not (app.borrows_icon and app.picture_icon):
        app.picture_icon, app.borrows_icon = pictures.icon(image), True
    return app.picture_icon != before


def give_icon_back(app: App) -> None:
    """Blender's own preview of an image goes with the datablock, which undo and loading replace."""
    if app.borrows_icon:
        app.picture_icon, app.borrows_icon = 0, False
        if app.snapshot.picture is not None:
            app.snapshot = replace(app.snapshot, picture=replace(app.snapshot.picture, icon=0))


def save(fields) -> None:
    """Before the file is saved: strokes on the canvas go into it."""
    pictures.keep_canvas(fields)


def _opened(key: str, image: bpy.types.Image) -> PicturePrompt:
    try:
        return PicturePrompt(key, image.name, pictures.open_file(image))
    except pictures.PictureError as error:
        log.info("%s", error)
        problem = Problem(code="bad_image", what=str(error)[:1000], remedy="Choose another image.")
        return PicturePrompt(key, image.name, None, problem)


def _take_mask(picture: PicturePrompt, image: bpy.types.Image | None) -> bool:
    """Read the mask's pixels, only where it is another one than before; whether it is."""
    key = (pictures.identity(image), picture.size) if image is not None else None
    if picture.mask_key == key:
        return False
    picture.mask_key = key
    picture.apply_mask(pictures.read_mask(image, *picture.size) if image is not None else None)
    return True
