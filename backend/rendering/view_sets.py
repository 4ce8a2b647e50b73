"""Random camera sets for multi-view distillation: views of one object, spread evenly, at one elevation.

Knows how MVDream draws its cameras [systems.md 6.5 and 1.16]. Knows no renderer; poses are made by `cameras.orbit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .cameras import Cameras, orbit


@dataclass(frozen=True)
class ViewSetRanges:
    """Ranges that every set of views draws from, uniformly; published values as defaults.

    Args:
        elevation: Degrees above the horizon.
        fovy: Vertical field of view, degrees.
        reach: Distance times tan(fovy / 2), world units: half of what the picture shows at the object's middle.
        legacy_elevation: Draw as the published code does, whose "uniform on the sphere" half maps [0, 30] degrees to
            [0, 19.5], so that low views are too frequent.
    """

    elevation: tuple[float, float] = (0.0, 30.0)
    fovy: tuple[float, float] = (15.0, 60.0)
    reach: tuple[float, float] = (0.8, 1.0)
    legacy_elevation: bool = False


def sample_view_sets(ranges: ViewSetRanges, objects: int, views: int, generator: torch.Generator) -> Cameras:
    """Draw sets of cameras.

    Args:
        ranges: What to draw from.
        objects: Number of sets.
        views: Cameras a set; azimuths are 360 / views degrees apart from one random phase.
        generator: Of all draws, on the CPU.

    Returns:
        objects * views cameras on the CPU, the views of a set next to each other; elevation, field of view and distance
        are shared within a set.
    """
    phase = torch.rand(objects, generator=generator) * 360
    fovy = _uniform(ranges.fovy, objects, generator)
    distance = _uniform(ranges.reach, objects, generator) / torch.tan(torch.deg2rad(fovy) / 2)
    elevation = sample_elevation(ranges, objects, generator)
    azimuth = phase[:, None] + torch.arange(views) * 360 / views
    shared = (value[:, None].expand(-1, views).flatten() for value in (elevation, distance, fovy))
    return orbit(azimuth.flatten(), *shared)


def sample_elevation(ranges: ViewSetRanges, count: int, generator: torch.Generator) -> Tensor:
    """Elevations in degrees (count,): with probability 0.5 uniform in the angle, else uniform on the sphere's band."""
    low, high = (math.radians(value) for value in ranges.elevation)
    if ranges.legacy_elevation:
        shares = [(value + 90) / 180 for value in ranges.elevation]
        sine = [2 * share - 1 for share in shares]  # should be the sine of the angle, is the angle over 90 degrees
    else:
        sine = [math.sin(low), math.sin(high)]
    on_band = torch.rad2deg(torch.asin(_uniform(tuple(sine), count, generator)))
    in_angle = _uniform(ranges.elevation, count, generator)
    return torch.where(torch.rand(count, generator=generator) < 0.5, in_angle, on_band)


def _uniform(bounds: tuple[float, float], count: int, generator: torch.Generator) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, generator=generator)
