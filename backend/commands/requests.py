"""From a command line's words to a `Request`: presets and `--set key=value`, by the catalog.

Knows how to read words. The catalog says what is allowed (`catalog.check`), the pipeline what a prompt may say.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable

from dreamlift.commands.images import images_of
from dreamlift.commands.outcomes import CommandError
from dreamlift.pipelines.catalog import PIPELINES, Scalar, SettingDescription, check, check_images, check_object
from dreamlift.pipelines.context import Request

MOST_SEEDS = 2**63
FROM_WORDS, FROM_IMAGE = "mvdream", "imagedream"  # the pipelines that nobody has to name
TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
KINDS = {"int": "a whole number", "float": "a number", "bool": "yes or no"}


def request_from(args: argparse.Namespace) -> Request:
    """The request that the arguments of `dreamlift generate` or `dreamlift views` ask for.

    Args:
        args: With pipeline, preset, prompt, negative, seed, weights and settings (a list of "key=value"); image and
            mask where the command takes pictures; without a pipeline it is ImageDream for a picture, else MVDream.

    Raises:
        CommandError: naming the word that cannot be read and what would be right.
        RequestError: for a value that the catalog refuses.
    """
    prompt = " ".join(args.prompt.split())
    pipeline = args.pipeline or (FROM_IMAGE if vars(args).get("image") else FROM_WORDS)
    description = PIPELINES.get(pipeline)
    if not prompt and (description is None or description.needs_prompt):
        raise CommandError("The prompt is empty.", 'Say what to make, such as "a red mushroom".', "empty_prompt")
    if not 0 <= args.seed < MOST_SEEDS:
        what = f"The seed {args.seed} is out of range."
        raise CommandError(what, "Give a whole number from 0 to 2**63 - 1.", "bad_seed")
    description = PIPELINES[one_of(pipeline, PIPELINES, "pipeline")]
    presets = [preset.name for preset in description.presets]
    preset = one_of(args.preset or presets[0], presets, "preset")
    known = {setting.key: setting for setting in description.settings if preset in setting.defaults}
    settings = dict(read_setting(word, known) for word in args.settings)
    check(description.name, preset, settings)
    images = images_of(args)
    return Request(description.name, preset, prompt, args.negative, args.seed, settings, images, weights=args.weights)


def object_request(args: argparse.Namespace) -> Request:
    """As `request_from`, for an object.

    Args:
        args: As there.

    Raises:
        CommandError: As there.
        RequestError: As there, "no_object" of a pipeline that only draws views, and those of `catalog.check_images`.
    """
    request = request_from(args)
    check_object(request.pipeline)
    check_images(request.pipeline, request.images)
    return request


def read_setting(word: str, known: dict[str, SettingDescription]) -> tuple[str, Scalar]:
    """The key and the value of one "key=value", the value in its setting's type; ranges are not looked at.

    Args:
        word: As written behind `--set`.
        known: The preset's settings by key.

    Raises:
        CommandError: for an unknown key, or a value that is not of its type.
    """
    key, equals, text = (part.strip() for part in word.partition("="))
    if not equals:
        raise CommandError(f"--set {word} has no value.", f"Write --set {key}=VALUE.", "bad_setting")
    setting = known[one_of(key, known, "setting")]
    try:
        return key, _value(setting, text)
    except (ValueError, KeyError) as error:
        kind = KINDS.get(setting.type) or f"one of {', '.join(map(str, setting.choices))}"
        example = next(iter(setting.defaults.values()))
        what = f"--set {key}={text} cannot be read: {setting.label} takes {kind}."
        raise CommandError(what, f"For example --set {key}={example}.", "bad_setting") from error


def one_of(name: str, names: Iterable[str], kind: str) -> str:
    """`name`, if it is one of `names`; else an error that names the nearest and all of them."""
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise CommandError(
        f"There is no {kind} {name!r}.", f"{hint}There are: {', '.join(names) or 'none'}.", f"unknown_{kind}"
    )


def _value(setting: SettingDescription, text: str) -> Scalar:
    if setting.type == "choice":
        return {str(choice): choice for choice in setting.choices}[text]
    if setting.type == "bool":
        return TRUTHS[text.lower()]
    return {"int": int, "float": float, "text": str}[setting.type](text)
