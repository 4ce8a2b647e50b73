# SPDX-License-Identifier: GPL-3.0-or-later
"""The image an object is made from: chosen, pasted, dropped, taken from the view; its mask painted and used.

Each of these is one undo step. What follows (reading, cutting out) is the pump's.
"""

from pathlib import Path
from urllib.parse import unquote, urlparse

import bpy
from bpy.props import CollectionProperty, StringProperty

from .. import pump, state
from ..jobs.choices import IMAGE
from ..scene import capture, pictures
from ..scene.pictures import PictureError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".tga", ".exr", ".hdr")
UNDOABLE = {"REGISTER", "UNDO", "INTERNAL"}


def _use(operator, context, image: bpy.types.Image) -> set[str]:
    """Make this the panel's image; gives what the operator returns."""
    fields = context.scene.dreamlift
    pictures.forget_marks(fields)
    fields.picture, fields.source = image, IMAGE
    app = state.current()
    app.session.use_picture(None)  # read it again, also where it is the same file: it may have changed on disk
    if app.snapshot.sources and IMAGE not in app.snapshot.sources:
        operator.report({"WARNING"}, "This server makes no objects from images; the image is kept for one that does")
    pump.request_redraw()
    return {"FINISHED"}


def _use_file(operator, context, path: str) -> set[str]:
    try:
        return _use(operator, context, pictures.load(path))
    except PictureError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}


class DREAMLIFT_OT_choose_image(bpy.types.Operator):
    """Choose an image of one thing, seen from its front"""

    bl_idname = "dreamlift.choose_image"
    bl_label = "Choose Image"
    bl_options = UNDOABLE

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_image: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context, _event):
        """Open the file browser."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        """Use the file."""
        return _use_file(self, context, self.filepath)


class DREAMLIFT_OT_drop_image(bpy.types.Operator):
    """Make a 3D object from this image"""

    bl_idname = "dreamlift.drop_image"
    bl_label = "Make 3D Object (Dreamlift)"
    bl_options = UNDOABLE

    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    filepath: StringProperty(subtype="FILE_PATH", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, _context):
        """Wherever the extension runs."""
        return state.current() is not None

    def execute(self, context):
        """Use the first file and show the sidebar, where its cut-out appears."""
        names = [str(Path(self.directory) / file.name) for file in self.files if file.name] or [self.filepath]
        if len(names) > 1:
            self.report({"INFO"}, f"{Path(names[0]).name} is used; an object is made from one image")
        done = _use_file(self, context, names[0])
        if done == {"FINISHED"} and isinstance(context.space_data, bpy.types.SpaceView3D):
            context.space_data.show_region_ui = True
            _show_tab(context.area)
        return done


def _show_tab(area: bpy.types.Area) -> None:
    for region in area.regions:
        if region.type == "UI":
            try:
                region.active_panel_category = "Dreamlift"
            except AttributeError:  # a sidebar that was never drawn has no tabs yet; the artist picks it
                return


class DREAMLIFT_FH_image(bpy.types.FileHandler):
    """Image files that are dropped on a 3D viewport"""

    bl_idname = "DREAMLIFT_FH_image"
    bl_label = "Make 3D Object (Dreamlift)"
    bl_import_operator = "dreamlift.drop_image"
    bl_file_extensions = ";".join(EXTENSIONS)

    @classmethod
    def poll_drop(cls, context):
        """3D viewports; Blender asks which where another handler takes images too."""
        return context.area is not None and context.area.type == "VIEW_3D"


class DREAMLIFT_OT_paste_image(bpy.types.Operator):
    """Use the image on the clipboard, or the image file whose path is on it"""

    bl_idname = "dreamlift.paste_image"
    bl_label = "Paste"
    bl_options = UNDOABLE

    def execute(self, context):
        """A path first: text is on every system's clipboard, an image is not for Blender on X11."""
        path = _path_in(context.window_manager.clipboard)
        if path is not None:
            return _use_file(self, context, str(path))
        image = _clipboard_image(context)
        if image is None:
            self.report({"WARNING"}, "No image and no path of an image file is on the clipboard")
            return {"CANCELLED"}
        image.name = pictures.PASTED
        return _use(self, context, pictures.usable(image))


def _path_in(text: str) -> Path | None:
    """The image file that a text names: a path, quoted or not, or a file:// address."""
    line = text.strip().split("\n")[0].strip().strip("\"'")
    if line.startswith("file://"):
        line = unquote(urlparse(line).path)
        line = line[1:] if line[2:3] == ":" else line  # /C:/x.png
    path = Path(line)
    try:
        return path if line and path.suffix.lower() in EXTENSIONS and path.is_file() else None
    except OSError:  # a long text that is no path
        return None


def _clipboard_image(context) -> bpy.types.Image | None:
    """What Blender's own paste makes of the clipboard; it needs an Image Editor, so one is borrowed for a moment."""
    areas = [area for area in context.screen.areas if area != context.area]
    areas.sort(key=lambda area: (area.type != "IMAGE_EDITOR", area.width * area.height))
    if not areas:
        return None
    area, kind = areas[0], areas[0].ui_type
    if area.type != "IMAGE_EDITOR":
        area.ui_type = "IMAGE_EDITOR"
    try:
        space = area.spaces.active
        before = space.image
        with context.temp_override(area=area, region=area.regions[-1], space_data=space):
            if not bpy.ops.image.clipboard_paste.poll() or bpy.ops.image.clipboard_paste() != {"FINISHED"}:
                return None
        image, space.image = space.image, before
        return image
    finally:
        if area.ui_type != kind:
            area.ui_type = kind


