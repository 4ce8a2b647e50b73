"""The benchmark's objects: held out from training, with a caption and a picture taken from a known side.

Every one joins a class with a first colour that no training object has (`training.objects.HELD_OUT`), in proportions of
its own and mostly with a second colour or pattern. Knows the objects and their prompt images; knows no pipelines.
Changing the list, a camera or the light changes the benchmark: raise `LIST_VERSION` and say so in the changelog.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dreamlift.rendering.cameras import Cameras, orbit
from dreamlift.rendering.compositing import premultiplied
from dreamlift.training.objects import ProceduralObject
from dreamlift.training.prompts import describe
from dreamlift.training.render import WorldLight, render

LIST_VERSION = 1
PROMPT_SIZE = 256  # pixels
PROMPT_FOVY, PROMPT_DISTANCE = 35.0, 3.5  # degrees, the objects' own units: the ball of radius 1 just fits
PROMPT_LIGHT = WorldLight(direction=(0.45, 0.60, 0.66), ambient=0.64, diffuse=0.42, underside=0.06)


@dataclass(frozen=True, eq=False)  # compared and hashed as the one object it is: its colours' tints are a dictionary
class BenchmarkObject:
    """One object and the side that its picture shows.

    Args:
        name: Short, for files and tables.
        item: Its true shape and colours.
        azimuth: Of the prompt image's camera, degrees; none is within 8 degrees of one that measures.
        elevation: Of the same camera, degrees.
    """

    name: str
    item: ProceduralObject
    azimuth: float
    elevation: float

    @property
    def caption(self) -> str:
        """What a user would type; it says nothing of the proportions."""
        return describe(self.item)

    @property
    def camera(self) -> Cameras:
        """The prompt image's camera, in the object's own coordinates."""
        return orbit([self.azimuth], self.elevation, PROMPT_DISTANCE, PROMPT_FOVY)

    @functools.cached_property
    def prompt_image(self) -> bytes:
        """The picture a user would give: RGBA with a transparent background, as a PNG file."""
        picture = render(self.item, self.camera, PROMPT_SIZE, 2, PROMPT_LIGHT)[0]
        colour = picture[:3] / picture[3:].clamp_min(1e-6)
        rgba = torch.cat([colour.clamp(0, 1), picture[3:]]).permute(1, 2, 0)
        file = io.BytesIO()
        Image.fromarray((rgba * 255).round().byte().numpy()).save(file, "PNG")
        return file.getvalue()


def _object(words: str, proportions: tuple[float, float], azimuth: float, elevation: float) -> BenchmarkObject:
    """From "kind first [second [pattern]]"."""
    kind, first, second, pattern = (words.split() + [None, None])[:4]
    item = ProceduralObject(kind, first, second, pattern, proportions=(*proportions, 0.5, 0.5))
    return BenchmarkObject(words.replace(" ", "-"), item, azimuth, elevation)


# Interleaved, so that the first few of a quick look are of different kinds. Fifteen are of asymmetric classes.
OBJECTS: tuple[BenchmarkObject, ...] = (
    _object("car green white", (0.2, 0.8), 35.0, 10.0),
    _object("mushroom yellow red", (0.7, 0.3), -25.0, 8.0),
    _object("chair blue", (0.8, 0.2), -35.0, 12.0),
    _object("house cyan red", (0.3, 0.7), 25.0, 14.0),
    _object("snowman green", (0.75, 0.5), -20.0, 6.0),
    _object("mug orange", (0.2, 0.3), 55.0, 13.0),
    _object("rocket purple yellow", (0.7, 0.5), 15.0, 5.0),
    _object("duck red", (0.15, 0.85), 30.0, 9.0),
    _object("cube pink blue checkered", (0.6, 0.5), -30.0, 15.0),
    _object("table red", (0.85, 0.25), 20.0, 15.0),
    _object("tree pink", (0.8, 0.5), -15.0, 7.0),
    _object("car green", (0.8, 0.2), -55.0, 8.0),
    _object("chair blue yellow", (0.25, 0.75), 30.0, 9.0),
    _object("lamp pink", (0.3, 0.8), 12.0, 11.0),
    _object("house cyan", (0.8, 0.2), -25.0, 10.0),
    _object("ball brown yellow striped", (0.4, 0.5), 20.0, 10.0),
    _object("snowman green purple", (0.25, 0.5), 15.0, 12.0),
    _object("mug orange blue", (0.75, 0.8), 35.0, 8.0),
    _object("hat green orange", (0.3, 0.7), -20.0, 13.0),
    _object("duck red blue", (0.8, 0.3), -30.0, 6.0),
    _object("ring cyan", (0.7, 0.2), 25.0, 5.0),
    _object("table red white", (0.2, 0.8), -30.0, 12.0),
    _object("cone purple", (0.8, 0.3), -10.0, 9.0),
    _object("chair blue white", (0.6, 0.9), 15.0, 14.0),
)

BY_NAME = {case.name: case for case in OBJECTS}


def prompt_pixels(case: BenchmarkObject) -> Tensor:
    """The prompt image as (4, S, S) in [0, 1], colour premultiplied by alpha."""
    with Image.open(io.BytesIO(case.prompt_image)) as file:
        rgba = torch.from_numpy(np.asarray(file).astype(np.float32) / 255).permute(2, 0, 1)
    return premultiplied(rgba)
