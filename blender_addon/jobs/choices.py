# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server offers, as the panel needs it: presets and settings described by data.

Knows the records of the welcome message. A new pipeline or setting on the server needs no new extension. No bpy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..protocol.messages import Pipeline, Setting

TEXT, IMAGE = "TEXT", "IMAGE"  # what an object is made from
REFERENCE = "reference"  # the role of the picture it is made from


def pipelines_of(source: str, pipelines: Iterable[Pipeline]) -> list[Pipeline]:
    """Those that make an object from words alone (`TEXT`) or from one picture (`IMAGE`)."""
    return [pipeline for pipeline in pipelines if pipeline.makes_objects and source in _sources(pipeline)]


def sources_of(pipelines: Iterable[Pipeline]) -> tuple[str, ...]:
    """What objects can be made from on this server, in the panel's order."""
    able = {source for pipeline in pipelines if pipeline.makes_objects for source in _sources(pipeline)}
    return tuple(source for source in (TEXT, IMAGE) if source in able)


def _sources(pipeline: Pipeline) -> tuple[str, ...]:
    if not pipeline.image_roles:
        return (TEXT,)
    return (IMAGE,) if REFERENCE in pipeline.image_roles else ()


def settings_of(pipeline: Pipeline, preset: str) -> list[Setting]:
    """The settings that this preset has, in the server's order."""
    return [setting for setting in pipeline.settings if preset in setting.defaults]


def checked(setting: Setting, value: Any) -> Any:
    """A value of the setting's type and within its range, nearest to `value`.

    Raises ValueError for a type no version of this extension knows.
    """
    if setting.type == "bool":
        return bool(value)
    if setting.type == "text":
        return str(value)
    if setting.type == "choice":
        return next((choice for choice in setting.choices if str(choice) == str(value)), setting.choices[0])
    if setting.type not in ("int", "float"):
        raise ValueError(f"setting {setting.key} has type {setting.type!r}")
    if setting.low is not None:
        value = max(value, setting.low)
    if setting.high is not None:
        value = min(value, setting.high)
    return int(value) if setting.type == "int" else float(value)


def changed(settings: Iterable[Setting], preset: str, values: dict[str, Any]) -> dict[str, Any]:
    """Only what differs from the preset's defaults, checked: what a request carries."""
    chosen = {}
    for setting in settings:
        if setting.key in values:
            value = checked(setting, values[setting.key])
            # Blender holds floats in 32 bits; 0.1 that went through a property is not 0.1 any more.
            default = setting.defaults[preset]
            same = abs(value - default) <= 1e-6 * max(1, abs(default)) if setting.type == "float" else value == default
            if not same:
                chosen[setting.key] = value
    return chosen
