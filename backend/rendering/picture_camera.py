"""From where a picture was taken: the camera under which a coloured mesh looks most like a cut-out picture.

The picture is a crop, so its camera has a side and a height to find, and then which part of its image was kept; the
distance hardly shows and is the caller's. Sides and heights of the front half are tried, the crop follows from the
outline's box, and the best is made better by shorter and shorter steps of all five numbers. Knows meshes, cameras and
rasterisation. Knows no field and no prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .cameras import Cameras, orbit
from .compositing import premultiplied, straight
from .rasterization import camera_space, interpolate, rasterize

AZIMUTHS = tuple(range(-90, 100, 10))  # degrees; a picture is taken from in front [systems.md 5.3]
ELEVATIONS = (-10.0, 0.0, 10.0, 20.0, 35.0)  # degrees
SMALL = 32  # pixels that the first look compares
COLOUR_WEIGHT = 1.0  # of the colour's squared difference beside the outline's share
FRONT_WEIGHT = 0.06  # of a quarter turn, beside the same: what looks alike from all sides is taken from in front
SIDE_WEIGHT = 8.0  # of the mean squared difference that something else expects, beside the same
STEPS = (5.0, 2.5, 1.25)  # degrees of the search that follows; shares of the crop are a hundredth of that
ROUNDS = 4  # at most, of each of them


@dataclass(frozen=True)
class PictureCamera:
    """Where a picture was taken from and which part of the image it keeps.

    Args:
        azimuth: Degrees, as `cameras.orbit`.
        elevation: Degrees above the horizon.
        distance: From the origin, world units.
        middle: Of the picture, right of and above the camera's axis, tangents.
        half: Half the picture's side, as a tangent.
        likeness: Of the mesh it was found with, at most 1: share of the outlines that they have in common, less the
            colours' difference.
    """

    azimuth: float
    elevation: float
    distance: float
    middle: tuple[float, float] = (0.0, 0.0)
    half: float = 0.5
    likeness: float = 0.0

    def cameras(self) -> Cameras:
        """As a batch of one."""
        return _batch([self])


@dataclass(frozen=True)
class ColouredMesh:
    """What the picture shows, as far as it is known.

    Args:
        vertices: World units. (V, 3) float32.
        faces: (F, 3) integer.
        colours: Of the vertices, in [0, 1]. (V, 3) float32.
    """

    vertices: Tensor
    faces: Tensor
    colours: Tensor


@torch.no_grad()
def find_camera(
    mesh: ColouredMesh,
    picture: Tensor,
    distance: float,
    start: PictureCamera | None = None,
    differences: Sequence[float] | None = None,
    turns: bool = True,
) -> PictureCamera:
    """Find where a picture was taken from.

    Args:
        mesh: Roughly what it shows, upright.
        picture: The cut-out, straight colour and opacity in [0, 1]. (4, S, S), S a multiple of `SMALL`.
        distance: Of the camera from the origin, world units.
        start: Where to look again; None tries the whole front half.
        differences: How far the picture is from what something else, which need not have the mesh's faults, expects of
            each of `AZIMUTHS`: mean squared, (19,).
        turns: Whether azimuth and elevation of `start` are bettered, too, or the crop alone.

    Returns:
        The camera of highest likeness. A mesh with parts of the picture still missing gives a rough one.

    That costs about 0.2 s on one core, a look again a third of it, at 5,000 vertices.
    """
    wanted = _reduced(picture)
    if start is None:
        start = _from_in_front(mesh, wanted, distance, differences or [0.0] * len(AZIMUTHS))
    best = replace(start, distance=distance, likeness=_likeness(mesh, wanted, [start])[0])
    for step in STEPS:
        for _ in range(ROUNDS):
            tried = _nearby(best, step, turns)
            found = _likeness(mesh, wanted, tried)
            top = max(range(len(tried)), key=found.__getitem__)
            if found[top] <= best.likeness + 1e-4:
                break
            best = replace(tried[top], likeness=found[top])
    return best


def _from_in_front(mesh: ColouredMesh, wanted: Tensor, distance: float, differences: Sequence[float]) -> PictureCamera:
    sides = _framed(mesh, wanted, [PictureCamera(float(a), e, distance) for e in ELEVATIONS for a in AZIMUTHS])
    against = [FRONT_WEIGHT * abs(a) / 90 + SIDE_WEIGHT * d for a, d in zip(AZIMUTHS, differences, strict=True)]
    found = [value - against[k % len(AZIMUTHS)] for k, value in enumerate(_likeness(mesh, wanted, sides))]
    return sides[max(range(len(sides)), key=found.__getitem__)]


def _framed(mesh: ColouredMesh, wanted: Tensor, tried: list[PictureCamera]) -> list[PictureCamera]:
    """The same sides, cropped so that the mesh's box has the middle and the size of the picture's."""
    size = wanted.shape[-1]
    rows, columns = (wanted[3] > wanted[3].max() / 2).nonzero(as_tuple=True)  # a wire fills no pixel by half
    box = [(int(part.min()), int(part.max()) + 1) for part in (columns, rows)]
    across, down = (((low + high) / size - 1, (high - low) / size) for low, high in box)
    seen, _ = camera_space(mesh.vertices, _batch(tried))
    places = seen[..., :2] / seen[..., 2:].clamp_min(1e-3)
    low, high = places.amin(1), places.amax(1)
    halves = ((high - low) / 2 / torch.tensor([across[1], down[1]])).amax(1)  # the box fits in both directions
    middles = (low + high) / 2 - halves[:, None] * torch.tensor([across[0], -down[0]])
    return [
        replace(one, middle=(x, y), half=half)
        for one, (x, y), half in zip(tried, middles.tolist(), halves.tolist(), strict=True)
    ]


def _nearby(one: PictureCamera, step: float, turns: bool) -> list[PictureCamera]:
    """Turned and cropped a little otherwise, one number at a time."""
    x, y = one.middle
    move = one.half * step / 100
    tried = []
    for sign in (-1, 1):
        if turns:
            tried.append(replace(one, azimuth=one.azimuth + sign * step))
            tried.append(replace(one, elevation=max(-80.0, min(80.0, one.elevation + sign * step))))
        tried += [
            replace(one, middle=(x + sign * move, y)),
            replace(one, middle=(x, y + sign * move)),
            replace(one, half=one.half * (1 + sign * step / 100)),
        ]
    return tried


def _likeness(mesh: ColouredMesh, wanted: Tensor, tried: list[PictureCamera]) -> list[float]:
    """Of every camera: intersection over union of the outlines, less the colours' mean squared distance inside both."""
    raster = rasterize(mesh.vertices, mesh.faces, _batch(tried), wanted.shape[-1])
    colour = interpolate(raster, mesh.faces, mesh.colours)
    alpha, own = wanted[3], raster.mask.float()
    both = (own * alpha).sum((1, 2))
    either = torch.maximum(own, alpha.expand_as(own)).sum((1, 2))
    apart = (colour - wanted[:3].permute(1, 2, 0)).square().sum(-1)
    apart = (apart * own * alpha).sum((1, 2)) / both.clamp_min(1)
    return (both / either.clamp_min(1) - COLOUR_WEIGHT * apart).tolist()


def _batch(tried: list[PictureCamera]) -> Cameras:
    halves = torch.tensor([one.half for one in tried])
    fovy = 2 * torch.rad2deg(torch.atan(halves))
    cameras = orbit([o.azimuth for o in tried], torch.tensor([o.elevation for o in tried]), tried[0].distance, fovy)
    return replace(cameras, shift=torch.tensor([one.middle for one in tried]))


def _reduced(picture: Tensor) -> Tensor:
    """At `SMALL` pixels, colours weighted by opacity."""
    factor = picture.shape[-1] // SMALL
    return straight(torch.nn.functional.avg_pool2d(premultiplied(picture), factor))
