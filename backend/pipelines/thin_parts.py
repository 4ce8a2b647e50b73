"""What a picture shows of a thin part tells its far side: handles, legs and brims have one colour all around.

The prior draws at 64 pixels, and what is a few of them wide it mixes with what is beside it; on the side that the
picture shows, the picture mends that. Here a point that looks away from the picture's camera, and from which the way
inwards soon comes out near what the picture shows, is wished the colour of that. An addition of ours. Knows a mesh,
cameras and colours on it; knows no prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from dreamlift.rendering.cameras import Cameras, orbit
from dreamlift.rendering.rasterization import interpolate, rasterize
from dreamlift.rendering.shading import WorldLight, vertex_normals
from dreamlift.representations.textured_mesh import TexturedMesh

from .texture_refinement import COVERED, Wish

THIN = 0.2  # world units: what is thicker may well have another colour behind, as a house has
STEP = 0.02  # of the way inwards, and how near to the surface it ends: the views' points are about as dense
OPPOSITE = 0.3  # cosine by which the two sides must look away from one another at least
BELIEVED = 0.2  # share of trust from which a pixel of the picture tells what is behind it
NEAR, AMONG = 0.04, 16  # world units around a way's end, and pixels in them, whose median is its colour
PATCH = 50  # pixels of a view that are more than a chance hit, of a handle there are some 300
TURNS, HEIGHTS = (60.0, 120.0, 180.0, 240.0, 300.0, 180.0), (15.0,) * 5 + (-30.0,)  # degrees from the picture's camera
ALIKE = 0.1  # mean distance of those colours from it, sRGB: of two colours nobody knows which is meant
UNLIKE = (0.15, 0.35)  # distance from which the prior's colour is replaced, and altogether: shades it knows better
GREY = 0.5  # behind the wish; no pixel of it counts


@dataclass(frozen=True)
class Shown:
    """What a picture shows of a surface.

    Args:
        points: World units. (P, 3).
        normals: Unit length. (P, 3).
        colours: Without light. (P, 3).
    """

    points: Tensor
    normals: Tensor
    colours: Tensor


def shown_by(points: Tensor, normals: Tensor, colours: Tensor, trust: Tensor) -> Shown:
    """What of a picture is believed.

    Args:
        points: Of the surface, world units. (H, W, 3).
        normals: Unit length. (3, H, W).
        colours: Without light. (3, H, W) in [0, 1].
        trust: How far the picture is believed. (H, W) in [0, 1].
    """
    chosen = trust > BELIEVED
    return Shown(points[chosen], normals[:, chosen].T, colours[:, chosen].T)


def far_sides(
    mesh: TexturedMesh, shown: Shown, camera: Cameras, size: int, light: WorldLight | None, weight: float
) -> list[Wish]:
    """A wish for the far sides of thin parts; none where nothing is thin.

    Args:
        mesh: Inside [-1, 1]^3.
        shown: What its picture shows.
        camera: Took the picture.
        size: Height and width of the views, pixels.
        light: What the texture has painted on; None is none.
        weight: See `Wish`.
    """
    eye = camera.c2w[0, :3, 3]
    azimuth = math.degrees(math.atan2(eye[1], eye[0]))
    cameras = orbit([azimuth + turn for turn in TURNS], list(HEIGHTS), 3.5, 35.0)
    raster = rasterize(mesh.vertices, mesh.faces, cameras, size)
    points = interpolate(raster, mesh.faces, mesh.vertices)[raster.mask]
    normals = interpolate(raster, mesh.faces, vertex_normals(mesh.vertices, mesh.faces))[raster.mask]
    normals = torch.nn.functional.normalize(normals, dim=-1)
    away = (((points - eye) * normals).sum(1) > 0).nonzero()[:, 0]
    depth = thickness(
        points[away], normals[away], torch.cat([points, shown.points]), torch.cat([normals, shown.normals])
    )
    thin = depth.isfinite()
    away, depth = away[thin], depth[thin]
    colours, told = colours_behind(points[away] - depth[:, None] * normals[away], normals[away], shown)
    if not told.any():
        return []
    if light is not None:
        colours = (colours * light.on(normals[away])).clamp(0, 1)
    wanted, belief = torch.full((len(points), 3), GREY), torch.zeros(len(points))
    wanted[away] = torch.where(told[:, None], colours, GREY)
    belief[away] = told * (1 - (depth / THIN).square())
    pictures, trust = torch.full((*raster.mask.shape, 3), GREY), torch.zeros(raster.mask.shape)
    pictures[raster.mask], trust[raster.mask] = wanted, belief
    sight = mesh.see(cameras, size)
    pictures = pictures.permute(0, 3, 1, 2)
    unlike = ((pictures - sight.baked).norm(dim=1) - UNLIKE[0]) / (UNLIKE[1] - UNLIKE[0])
    trust = without_specks(trust * (sight.coverage[:, 0] > COVERED) * unlike.clamp(0, 1))
    return [Wish(sight, torch.full((3,), GREY), pictures, trust, weight, is_soft=False)]


def without_specks(trust: Tensor) -> Tensor:
    """Trust (N, H, W), 0 where a view's patch of it is a few pixels only: a chance hit, and it would be a dot."""
    kept = np.zeros(trust.shape, bool)
    for view, patches in enumerate(trust.numpy() > 0):
        labels, _ = ndimage.label(ndimage.binary_opening(patches))
        kept[view] = (np.bincount(labels.ravel()) >= PATCH)[labels] & (labels > 0)
    return trust * torch.from_numpy(kept)