class DREAMLIFT_OT_image_from_view(bpy.types.Operator):
    """Use what this viewport shows, without its overlays and its background"""

    bl_idname = "dreamlift.image_from_view"
    bl_label = "From View"
    bl_options = UNDOABLE

    @classmethod
    def poll(cls, context):
        """Needs a viewport that is drawn."""
        if bpy.app.background or not isinstance(context.space_data, bpy.types.SpaceView3D):
            cls.poll_message_set("Needs a 3D viewport")
            return False
        return True

    def execute(self, context):
        """Draw it off screen."""
        pixels = capture.view_pixels(context)
        if not pixels[..., 3].any():
            self.report({"WARNING"}, "Nothing is in view")
            return {"CANCELLED"}
        return _use(self, context, pictures.pack(pictures.FROM_VIEW, pixels))


class DREAMLIFT_OT_read_image_again(bpy.types.Operator):
    """Read the image again and have it cut out anew"""

    bl_idname = "dreamlift.read_image_again"
    bl_label = "Try Again"
    bl_options = {"INTERNAL"}

    def execute(self, _context):
        """The next ticks do it."""
        state.current().session.use_picture(None)
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_edit_mask(bpy.types.Operator):
    """Paint on the image in a new window: white over what belongs to the subject, black over what does not"""

    bl_idname = "dreamlift.edit_mask"
    bl_label = "Edit Mask"
    bl_options = UNDOABLE

    @classmethod
    def poll(cls, _context):
        """Needs a picture that was cut out."""
        app = state.current()
        picture = app.session.picture if app is not None else None
        return picture is not None and picture.is_cut_out and not picture.asked

    def execute(self, context):
        """Make the canvas and show it."""
        image = pictures.open_canvas(context.scene.dreamlift, state.current().session.picture.canvas())
        if not bpy.app.background:
            _show_canvas(context, image)
        pump.request_redraw()
        return {"FINISHED"}


class DREAMLIFT_OT_use_mask(bpy.types.Operator):
    """Use what was painted"""

    bl_idname = "dreamlift.use_mask"
    bl_label = "Use Mask"
    bl_options = UNDOABLE

    @classmethod
    def poll(cls, context):
        """While a mask is painted on."""
        app = state.current()
        return app is not None and context.scene.dreamlift.canvas is not None and app.session.picture is not None

    def execute(self, context):
        """Read the strokes and put the canvas away."""
        fields, picture = context.scene.dreamlift, state.current().session.picture
        if tuple(fields.canvas.size) != tuple(picture.size):
            self.report({"ERROR"}, "The image was cut out anew meanwhile; paint again")
            return _close(context)
        mask = picture.painted(pictures.read_canvas(fields))
        pictures.keep_mask(fields, mask)
        return _close(context)


class DREAMLIFT_OT_drop_mask(bpy.types.Operator):
    """Put what was painted away; the subject is again what the backend found"""

    bl_idname = "dreamlift.drop_mask"
    bl_label = "Drop Mask"
    bl_options = UNDOABLE

    def execute(self, context):
        """Marks of an earlier painting go too."""
        done = _close(context)
        pictures.forget_marks(context.scene.dreamlift)
        return done


def _show_canvas(context, image: bpy.types.Image) -> None:
    """A window of its own, so that the artist's editors stay as they are."""
    before = set(context.window_manager.windows)
    bpy.ops.wm.window_new()
    window = next((each for each in context.window_manager.windows if each not in before), None)
    if window is None:
        return
    area = window.screen.areas[0]
    area.ui_type = "IMAGE_EDITOR"
    space = area.spaces.active
    space.image, space.ui_mode = image, "PAINT"
    space.overlay.show_overlays = False  # the UVs of the selected object would lie over it


def _close(context) -> set[str]:
    """Close the window that shows the canvas, then the canvas."""
    canvas = context.scene.dreamlift.canvas
    for window in list(context.window_manager.windows):
        areas = window.screen.areas
        if canvas is None or len(areas) != 1 or areas[0].type != "IMAGE_EDITOR":
            continue
        if areas[0].spaces.active.image == canvas and len(context.window_manager.windows) > 1:
            with context.temp_override(window=window, area=areas[0]):
                bpy.ops.wm.window_close()
    pictures.close_canvas(context.scene.dreamlift)
    pump.request_redraw()
    return {"FINISHED"}


CLASSES = (
    DREAMLIFT_OT_choose_image,
    DREAMLIFT_OT_drop_image,
    DREAMLIFT_FH_image,
    DREAMLIFT_OT_paste_image,
    DREAMLIFT_OT_image_from_view,
    DREAMLIFT_OT_read_image_again,
    DREAMLIFT_OT_edit_mask,
    DREAMLIFT_OT_use_mask,
    DREAMLIFT_OT_drop_mask,
)
