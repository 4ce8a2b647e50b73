"""The fixed prompts of `dreamlift evaluate mini-mvdream`, and how they are grouped.

Twelve name a class and a colour that training never joined (`training.objects.HELD_OUT`), chosen among the harder
classes; the rest names every class at least once. Changing this list changes the benchmark: say so in the changelog.
"""

from __future__ import annotations

from dreamlift.training.objects import ASYMMETRIC, HELD_OUT, ProceduralObject
from dreamlift.training.prompts import parse_prompt

HELD_OUT_PROMPTS = (
    "a purple cone",
    "a cyan ring",
    "a yellow mushroom",
    "a green snowman",
    "a purple rocket",
    "a red table",
    "a blue chair",
    "an orange mug",
    "a pink tree",
    "a cyan house",
    "a green car",
    "a red duck",
)
SEEN_PROMPTS = (
    "a red cube",
    "a blue ball",
    "an orange cylinder",
    "a yellow cone",
    "a red ring",
    "a green pyramid",
    "a red mushroom",
    "a white snowman",
    "a white rocket with red fins",
    "a brown table",
    "a yellow chair",
    "a blue mug",
    "a green tree",
    "a white house with a red roof",
    "a yellow lamp",
    "a green bottle",
    "a purple hat",
    "a red car",
    "a blue car with a white roof",
    "a yellow duck",
)
PROMPTS = HELD_OUT_PROMPTS + SEEN_PROMPTS


def is_held_out(item: ProceduralObject) -> bool:
    """Whether training never saw this class in this first colour."""
    return (item.kind, item.first) in HELD_OUT


def groups_of(prompt: str) -> tuple[str, ...]:
    """Names of the table's rows that a prompt counts in."""
    item = parse_prompt(prompt)
    groups = ["all", "held-out" if is_held_out(item) else "seen"]
    if item.kind in ASYMMETRIC:
        groups += ["asymmetric", item.kind]
    return tuple(groups)