def thickness(points: Tensor, normals: Tensor, surface: Tensor, outwards: Tensor) -> Tensor:
    """How far it is through a solid, straight inwards.

    Args:
        points: On its surface, world units. (M, 3).
        normals: There, outwards, unit length. (M, 3).
        surface: Points that lie densely on it. (N, 3).
        outwards: Their normals. (N, 3).

    Returns:
        World units, a multiple of `STEP`; infinite beyond `THIN`. (M,).
    """
    depth = torch.full((len(points),), torch.inf)
    tree = cKDTree(surface.numpy())
    for way in np.arange(1, round(THIN / STEP) + 1) * STEP:
        left = depth.isinf().nonzero()[:, 0]
        apart, nearest = tree.query((points[left] - way * normals[left]).numpy(), distance_upper_bound=STEP)
        ended = torch.from_numpy(np.isfinite(apart))
        left, nearest = left[ended], torch.from_numpy(nearest)[ended]
        through = (outwards[nearest] * normals[left]).sum(1) < -OPPOSITE
        depth[left[through]] = float(way)
    return depth


def colours_behind(ends: Tensor, normals: Tensor, shown: Shown) -> tuple[Tensor, Tensor]:
    """The colour of the other side.

    Args:
        ends: Where the ways inwards come out, world units. (M, 3).
        normals: Outwards, where they began. (M, 3).
        shown: What is known.

    Returns:
        The median of what is shown near each end and looks the other way, (M, 3); and whether that is one colour, (M,)
        bool.
    """
    if not len(shown.points) or not len(ends):
        return torch.zeros_like(ends), torch.zeros(len(ends), dtype=torch.bool)
    apart, nearest = cKDTree(shown.points.numpy()).query(ends.numpy(), k=AMONG, distance_upper_bound=NEAR)
    nearest = torch.from_numpy(nearest).clamp_max(len(shown.points) - 1)
    behind = (shown.normals[nearest] * normals[:, None]).sum(-1) < -OPPOSITE
    there = torch.from_numpy(np.isfinite(apart)) & behind
    colours = torch.where(there[..., None], shown.colours[nearest], torch.nan)
    median = colours.nanmedian(dim=1).values
    spread = (colours - median[:, None]).norm(dim=-1).nanmean(1)
    return median.nan_to_num(0.0), spread <= ALIKE  # nan is not
