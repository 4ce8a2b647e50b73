"""Signed distances of plain solids, negative inside, as functions of a point's three coordinates.

Points are tuples `(x, y, z)` of equally shaped tensors: columns stay contiguous, which makes tracing on a CPU several
times faster than one (N, 3) tensor. Distances are exact or a lower bound, so that sphere tracing never steps through.
Knows no colours, classes or cameras. The formulas are the standard ones for these solids.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Point = tuple[Tensor, Tensor, Tensor]


def length(*components: Tensor) -> Tensor:
    """Euclidean length of the vector with these components."""
    return torch.sqrt(sum(component * component for component in components))


def moved(p: Point, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Point:
    """The point in the frame of a solid whose centre stands at (x, y, z)."""
    return p[0] - x, p[1] - y, p[2] - z


def mirrored(p: Point) -> Point:
    """Folds space so that a solid at (+x, +y) appears in all four quadrants."""
    return p[0].abs(), p[1].abs(), p[2]


def along_x(p: Point) -> Point:
    """Turns a solid built around z so that its z axis points to +x."""
    return -p[2], p[1], p[0]


def along_y(p: Point) -> Point:
    """Turns a solid built around z so that its z axis points to +y."""
    return p[0], -p[2], p[1]


def ball(p: Point, radius: float) -> Tensor:
    """Sphere around the origin."""
    return length(*p) - radius


def ellipsoid(p: Point, rx: float, ry: float, rz: float) -> Tensor:
    """Ellipsoid with these half axes; a first-order bound of the distance, good near the surface."""
    scaled = length(p[0] / rx, p[1] / ry, p[2] / rz).clamp_min(1e-4)  # the centre itself has no gradient
    gradient = length(p[0] / rx**2, p[1] / ry**2, p[2] / rz**2).clamp_min(1e-4 / min(rx, ry, rz))
    return scaled * (scaled - 1) / gradient


def box(p: Point, hx: float, hy: float, hz: float, round_: float = 0.02) -> Tensor:
    """Box with half sides hx, hy, hz and rounded edges of radius `round_`."""
    qx, qy, qz = p[0].abs() - (hx - round_), p[1].abs() - (hy - round_), p[2].abs() - (hz - round_)
    outside = length(qx.clamp_min(0), qy.clamp_min(0), qz.clamp_min(0))
    return outside + torch.maximum(qx, torch.maximum(qy, qz)).clamp_max(0) - round_


def cylinder(p: Point, radius: float, half_height: float) -> Tensor:
    """Cylinder around z."""
    side, top = length(p[0], p[1]) - radius, p[2].abs() - half_height
    return torch.maximum(side, top).clamp_max(0) + length(side.clamp_min(0), top.clamp_min(0))


def cone(p: Point, bottom: float, top: float, half_height: float) -> Tensor:
    """Cone frustum around z with radius `bottom` at -half_height and `top` at +half_height."""
    q, z = length(p[0], p[1]), p[2]
    k2x, k2y = top - bottom, 2 * half_height
    cap = torch.where(z < 0, bottom, top)
    cax, cay = q - torch.minimum(q, cap), z.abs() - half_height
    t = (((top - q) * k2x + (half_height - z) * k2y) / (k2x * k2x + k2y * k2y)).clamp(0, 1)
    cbx, cby = q - top + k2x * t, z - half_height + k2y * t
    sign = torch.where((cbx < 0) & (cay < 0), -1.0, 1.0)
    return sign * torch.sqrt(torch.minimum(cax * cax + cay * cay, cbx * cbx + cby * cby))


def torus(p: Point, radius: float, tube: float) -> Tensor:
    """Torus around z: circle of `radius`, tube of radius `tube`."""
    return length(length(p[0], p[1]) - radius, p[2]) - tube


def pyramid(p: Point, half_side: float, half_height: float) -> Tensor:
    """Pyramid with a square base at -half_height and its tip at +half_height; a lower bound."""
    slope = math.hypot(half_side, 2 * half_height)
    side = torch.maximum(p[0].abs(), p[1].abs()) * (2 * half_height / slope)
    return torch.maximum(side + (p[2] - half_height) * (half_side / slope), -half_height - p[2])


def gable(p: Point, half_width: float, half_length: float, height: float) -> Tensor:
    """Roof prism with its ridge along x: base at z = 0 and ridge at z = height; a lower bound."""
    slope = math.hypot(half_width, height)
    roof = p[1].abs() * (height / slope) + (p[2] - height) * (half_width / slope)
    return torch.maximum(torch.maximum(roof, -p[2]), p[0].abs() - half_length)


def union(*distances: Tensor) -> Tensor:
    """The solid made of all of these."""
    result = distances[0]
    for distance in distances[1:]:
        result = torch.minimum(result, distance)
    return result


def cut(solid: Tensor, *holes: Tensor) -> Tensor:
    """The solid without these."""
    for hole in holes:
        solid = torch.maximum(solid, -hole)
    return solid
