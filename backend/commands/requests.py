"""From a command line's words to a `Request`: presets and `--set key=value`, checked against the catalog.

Knows the catalog's descriptions. Knows no pipeline, no server and no files. What a prompt may say is the pipeline's
business: it is checked by its `plan`.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable
from typing import Any

from dreamlift.commands.outcomes import CommandError
from dreamlift.pipelines.catalog import PIPELINES
from dreamlift.pipelines.context import Request

MOST_SEEDS = 2**63
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def request_from(args: argparse.Namespace) -> Request:
    """The request that `dreamlift generate`'s arguments ask for.

    Args:
        args: With pipeline, preset, prompt, negative, seed and settings (a list of "key=value").

    Raises:
        CommandError: naming the value that is wrong and what would be right.
    """
    prompt = " ".join(args.prompt.split())
    if not prompt:
        raise CommandError("The prompt is empty.", 'Say what to make, such as "a red mushroom".', "empty_prompt")
    if not 0 <= args.seed < MOST_SEEDS:
        what = f"The seed {args.seed} is out of range."
        raise CommandError(what, "Give a whole number from 0 to 2**63 - 1.", "bad_seed")
    pipeline = one_of(args.pipeline, PIPELINES, "pipeline")
    description = PIPELINES[pipeline]
    presets = [preset.name for preset in description.presets]
    preset = one_of(args.preset or presets[0], presets, "preset")
    settings = read_settings(args.settings, description.settings, preset)
    return Request(pipeline, preset, prompt, args.negative, args.seed, settings)


def read_settings(words: Iterable[str], known: Iterable[Any], preset: str) -> dict[str, Any]:
    """Turn "key=value" words into values of the settings' types.

    Args:
        words: As written behind `--set`.
        known: The pipeline's settings, from the catalog.
        preset: Settings that this preset does not have are refused.

    Raises:
        CommandError: for an unknown key, a value of the wrong type or one out of range.
    """
    by_key = {setting.key: setting for setting in known if preset in setting.defaults}
    values = {}
    for word in words:
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals:
            raise CommandError(f"--set {word} has no value.", f"Write --set {key}=VALUE.", "bad_setting")
        one_of(key, by_key, "setting")
        values[key] = _value(by_key[key], text.strip())
    return values


def one_of(name: str, names: Iterable[str], kind: str) -> str:
    """`name`, if it is one of `names`; else an error that names the nearest and all of them."""
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    code = "unknown_" + kind.split()[0]
    raise CommandError(f"There is no {kind} {name!r}.", f"{hint}There are: {', '.join(names) or 'none'}.", code)


def _value(setting: Any, text: str) -> Any:
    readers = {"int": int, "float": float, "bool": _truth, "choice": str, "text": str}
    try:
        value = readers[setting.type](text)
    except ValueError as error:
        what = f"--set {setting.key}={text}: {setting.label} takes {_kind(setting.type)}."
        raise CommandError(what, f"For example --set {setting.key}={_example(setting)}.", "bad_setting") from error
    low, high = setting.low, setting.high
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        what = f"--set {setting.key}={text} is out of range."
        bounds = f"at least {low:g}" if high is None else f"at most {high:g}" if low is None else f"{low:g} to {high:g}"
        raise CommandError(
            what, f"{setting.label} is {bounds}{' ' + setting.unit if setting.unit else ''}.", "bad_setting"
        )
    if setting.type == "choice":
        matches = [choice for choice in setting.choices if str(choice) == text]
        return matches[0] if matches else one_of(text, map(str, setting.choices), f"value of {setting.key}")
    return value


def _kind(type_name: str) -> str:
    return {"int": "a whole number", "float": "a number", "bool": "yes or no"}.get(type_name, "a word")


def _example(setting: Any) -> Any:
    return next(iter(setting.defaults.values()))


def _truth(text: str) -> bool:
    if text.lower() in YES:
        return True
    if text.lower() in NO:
        return False
    raise ValueError(text)
