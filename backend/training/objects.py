"""Procedural objects: things people name, built from signed distances, with a known shape, colour and prompt.

They are the mini models' training data and, because their true surface is known, the ground truth of the evaluation.
World: front towards +x, z up, inside the unit ball. Knows no cameras and no rendering (`render.py`); the words around
an object are in `prompts.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import sdf
from .sdf import Point

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.08, 0.08),
    "green": (0.10, 0.65, 0.15),
    "blue": (0.10, 0.20, 0.85),
    "yellow": (0.95, 0.85, 0.10),
    "orange": (0.98, 0.50, 0.05),
    "purple": (0.52, 0.12, 0.70),
    "white": (0.97, 0.97, 0.97),
    "black": (0.06, 0.06, 0.06),
    "pink": (0.98, 0.50, 0.70),
    "brown": (0.42, 0.24, 0.10),
    "cyan": (0.10, 0.80, 0.85),
}
"""sRGB values in [0, 1]."""

PATTERNS = ("striped", "dotted", "checkered")

Paint = str  # "first", "second" or the name of a colour


@dataclass(frozen=True)
class Kind:
    """A class of objects.

    Args:
        build: Takes a point and four proportions in [0, 1] and returns (distance, paint) for every part.
        part: What the second colour paints in a prompt ("roof"), None where the class has one colour only.
        second: Colour of that part where the prompt names none; None means the first colour.
        asymmetric: Its four sides differ clearly, so a wrong camera shows.
        patterned: Stripes, dots and checks are made for it.
        weight: How often it is drawn for training, relative to the others.
    """

    build: Callable[[Point, tuple[float, ...]], list[tuple[Tensor, Paint]]]
    part: str | None = None
    second: str | None = None
    asymmetric: bool = False
    patterned: bool = False
    weight: float = 1.0


def _mix(share: float, low: float, high: float) -> float:
    return low + (high - low) * share


def _cube(p, a):
    half = _mix(a[0], 0.44, 0.54)
    return [(sdf.box(p, half, half, half), "first")]


def _ball(p, a):
    return [(sdf.ball(p, _mix(a[0], 0.54, 0.64)), "first")]


def _cylinder(p, a):
    return [(sdf.cylinder(p, _mix(a[0], 0.36, 0.44), _mix(a[1], 0.52, 0.62)), "first")]


def _cone(p, a):
    return [(sdf.cone(p, _mix(a[0], 0.48, 0.58), 0.001, _mix(a[1], 0.54, 0.64)), "first")]


def _ring(p, a):
    return [(sdf.torus(sdf.along_x(p), _mix(a[0], 0.48, 0.56), _mix(a[1], 0.14, 0.19)), "first")]


def _pyramid(p, a):
    return [(sdf.pyramid(p, _mix(a[0], 0.56, 0.66), _mix(a[1], 0.40, 0.48)), "first")]


def _mushroom(p, a):
    radius, low = _mix(a[0], 0.54, 0.64), 0.0
    cap = sdf.moved(p, z=low)
    dome = torch.maximum(sdf.ellipsoid(cap, radius, radius, radius * 0.95), -cap[2])
    stem = sdf.cylinder(sdf.moved(p, z=low - 0.30), _mix(a[1], 0.17, 0.23), 0.32)
    return [(dome, "first"), (stem, "second")]


def _snowman(p, a):
    low = sdf.ball(sdf.moved(p, z=-0.40), _mix(a[0], 0.37, 0.43))
    balls = sdf.union(low, sdf.ball(sdf.moved(p, z=0.10), 0.29), sdf.ball(sdf.moved(p, z=0.50), 0.22))
    nose = sdf.cone(sdf.along_x(sdf.moved(p, x=0.32, z=0.50)), 0.09, 0.01, 0.16)
    return [(balls, "first"), (nose, "second")]


def _rocket(p, a):
    radius = _mix(a[0], 0.21, 0.26)
    body = sdf.cylinder(sdf.moved(p, z=-0.10), radius, 0.42)
    tip = sdf.cone(sdf.moved(p, z=0.55), radius, 0.01, 0.24)
    low = sdf.moved(p, z=-0.48)
    slant = (p[2] + 0.48) * 0.9 - 0.06 - radius
    fin_y = torch.maximum(sdf.box(low, 0.045, radius + 0.24, 0.22), (p[1].abs() + slant) * 0.74)
    fin_x = torch.maximum(sdf.box(low, radius + 0.24, 0.045, 0.22), (p[0].abs() + slant) * 0.74)
    return [(body, "first"), (sdf.union(tip, fin_x, fin_y), "second")]


def _table(p, a):
    width, depth, height = _mix(a[0], 0.60, 0.70), _mix(a[1], 0.40, 0.48), 0.40
    top = sdf.box(sdf.moved(p, z=height), depth, width, 0.075)
    legs = sdf.box(sdf.moved(sdf.mirrored(p), depth - 0.1, width - 0.1, -0.06), 0.08, 0.08, height + 0.02)
    return [(top, "first"), (legs, "second")]


def _chair(p, a):
    half = _mix(a[0], 0.36, 0.43)
    seat = sdf.box(sdf.moved(p, z=-0.1), half, half, 0.075)
    back = sdf.box(sdf.moved(p, x=0.065 - half, z=0.32), 0.07, half, _mix(a[1], 0.40, 0.46))
    legs = sdf.box(sdf.moved(sdf.mirrored(p), half - 0.08, half - 0.08, -0.43), 0.08, 0.08, 0.32)
    return [(sdf.union(seat, back), "first"), (legs, "second")]


def _mug(p, a):
    radius, half = _mix(a[0], 0.38, 0.45), _mix(a[1], 0.42, 0.50)
    p = sdf.moved(p, y=-0.12)
    body = sdf.cut(sdf.cylinder(p, radius, half), sdf.cylinder(sdf.moved(p, z=half), radius - 0.09, half))
    arc = sdf.torus(sdf.along_x(sdf.moved(p, y=radius + 0.02)), 0.25, 0.075)
    handle = torch.maximum(arc, radius - 0.05 - p[1])
    return [(body, "first"), (handle, "second")]


def _tree(p, a):
    radius = _mix(a[0], 0.48, 0.56)
    low = sdf.cone(sdf.moved(p, z=-0.06), radius, 0.14, 0.30)
    leaves = sdf.union(low, sdf.cone(sdf.moved(p, z=0.38), radius * 0.76, 0.01, 0.34))
    return [(leaves, "first"), (sdf.cylinder(sdf.moved(p, z=-0.50), 0.14, 0.22), "second")]


def _house(p, a):
    width, depth, height = _mix(a[0], 0.44, 0.52), _mix(a[1], 0.46, 0.54), 0.32
    walls = sdf.box(sdf.moved(p, z=-0.28), depth, width, height)
    roof = sdf.gable(sdf.moved(p, z=0.03), width + 0.12, depth + 0.06, 0.46)
    chimney = sdf.box(sdf.moved(p, x=-0.22, y=0.28, z=0.38), 0.085, 0.085, 0.20)
    door = sdf.box(sdf.moved(p, x=depth, z=-0.40), 0.035, 0.13, 0.20)
    return [(walls, "first"), (sdf.union(roof, chimney), "second"), (door, "contrast")]


def _lamp(p, a):
    shade = sdf.cone(sdf.moved(p, z=0.36), _mix(a[0], 0.44, 0.52), 0.24, 0.27)
    pole = sdf.cylinder(sdf.moved(p, z=-0.22), 0.07, 0.42)
    base = sdf.cylinder(sdf.moved(p, z=-0.62), _mix(a[1], 0.30, 0.36), 0.07)
    return [(shade, "first"), (sdf.union(pole, base), "second")]


def _bottle(p, a):
    radius = _mix(a[0], 0.27, 0.33)
    body = sdf.cylinder(sdf.moved(p, z=-0.28), radius, 0.40)
    shoulder = sdf.cone(sdf.moved(p, z=0.24), radius, 0.12, 0.13)
    neck = sdf.cylinder(sdf.moved(p, z=0.42), 0.12, 0.12)
    cap = sdf.cylinder(sdf.moved(p, z=0.62), 0.15, 0.10)
    return [(sdf.union(body, shoulder, neck), "first"), (cap, "second")]


def _hat(p, a):
    brim = sdf.cylinder(sdf.moved(p, z=-0.36), _mix(a[0], 0.66, 0.74), 0.06)
    crown = sdf.cylinder(sdf.moved(p, z=0.05), _mix(a[1], 0.36, 0.42), 0.42)
    band = sdf.cylinder(sdf.moved(p, z=-0.21), _mix(a[1], 0.36, 0.42) + 0.025, 0.10)
    return [(sdf.union(brim, crown), "first"), (band, "second")]


def _car(p, a):
    half, wide = _mix(a[0], 0.66, 0.74), _mix(a[1], 0.32, 0.38)
    body = sdf.box(sdf.moved(p, z=-0.08), half, wide, 0.17, 0.05)
    cabin = sdf.box(sdf.moved(p, x=-0.14, z=0.20), half * 0.50, wide - 0.04, 0.18, 0.06)
    wheel = sdf.moved(sdf.mirrored(p), half * 0.58, wide - 0.02, -0.25)
    wheels = sdf.cylinder(sdf.along_y(wheel), 0.18, 0.08)
    return [(body, "first"), (cabin, "second"), (wheels, "tyre")]


def _duck(p, a):
    body = sdf.ellipsoid(sdf.moved(p, x=-0.08, z=-0.24), _mix(a[0], 0.52, 0.58), 0.37, 0.33)
    head = sdf.ball(sdf.moved(p, x=0.30, z=0.26), _mix(a[1], 0.25, 0.29))
    neck = sdf.cylinder(sdf.moved(p, x=0.27, z=0.02), 0.17, 0.20)
    tail = sdf.cone(sdf.moved(p, x=-0.52, z=-0.02), 0.17, 0.03, 0.17)
    beak = sdf.ellipsoid(sdf.moved(p, x=0.60, z=0.22), 0.17, 0.14, 0.065)
    return [(sdf.union(body, head, neck, tail), "first"), (beak, "second")]


CLASSES: dict[str, Kind] = {
    "cube": Kind(_cube, patterned=True, weight=1.6),
    "ball": Kind(_ball, patterned=True),
    "cylinder": Kind(_cylinder, patterned=True),
    "cone": Kind(_cone, patterned=True),
    "ring": Kind(_ring, patterned=True, weight=1.6),
    "pyramid": Kind(_pyramid, patterned=True, weight=1.4),
    "mushroom": Kind(_mushroom, part="stem", second="white", patterned=True),
    "snowman": Kind(_snowman, part="nose", second="orange", asymmetric=True, weight=1.6),
    "rocket": Kind(_rocket, part="fins", second="white", weight=1.4),
    "table": Kind(_table, part="legs", asymmetric=True, weight=1.8),
    "chair": Kind(_chair, part="legs", asymmetric=True, weight=2.2),
    "mug": Kind(_mug, part="handle", asymmetric=True, patterned=True, weight=2.2),
    "tree": Kind(_tree, part="trunk", second="brown"),
    "house": Kind(_house, part="roof", second="brown", asymmetric=True, weight=2.2),
    "lamp": Kind(_lamp, part="base", second="black"),
    "bottle": Kind(_bottle, part="cap"),
    "hat": Kind(_hat, part="band", second="black"),
    "car": Kind(_car, part="roof", asymmetric=True, weight=2.2),
    "duck": Kind(_duck, part="beak", second="orange", asymmetric=True, weight=2.2),
}
ASYMMETRIC = tuple(name for name, kind in CLASSES.items() if kind.asymmetric)
PATTERNED = tuple(name for name, kind in CLASSES.items() if kind.patterned)
STACK_TOP, STACK_BOTTOM = ("cube", "ball", "cone", "cylinder", "pyramid"), ("cube", "cylinder", "ball")
_HALF_HEIGHT = {"cube": 0.49, "ball": 0.59, "cone": 0.59, "cylinder": 0.57, "pyramid": 0.44}

HELD_OUT: frozenset[tuple[str, str]] = frozenset(
    {
        ("cube", "pink"), ("ball", "brown"), ("cone", "purple"), ("ring", "cyan"), ("mushroom", "yellow"),
        ("snowman", "green"), ("rocket", "purple"), ("table", "red"), ("chair", "blue"), ("mug", "orange"),
        ("tree", "pink"), ("house", "cyan"), ("lamp", "pink"), ("hat", "green"), ("car", "green"), ("duck", "red"),
    }
)  # fmt: skip
"""Class and first colour that no training object ever joins, in any variant; stacks aside, where both are parts."""


@dataclass(frozen=True)
class ProceduralObject:
    """One object: a class, its colours and its proportions.

    Args:
        kind: Key of `CLASSES`, or "stack".
        first: Colour of the body, key of `COLOURS`; of the upper solid in a stack.
        second: Colour of the named part, of the pattern, or of the lower solid in a stack; None uses the class's own.
        pattern: One of `PATTERNS` or None.
        stacked: Names of the upper and the lower solid of a stack.
        proportions: Four numbers in [0, 1]; 0.5 is the mean object, which prompts are measured against.
        tints: What is added to each colour, for variety in training.
    """

    kind: str
    first: str
    second: str | None = None
    pattern: str | None = None
    stacked: tuple[str, str] | None = None
    proportions: tuple[float, ...] = (0.5, 0.5, 0.5, 0.5)
    tints: dict[str, tuple[float, float, float]] = field(default_factory=dict)

    def parts(self, p: Point) -> list[tuple[Tensor, Paint]]:
        """Distance and paint of every part at these points."""
        if self.kind != "stack":
            return CLASSES[self.kind].build(p, self.proportions)
        scale, (upper, lower) = 0.56, self.stacked
        top, bottom = _HALF_HEIGHT[upper] * scale, _HALF_HEIGHT[lower] * scale
        placed = [(upper, "first", bottom - 0.01), (lower, "second", -top)]
        result = []
        for name, paint, z in placed:
            local = tuple(coordinate / scale for coordinate in sdf.moved(p, z=z))
            result.append((CLASSES[name].build(local, self.proportions)[0][0] * scale, paint))
        return result

    def sdf(self, points: Tensor) -> Tensor:
        """Signed distance, negative inside. points (..., 3), world units -> (...)."""
        return self.distance(points.unbind(-1))

    def distance(self, p: Point) -> Tensor:
        """Signed distance at a point given as three tensors."""
        return sdf.union(*(distance for distance, _ in self.parts(p)))

    def color(self, points: Tensor) -> Tensor:
        """Base colour of the nearest part, without light. points (..., 3) -> (..., 3), sRGB in [0, 1]."""
        p = points.unbind(-1)
        parts = self.parts(p)
        nearest = torch.stack([distance for distance, _ in parts]).argmin(0)
        palette = torch.tensor([self.rgb(paint) for _, paint in parts])
        result = palette[nearest]
        if self.pattern:
            painted = torch.tensor([paint == "first" for _, paint in parts])[nearest]
            result[painted & self._pattern_mask(p)] = torch.tensor(self.rgb("pattern"))
        return result

    @property
    def part_colour(self) -> str:
        """The colour of the part that prompts name: `second` where no pattern has that, the class's own, or `first`."""
        if self.second and not self.pattern:
            return self.second
        usual = CLASSES[self.kind].second if self.kind in CLASSES else None
        if usual != self.first:
            return usual or self.first
        return "black" if self.first != "black" else "white"  # a brown tree keeps a trunk that one can see

    def rgb(self, paint: Paint) -> tuple[float, float, float]:
        """The colour that a paint stands for on this object."""
        if paint == "pattern":
            name = self.second
        elif paint == "second":
            name = self.part_colour
        elif paint == "contrast":
            name = "brown" if "brown" not in (self.first, self.second) else "black"
        elif paint == "tyre":
            name = "black" if self.first != "black" else "white"
        else:
            name = self.first
        tint = self.tints.get(name, (0.0, 0.0, 0.0))
        return tuple(min(1.0, max(0.0, value + shift)) for value, shift in zip(COLOURS[name], tint, strict=True))

    def _pattern_mask(self, p: Point) -> Tensor:
        if self.pattern == "striped":
            return torch.sin(p[2] * 14.0 + 0.6) > 0
        if self.pattern == "checkered":
            return (torch.sin(p[0] * 9.0 + 0.4) * torch.sin(p[1] * 9.0 + 0.4) * torch.sin(p[2] * 9.0 + 0.4)) > 0
        cell = [torch.frac(coordinate * 2.04 + 8.5) - 0.5 for coordinate in p]  # a row of centres on the cube's faces
        return sdf.length(*cell) < 0.32


def random_object(rng: random.Random) -> ProceduralObject:
    """An object of the training distribution: never a held-out pair of class and first colour."""
    proportions = tuple(rng.random() for _ in range(4))
    tints = {name: tuple(rng.uniform(-0.04, 0.04) for _ in range(3)) for name in COLOURS}
    names = list(COLOURS)
    if rng.random() < 0.07:
        first, second = rng.sample(names, 2)
        stacked = (rng.choice(STACK_TOP), rng.choice(STACK_BOTTOM))
        return ProceduralObject("stack", first, second, None, stacked, proportions, tints)
    while True:
        kind = rng.choices(list(CLASSES), [entry.weight for entry in CLASSES.values()])[0]
        first = rng.choice(names)
        if (kind, first) not in HELD_OUT:
            break
    second, pattern, draw = None, None, rng.random()
    others = [name for name in names if name != first]
    if CLASSES[kind].patterned and draw < 0.22:
        second, pattern = rng.choice(others), rng.choice(PATTERNS)
    elif CLASSES[kind].part and draw < (0.5 if kind == "house" else 0.25):
        second = rng.choice(others)
    return ProceduralObject(kind, first, second, pattern, None, proportions, tints)
