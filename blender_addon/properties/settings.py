# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist sets, kept with the scene: prompt, preset, and the server's settings as it describes them.

Knows property groups. Which settings there are comes from the server; `sync` makes the groups follow it. Never called
while drawing.
"""

import random

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..jobs import choices
from ..protocol.messages import Setting
from ..scene import pictures

SIZE_KEY = "size_m"  # the panel has a field of its own for it
FIELDS = {"int": "whole", "float": "real", "bool": "switch", "choice": "option", "text": "words"}

# Blender keeps no reference to the strings of a dynamic enum, so they live here. Key: the setting's.
_options: dict[str, list[tuple[str, str, str]]] = {}
_bounds: dict[str, Setting] = {}


def _options_of(item, _context):
    return _options.get(item.name, [("", "", "")])


def _keep_in_range(item, _context) -> None:
    setting = _bounds.get(item.name)
    if setting is None:
        return
    field = FIELDS[setting.type]
    value = getattr(item, field)
    nearest = choices.checked(setting, value)
    if value != nearest and abs(value - nearest) > 1e-6 * max(1.0, abs(nearest)):
        setattr(item, field, nearest)


class DREAMLIFT_PG_setting(bpy.types.PropertyGroup):
    """One setting of the server; `name` is its key and only the field of its type is used."""

    whole: IntProperty(update=_keep_in_range)
    real: FloatProperty(update=_keep_in_range, precision=3)
    switch: BoolProperty()
    option: EnumProperty(items=_options_of)
    words: StringProperty()


def _make_usable(fields, _context) -> None:
    """An image was picked from the list: one that Blender made or changed is encoded now, not in a tick."""
    if fields.picture is None:
        pictures.forget_marks(fields)
        return
    usable = pictures.usable(fields.picture)
    if usable != fields.picture:
        fields.picture = usable  # comes here again, and changes nothing then


class DREAMLIFT_PG_scene(bpy.types.PropertyGroup):
    """The panel's fields; saved with the scene."""

    source: EnumProperty(
        name="Source",
        description="What the object is made from",
        items=[
            (choices.TEXT, "Text", "Make it from words", "FONT_DATA", 0),
            (choices.IMAGE, "Image", "Make it from an image of one thing", "IMAGE_DATA", 1),
        ],
    )
    picture: PointerProperty(
        type=bpy.types.Image,
        name="Image",
        description="An image of one thing, seen from its front",
        poll=lambda _fields, image: pictures.can_be_used(image),
        update=_make_usable,
    )
    cut_out: BoolProperty(
        name="Cut Out Subject",
        description="Show what is told from the background, and let you correct it, before the job starts. "
        "Off: the backend does that alone when the job starts",
        default=True,
    )
    threshold: FloatProperty(
        name="Threshold",
        description="How sure the backend must be that something belongs to the subject: higher cuts away more",
        default=0.5,
        min=0.05,
        max=0.95,
        subtype="FACTOR",
    )
    mask: PointerProperty(type=bpy.types.Image, options={"HIDDEN"})
    canvas: PointerProperty(type=bpy.types.Image, options={"HIDDEN"})
    prompt: StringProperty(name="Prompt", description="What you want, such as: a red mushroom", maxlen=2000)
    negative_prompt: StringProperty(name="Avoid", description="What the object should not be or have", maxlen=2000)
    pipeline: StringProperty(options={"HIDDEN"})
    preset: StringProperty(options={"HIDDEN"})
    settings: CollectionProperty(type=DREAMLIFT_PG_setting)
    settings_of: StringProperty(options={"HIDDEN"})
    seed: IntProperty(name="Seed", description="The same seed gives the same object again", min=0)
    keep_seed: BoolProperty(name="Keep Seed", description="Use this seed every time, not a new one")
    size: FloatProperty(
        name="Size",
        description="Length of the object's longest side",
        default=1.0,
        min=0.001,
        max=1000.0,
        subtype="DISTANCE",
        unit="LENGTH",
    )
    saved_jobs: StringProperty(options={"HIDDEN"})


CLASSES = (DREAMLIFT_PG_setting, DREAMLIFT_PG_scene)


def sync(fields: DREAMLIFT_PG_scene, pipeline: str, preset: str, settings: tuple[Setting, ...]) -> bool:
    """Make the scene's settings those of the chosen preset; values go to their defaults when the preset changes.

    Returns:
        True where something changed. Cheap where nothing does.
    """
    for setting in settings:
        if setting.type == "choice":
            wanted = [(str(value), str(value), setting.help) for value in setting.choices]
            if _options.get(setting.key) != wanted:
                _options[setting.key] = wanted
        _bounds[setting.key] = setting
    shape = f"{pipeline}/{preset}/" + ",".join(f"{setting.key}:{setting.type}" for setting in settings)
    if not settings or fields.settings_of == shape:
        return False
    fields.pipeline, fields.preset, fields.settings_of = pipeline, preset, shape
    fields.settings.clear()
    for setting in settings:
        item = fields.settings.add()
        item.name = setting.key
        setattr(item, FIELDS[setting.type], _as_field(setting, setting.defaults[preset]))
    return True


def values(fields: DREAMLIFT_PG_scene, settings: tuple[Setting, ...], preset: str) -> dict:
    """The request's settings: only what differs from the preset, and the size."""
    chosen = {}
    for setting in settings:
        item = fields.settings.get(setting.key)
        if item is not None:
            chosen[setting.key] = getattr(item, FIELDS[setting.type])
        if setting.key == SIZE_KEY:
            chosen[setting.key] = fields.size
    return choices.changed(settings, preset, chosen)


def apply(fields: DREAMLIFT_PG_scene, pipeline: str, preset: str, settings: tuple[Setting, ...], chosen: dict) -> None:
    """Put a request into the panel: its pipeline and preset, its settings, the preset's defaults for the others."""
    sync(fields, pipeline, preset, settings)
    for setting in settings:
        value = chosen.get(setting.key, setting.defaults[preset])
        item = fields.settings.get(setting.key)
        if item is not None:
            setattr(item, FIELDS[setting.type], _as_field(setting, value))
        if setting.key == SIZE_KEY:
            fields.size = value


def next_seed(fields: DREAMLIFT_PG_scene) -> int:
    """The seed of the next job: the kept one, or a new one that the field then shows."""
    if not fields.keep_seed:
        fields.seed = random_seed()
    return fields.seed


def preview_seeds(fields: DREAMLIFT_PG_scene, count: int) -> tuple[int, ...]:
    """Different seeds to look at: the kept one first where its lock is closed, the others new."""
    seeds = [fields.seed] if fields.keep_seed else []
    while len(seeds) < count:
        seed = random_seed()
        if seed not in seeds:
            seeds.append(seed)
    return tuple(seeds)


def random_seed() -> int:
    """Any seed that the panel's field can hold."""
    return random.randrange(1 << 31)


def forget_server() -> None:
    """Drop what was learnt of settings; called when the extension is disabled."""
    _options.clear()
    _bounds.clear()


def _as_field(setting: Setting, value):
    return str(value) if setting.type == "choice" else value
