"""The words around procedural objects: what a prompt says of an object, and which object a prompt names.

Knows the small language that the mini models are trained on; knows no shapes.
"""

from __future__ import annotations

import itertools
import random

from ..priors.picture_words import BLANK
from ..priors.tokenizer import WordTokenizer
from .objects import CLASSES, COLOURS, PATTERNS, STACK_BOTTOM, STACK_TOP, ProceduralObject

SYNONYMS = {
    "sphere": "ball", "globe": "ball", "torus": "ring", "donut": "ring", "cup": "mug", "block": "cube", "box": "cube",
    "toadstool": "mushroom", "automobile": "car", "fir": "tree", "spaceship": "rocket", "cottage": "house",
    "flask": "bottle", "desk": "table",
}  # fmt: skip
_PATTERN_WORDS = {"striped": "striped", "stripes": "striped", "dotted": "dotted", "dots": "dotted", "spotted": "dotted"}
_PATTERN_WORDS |= {"checkered": "checkered", "checks": "checkered", "spots": "dotted"}
_IN_TEMPLATES = {word: "dots" if name == "dotted" else name for word, name in _PATTERN_WORDS.items()}
SAID = SYNONYMS | {word: other for word, other in _IN_TEMPLATES.items() if word != other}
"""Words of `templates` by others that mean the same."""

_FILLERS = ("a", "an", "the", "with", "on", "of", "and", "3d", "model", "asset", "in", "small", "big", "simple", "top")
_PARTS = tuple(sorted({kind.part for kind in CLASSES.values() if kind.part}))

VOCABULARY: tuple[str, ...] = tuple(
    sorted({*COLOURS, *CLASSES, *SYNONYMS, *PATTERNS, *_PATTERN_WORDS, *_FILLERS, *_PARTS})
)
"""Every word that the mini text encoder knows."""


def describe(item: ProceduralObject, rng: random.Random | None = None) -> str:
    """A prompt for an object: the plain form, or with `rng` one of its paraphrases."""
    noun = _noun(item.kind, rng)
    if item.kind == "stack":
        text = f"{item.first} {item.stacked[0]} on {_article(item.second)} {item.stacked[1]}"
    elif item.pattern == "dotted" and (rng is None or rng.random() < 0.5):
        text = f"{item.first} {noun} with {item.second} dots"
    elif item.pattern:
        text = f"{item.first} and {item.second} {item.pattern} {noun}"
    elif item.second:
        part = CLASSES[item.kind].part
        second = item.second if part.endswith("s") else _article(item.second)
        text = f"{item.first} {noun} with {second} {part}"
    else:
        text = f"{item.first} {noun}"
    prefix = "{}" if rng is None else rng.choice(("{}", "{}", "{}", "a 3d model of {}", "the ", ""))
    text = prefix.format(_article(text)) if "{}" in prefix else prefix + text
    return text + ("" if rng is None or rng.random() < 0.8 else ", 3d asset")


def _article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


def _noun(kind: str, rng: random.Random | None) -> str:
    if rng is None or rng.random() < 0.75:
        return kind
    return rng.choice([word for word, name in SYNONYMS.items() if name == kind] or [kind])


def unknown_words(prompt: str) -> list[str]:
    """Words that the mini text encoder has never seen, in order, each once."""
    return list(dict.fromkeys(word for word in WordTokenizer.split(prompt) if word not in VOCABULARY))


def parse_prompt(prompt: str) -> ProceduralObject:
    """The mean object that a prompt of this small language names.

    Raises:
        ValueError: No class or no colour of ours is in the prompt; says which are known.
    """
    words = [SYNONYMS.get(word, word) for word in WordTokenizer.split(prompt)]
    kinds = [word for word in words if word in CLASSES]
    colours = [word for word in words if word in COLOURS]
    pattern = next((_PATTERN_WORDS[word] for word in words if word in _PATTERN_WORDS), None)
    if not kinds or not colours:
        raise ValueError(
            f"prompt {prompt!r} must name one of {', '.join(CLASSES)} in one of {', '.join(COLOURS)}; "
            f"it names {kinds or 'no object'} in {colours or 'no colour'}"
        )
    second = colours[1] if len(colours) > 1 else None
    if len(kinds) == 2 and kinds[0] in STACK_TOP and kinds[1] in STACK_BOTTOM and second:
        return ProceduralObject("stack", colours[0], second, stacked=(kinds[0], kinds[1]))
    return ProceduralObject(kinds[0], colours[0], second, pattern if second else None)


def template_of(prompt: str) -> str:
    """A prompt without its colours: "a _ mug with a _ handle"."""
    return " ".join(BLANK if word in COLOURS else word for word in prompt.split()).replace(f"an {BLANK}", f"a {BLANK}")


def templates() -> list[str]:
    """All that `describe` may say but for the colours, each once: classes, their parts and patterns, stacks."""
    first, second = list(COLOURS)[:2]
    items = [ProceduralObject(kind, first) for kind in CLASSES]
    items += [ProceduralObject(kind, first, second) for kind, about in CLASSES.items() if about.part]
    patterned = [kind for kind, about in CLASSES.items() if about.patterned]
    items += [ProceduralObject(kind, first, second, pattern) for kind in patterned for pattern in PATTERNS]
    pairs = itertools.product(STACK_TOP, STACK_BOTTOM)
    items += [ProceduralObject("stack", first, second, None, pair) for pair in pairs]
    return sorted({template_of(describe(item)) for item in items})


def usual_colours() -> dict[str, str]:
    """Templates whose second blank goes without saying where it is this colour: the trunk of a tree is brown."""
    first, second = list(COLOURS)[:2]
    parts = {kind: about.second for kind, about in CLASSES.items() if about.part and about.second}
    return {template_of(describe(ProceduralObject(kind, first, second))): name for kind, name in parts.items()}
