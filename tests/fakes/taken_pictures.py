"""Pictures of the mini models' objects as a user might take them: under another light than training's."""

import torch

from dreamlift.preprocessing.placing import frame_of, framed_rgba
from dreamlift.rendering.cameras import orbit
from dreamlift.training.prompts import parse_prompt
from dreamlift.training.render import WorldLight, render

OTHER_LIGHT = WorldLight((0.4, -0.5, 0.7), 0.7, 0.3, 0.1)


def camera_at(azimuth, elevation):
    return orbit([azimuth], elevation, 3.5, 35.0)


def taken(prompt, azimuth, elevation, pixels=256):
    """(pixels, pixels, 4) uint8, straight colour and opacity."""
    seen = render(parse_prompt(prompt), camera_at(azimuth, elevation), pixels, 1, OTHER_LIGHT)[0]
    return (seen * 255).round().byte().permute(1, 2, 0).numpy()  # one ray a pixel, so straight is as premultiplied


def framed(rgba, size=128):
    """The subject in its frame, (4, size, size) in [0, 1]."""
    return torch.from_numpy(framed_rgba(rgba, size, frame_of(rgba)).copy()).permute(2, 0, 1).float() / 255
