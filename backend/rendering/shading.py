"""Soft shading: albedo, textureless or Lambertian under a point light, as MVDream trains its shape; and one light that
stays with the world, as the mini models know it.

Knows lights and colours at points. Knows no rays. Source: systems.md 6.5 and 1.16.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor

from .cameras import Cameras


class Shading(enum.Enum):
    """What a rendering shows."""

    ALBEDO = "albedo"
    TEXTURELESS = "textureless"
    LAMBERTIAN = "lambertian"


@dataclass(frozen=True)
class Light:
    """Point lights and how much of the light is direct.

    Args:
        positions: One a view, world units. (N, 3).
        diffuse: k_d in [0, 1]; ambient light is k_a = 1 - k_d.
        shading: What to show.
    """

    positions: Tensor
    diffuse: float
    shading: Shading


@dataclass(frozen=True)
class WorldLight:
    """One distant light that stays with the world, and what comes from everywhere; the default is the mini models'.

    Args:
        direction: Towards the light, world axes; any length.
        ambient: Share of the albedo that every surface shows.
        diffuse: What a surface that faces the light shows beside it.
        underside: What a surface that faces the ground shows less.
    """

    direction: tuple[float, float, float] = (0.55, -0.35, 0.76)
    ambient: float = 0.70
    diffuse: float = 0.36
    underside: float = 0.10

    def on(self, normals: Tensor) -> Tensor:
        """Brightness of surfaces: unit normals (..., 3) -> (..., 1), what the albedo is multiplied by."""
        towards = torch.nn.functional.normalize(normals.new_tensor(self.direction), dim=0)
        lit, below = (normals @ towards).clamp_min(0), (-normals[..., 2]).clamp_min(0)
        return (self.ambient + self.diffuse * lit - self.underside * below)[..., None]


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Normals of a mesh, means over the faces around each vertex by their area.

    Args:
        vertices: (V, 3).
        faces: (F, 3) integer.

    Returns:
        Not of unit length, which interpolation would undo. (V, 3).
    """
    corners = vertices[faces.long()]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return torch.zeros_like(vertices).index_add_(0, faces.long().flatten(), areas.repeat_interleave(3, 0))


def sample_light(
    cameras: Cameras,
    generator: torch.Generator,
    *,
    distance: tuple[float, float] = (0.8, 1.5),
    diffuse_probability: float = 0.75,
    textureless_probability: float = 0.5,
) -> Light:
    """Draw the light and the shading of one step.

    Args:
        cameras: N views; each gets a light in direction normalize(camera position + N(0, 1)) [systems.md 1.16].
        generator: Of all draws, on the CPU.
        distance: Range of the lights' distance from the origin, world units.
        diffuse_probability: Of any light at all; else the albedo is shown.
        textureless_probability: Of a white object, given light.

    Returns:
        Lights on the cameras' device; k_d is drawn from U(0, 1) once a step (soft shading).
    """
    centres = cameras.c2w[:, :3, 3]
    noise = torch.randn(len(cameras), 3, generator=generator).to(centres)
    low, high = distance
    far = low + (high - low) * torch.rand(len(cameras), 1, generator=generator).to(centres)
    positions = torch.nn.functional.normalize(centres + noise, dim=-1) * far
    dice = torch.rand(3, generator=generator).tolist()
    if dice[0] >= diffuse_probability:
        shading = Shading.ALBEDO
    else:
        shading = Shading.TEXTURELESS if dice[1] < textureless_probability else Shading.LAMBERTIAN
    return Light(positions, dice[2], shading)


def shade(
    light: Light,
    views: Tensor,  # (M,)
    points: Tensor,  # (M, 3)
    albedo: Tensor,  # (M, 3)
    normal: Tensor,  # (M, 3)
) -> Tensor:
    """Colour of points under a light: albedo * (k_d max(n . l, 0) + k_a), albedo 1 where textureless.

    Args:
        light: Lights by view.
        views: Which view's light falls on each point. (M,) int64.
        points: World units. (M, 3).
        albedo: In [0, 1]. (M, 3).
        normal: Unit vectors. (M, 3).

    Returns:
        (M, 3) in [0, 1].
    """
    if light.shading is Shading.ALBEDO:
        return albedo
    towards = torch.nn.functional.normalize(light.positions[views] - points, dim=-1)
    brightness = light.diffuse * (normal * towards).sum(-1, keepdim=True).clamp_min(0) + 1 - light.diffuse
    return brightness.expand_as(albedo) if light.shading is Shading.TEXTURELESS else albedo * brightness


def orientation_loss(
    weights: Tensor,  # (M,)
    normals: Tensor,  # (M, 3)
    directions: Tensor,  # (M, 3)
    rays_hit: Tensor,  # scalar
) -> Tensor:
    """Visible points must face the camera: sum of stopgrad(w) max(n . d, 0)^2 over rays that hit [systems.md 1.12].

    Args:
        weights: Of the samples in their rays. (M,).
        normals: At the samples. (M, 3).
        directions: Of the samples' rays. (M, 3).
        rays_hit: Number of rays with any opacity.

    Returns:
        A scalar.
    """
    backwards = (normals * directions).sum(-1).clamp_min(0).square()
    return (weights.detach() * backwards).sum() / rays_hit.clamp_min(1)
