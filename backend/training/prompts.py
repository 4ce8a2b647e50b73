"""The words around procedural objects: what a prompt says of an object, and which object a prompt names.

Knows the small language that the mini models are trained on; knows no shapes.
"""

from __future__ import annotations

import random

from .objects import CLASSES, COLOURS, PATTERNS, STACK_BOTTOM, STACK_TOP, ProceduralObject

SYNONYMS = {
    "sphere": "ball", "globe": "ball", "torus": "ring", "donut": "ring", "cup": "mug", "block": "cube", "box": "cube",
    "toadstool": "mushroom", "automobile": "car", "fir": "tree", "spaceship": "rocket", "cottage": "house",
    "flask": "bottle", "desk": "table",
}  # fmt: skip
_PATTERN_WORDS = {"striped": "striped", "stripes": "striped", "dotted": "dotted", "dots": "dotted", "spotted": "dotted"}
_PATTERN_WORDS |= {"checkered": "checkered", "checks": "checkered", "spots": "dotted"}
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


def words_of(prompt: str) -> list[str]:
    """The prompt's words in lower case, without punctuation."""
    return "".join(c if c.isalnum() else " " for c in prompt.lower()).split()


def unknown_words(prompt: str) -> list[str]:
    """Words that the mini text encoder has never seen, in order, each once."""
    return list(dict.fromkeys(word for word in words_of(prompt) if word not in VOCABULARY))


def parse_prompt(prompt: str) -> ProceduralObject:
    """The mean object that a prompt of this small language names.

    Raises:
        ValueError: No class or no colour of ours is in the prompt; says which are known.
    """
    words = [SYNONYMS.get(word, word) for word in words_of(prompt)]
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


def plain_captions() -> dict[str, list[str]]:
    """Short captions, class and colour, and how each of them may be refined: by parts and patterns."""
    captions = {}
    for kind in CLASSES:
        for first in COLOURS:
            others = [name for name in COLOURS if name != first]
            finer = [ProceduralObject(kind, first, second) for second in others if CLASSES[kind].part]
            if CLASSES[kind].patterned:
                finer += [ProceduralObject(kind, first, second, name) for name in PATTERNS for second in others]
            captions[describe(ProceduralObject(kind, first))] = [describe(item) for item in finer]
    return captions
