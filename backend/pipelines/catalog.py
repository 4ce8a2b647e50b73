"""What the pipelines are called and what may be set on them, as data that a panel or a command line can draw.

Knows names, labels, defaults and ranges. Knows no torch: the service reads it for its handshake and checks requests
with it. The values a pipeline really uses stand in its own settings class; a test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dreamlift.pipelines.context import RequestError

Scalar = int | float | str | bool
MOST_SEEDS = 16  # of one request for views


@dataclass(frozen=True)
class SettingDescription:
    """One setting of a pipeline.

    Args:
        key: Name in `Request.settings`.
        label: For a panel, at most 28 characters.
        type: "int", "float", "bool", "choice" or "text".
        defaults: Preset name to value; a preset that is not here does not have the setting.
        low, high: Inclusive range of numbers; None for no bound.
        choices: Allowed values of a "choice".
        unit: For people, such as "m"; may be empty.
        help: One or two sentences.
    """

    key: str
    label: str
    type: str
    defaults: Mapping[str, Scalar]
    low: float | None = None
    high: float | None = None
    choices: tuple[Scalar, ...] = ()
    unit: str = ""
    help: str = ""


@dataclass(frozen=True)
class PresetDescription:
    """One preset of a pipeline: a name for programs, a label and a sentence for people."""

    name: str
    label: str
    help: str


@dataclass(frozen=True)
class PipelineDescription:
    """One pipeline; the first preset is the default.

    Args:
        image_roles: The pictures it takes, the first of which it needs; empty where it makes objects from words alone.
        view_names: The sides that its prior draws of each seed, so that a seed can be chosen before there is geometry;
            empty where it cannot do that. The module then has `sample_views(request, context)`.
        makes_objects: Whether its module has `plan` and `run`. One that does not is for views alone: `check_object`
            refuses it, and no panel or command offers it for making an object.
        needs_prompt: Whether it cannot do without words; a request to one that can may have an empty prompt.
    """

    name: str
    label: str
    help: str
    presets: tuple[PresetDescription, ...]
    settings: tuple[SettingDescription, ...]
    image_roles: tuple[str, ...] = ()
    view_names: tuple[str, ...] = ()
    makes_objects: bool = True
    needs_prompt: bool = True


def _defaults(mini: Scalar, full: Scalar, *others: str) -> dict[str, Scalar]:
    """A setting's defaults: the mini preset's, and one for the full preset and the others that are made of it."""
    return {"mini": mini, "full": full, **dict.fromkeys(others, full)}


def _of_fields(strength: tuple[float, float], steps: int, others: tuple[str, ...]) -> tuple[SettingDescription, ...]:
    """Settings of every pipeline that optimises a field.

    Args:
        strength: Of the guidance, mini and full.
        steps: Of the full preset.
        others: Presets that are made of the full one.
    """
    return (
        SettingDescription(
            "steps",
            "Steps",
            "int",
            _defaults(320, steps, *others),
            low=10,
            high=50000,
            help="Optimisation steps. Fewer are faster and rougher.",
        ),
        SettingDescription(
            "guidance_scale",
            "Prompt Strength",
            "float",
            _defaults(*strength, *others),
            low=1.0,
            high=100.0,
            help="Classifier-free guidance. Higher follows the prompt more closely, with stronger colours.",
        ),
        SettingDescription(
            "triangles",
            "Triangles",
            "int",
            _defaults(8000, 20000, *others),
            low=100,
            high=200000,
            help="The finished mesh has about this many triangles, or fewer where it needs fewer.",
        ),
        SettingDescription(
            "texture_size",
            "Texture",
            "choice",
            _defaults(1024, 2048, *others),
            choices=(512, 1024, 2048),
            unit="px",
            help="Width and height of the base colour texture.",
        ),
        SettingDescription(
            "size_m",
            "Size",
            "float",
            _defaults(1.0, 1.0, *others),
            low=0.001,
            high=1000.0,
            unit="m",
            help="Length of the finished object's longest side.",
        ),
        SettingDescription(
            "refine_texture",
            "Refine Texture",
            "bool",
            _defaults(True, False, *others),
            help="Paint the finished mesh once more under the same model: sharper colours, some seconds longer.",
        ),
    )


_OF_PICTURES = (
    SettingDescription(
        "controller",
        "Controller",
        "choice",
        _defaults("pixel", "pixel", "paper"),
        choices=("pixel", "local", "global"),
        help="What the model is shown of the picture: the picture itself, features of its parts, or one of the whole. "
        "Only the mini model has weights for global.",
    ),
    SettingDescription(
        "background_match",
        "Background Match",
        "choice",
        _defaults("rgb", "rgb", "paper"),
        choices=("rgb", "grey", "off"),
        help="What stands behind the picture while the object forms: the colour behind the object, its grey as in the "
        "released code, or always the same grey.",
    ),
    SettingDescription(
        "camera_alignment",
        "Camera Alignment",
        "bool",
        _defaults(True, True, "paper"),
        help="Keep to the cameras that the model knows from pictures. Off takes the wide ranges made for text.",
    ),
    SettingDescription(
        "match_picture",
        "Match Picture",
        "bool",
        _defaults(True, False, "paper"),
        help="Find from where the picture was taken, shape outline and proportions by it and take its colours. "
        "Off leaves it to the model alone, as published.",
    ),
)

_SIDES = ("front", "right", "back", "left")

PIPELINES: dict[str, PipelineDescription] = {
    "mvdream": PipelineDescription(
        name="mvdream",
        label="MVDream",
        help="Text to 3D: a prior that draws four sides at once guides the object from every side.",
        view_names=_SIDES,
        presets=(
            PresetDescription("mini", "Mini", "The embedded small model. Simple objects in a minute, without a GPU."),
            PresetDescription("full", "Full", "The published model. Needs its weights and a CUDA GPU."),
            PresetDescription("full-plain", "Full, unlit", "As Full, without shading: the published plain preset."),
            PresetDescription("full-legacy", "Full, as released", "As Full, with the released code's elevations."),
        ),
        settings=_of_fields((1.8, 50.0), 10000, ("full-plain", "full-legacy")),
    ),
    "imagedream": PipelineDescription(
        name="imagedream",
        label="ImageDream",
        help="Image to 3D: a prior that sees the picture and draws four sides at once guides the object.",
        presets=(
            PresetDescription("mini", "Mini", "The embedded small model. Simple objects in a minute, without a GPU."),
            PresetDescription("full", "Full", "The published model, as released. Needs its weights and a CUDA GPU."),
            PresetDescription("paper", "Full, as in the paper", "As Full, with the camera distances of the paper."),
        ),
        settings=(*_of_fields((1.0, 5.0), 12500, ("paper",)), *_OF_PICTURES),
        image_roles=("reference", "mask"),
        view_names=_SIDES,
        needs_prompt=False,
    ),
    "v3d": PipelineDescription(
        name="v3d",
        label="V3D",
        help="An orbit of 18 views around what a picture shows. Reads no words.",
        presets=(PresetDescription("full", "Full", "The published model. Needs its weights and a CUDA GPU."),),
        settings=(),
        image_roles=("reference",),
        view_names=tuple(f"{20 * view}°" for view in range(18)),
        makes_objects=False,
        needs_prompt=False,
    ),
}


def load(name: str) -> ModuleType:
    """The module of a pipeline. Imports torch.

    It has `plan(request, device)` and `run(request, context)` where the pipeline makes objects, and
    `sample_views(request, context)` where it names views.

    Args:
        name: A key of `PIPELINES`.

    Raises:
        RequestError: "unknown_pipeline".
    """
    if name == "mvdream":
        from dreamlift.pipelines import mvdream

        return mvdream
    if name == "imagedream":
        from dreamlift.pipelines import imagedream

        return imagedream
    if name == "v3d":
        from dreamlift.pipelines import v3d

        return v3d
    raise _unknown("pipeline", name, PIPELINES)


def check(
    pipeline: str,
    preset: str,
    settings: Mapping[str, Any],
    pipelines: Mapping[str, PipelineDescription] = PIPELINES,
) -> None:
    """Refuse what could never run, before it is queued.

    Args:
        pipeline: Name asked for.
        preset: Preset asked for.
        settings: Overrides by key.
        pipelines: What there is.

    Raises:
        RequestError: "unknown_pipeline", "unknown_preset", "unknown_setting" or "bad_setting", with a suggestion where
            a nearest allowed value exists.
    """
    if pipeline not in pipelines:
        raise _unknown("pipeline", pipeline, pipelines)
    description = pipelines[pipeline]
    if preset not in {known.name for known in description.presets}:
        raise _unknown("preset", preset, [known.name for known in description.presets])
    by_key = {setting.key: setting for setting in description.settings if preset in setting.defaults}
    for key, value in settings.items():
        if key not in by_key:
            raise _unknown("setting", key, by_key)
        _check_value(by_key[key], value)


def check_object(pipeline: str, pipelines: Mapping[str, PipelineDescription] = PIPELINES) -> None:
    """Refuse to make an object with a pipeline that only draws views.

    Args:
        pipeline: Name asked for; must be known.
        pipelines: What there is.

    Raises:
        RequestError: "no_object".
    """
    if pipelines[pipeline].makes_objects:
        return
    able = [name for name, each in pipelines.items() if each.makes_objects]
    what = f"{pipelines[pipeline].label} draws views in this version and makes no objects."
    remedy = f"Use `dreamlift views --pipeline {pipeline}`; objects are made by: {', '.join(able) or 'none'}."
    raise RequestError("no_object", what, remedy)


def check_views(
    pipeline: str,
    preset: str,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    pipelines: Mapping[str, PipelineDescription] = PIPELINES,
) -> None:
    """Refuse a request for the views of several seeds that could never run.

    Args:
        pipeline: Name asked for.
        preset: Preset asked for.
        settings: Must be empty: how views are sampled belongs to the preset.
        seeds: One to `MOST_SEEDS`, each of them once.
        pipelines: What there is.

    Raises:
        RequestError: As `check`, and "no_views" or "bad_seeds".
    """
    check(pipeline, preset, {}, pipelines)
    if not pipelines[pipeline].view_names:
        able = [name for name, each in pipelines.items() if each.view_names]
        what = f"{pipelines[pipeline].label} cannot draw views before there is geometry."
        raise RequestError("no_views", what, f"These can: {', '.join(able) or 'none'}.")
    if settings:
        what = f"Views take no settings; the request has {', '.join(settings)}."
        raise RequestError("unknown_setting", what, "Leave them out; they are for the object.")
    if not 1 <= len(seeds) <= MOST_SEEDS or len(set(seeds)) != len(seeds):
        what = f"The seeds of the views are {', '.join(map(str, seeds)) or 'missing'}."
        raise RequestError("bad_seeds", what, f"Give 1 to {MOST_SEEDS} different seeds.")


def check_images(pipeline: str, roles: Iterable[str], pipelines: Mapping[str, PipelineDescription] = PIPELINES) -> None:
    """Refuse pictures that a pipeline does not take, and the lack of one that it needs.

    Args:
        pipeline: Name asked for; must be known.
        roles: Of the pictures that come with the request.
        pipelines: What there is.

    Raises:
        RequestError: "no_image" or "missing_image".
    """
    description, given = pipelines[pipeline], set(roles)
    left_over = sorted(given - set(description.image_roles))
    if left_over:
        able = [f"{name} ({', '.join(each.image_roles)})" for name, each in pipelines.items() if each.image_roles]
        what = f"{description.label} takes no {' and no '.join(left_over)} picture."
        raise RequestError("no_image", what, f"Pictures are for: {', '.join(able) or 'no pipeline of this version'}.")
    needed = description.image_roles[:1]
    if not given.issuperset(needed):
        what = f"{description.label} needs a {needed[0]} picture."
        raise RequestError("missing_image", what, "Give one, such as --image x.png.")


def _unknown(kind: str, name: str, names: Any) -> RequestError:
    return RequestError(f"unknown_{kind}", f"There is no {kind} {name!r}.", f"There are: {', '.join(names) or 'none'}.")


def _check_value(setting: SettingDescription, value: Any) -> None:
    shown = f"{setting.label} cannot be {value!r}."
    types = {"int": (int,), "float": (int, float), "bool": (bool,), "text": (str,)}
    if setting.type == "choice":
        if value not in setting.choices or isinstance(value, bool):
            raise RequestError("bad_setting", shown, f"It is one of {', '.join(map(str, setting.choices))}.")
        return
    wrong_kind = not isinstance(value, types[setting.type]) or (isinstance(value, bool) and setting.type != "bool")
    if wrong_kind or (isinstance(value, float) and not math.isfinite(value)):
        word = {"int": "a whole number", "float": "a number", "bool": "true or false", "text": "text"}[setting.type]
        raise RequestError("bad_setting", shown, f"It must be {word}.")
    for bound, is_wrong, word in (
        (setting.low, setting.low is not None and value < setting.low, "at least"),
        (setting.high, setting.high is not None and value > setting.high, "at most"),
    ):
        if is_wrong:
            nearest = int(bound) if setting.type == "int" else bound
            raise RequestError("bad_setting", shown, f"It must be {word} {nearest}.", {setting.key: nearest})
