"""Meshes and cameras that the rasteriser's tests share, and a supersampled truth for its gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import trimesh

from dreamlift.rendering.antialias import antialias, mesh_edges
from dreamlift.rendering.cameras import Cameras, orbit
from dreamlift.rendering.rasterization import interpolate, rasterize

Mesh = tuple[torch.Tensor, torch.Tensor]


def tensors(mesh: trimesh.Trimesh) -> Mesh:
    return torch.tensor(np.asarray(mesh.vertices), dtype=torch.float32), torch.tensor(np.asarray(mesh.faces))


def bumpy_ball(subdivisions: int = 3) -> Mesh:
    """A ball with bumps: 20,480 triangles at 5 subdivisions, some hidden behind others."""
    vertices, faces = tensors(trimesh.creation.icosphere(subdivisions))
    return vertices * (0.8 + 0.15 * torch.sin(5 * vertices[:, :1]) * torch.sin(4 * vertices[:, 1:2])), faces


def torus() -> Mesh:
    """20,480 triangles that hide one another, with a hole."""
    return tensors(trimesh.creation.torus(0.65, 0.22, major_sections=128, minor_sections=80))


def house() -> Mesh:
    """A box under a gable roof, cut into about 20,000 triangles: sharp edges, flat sides, parts through one another."""
    roof = [[-0.6, -0.5, 0.35], [0.6, -0.5, 0.35], [0.6, 0.5, 0.35], [-0.6, 0.5, 0.35], [-0.6, 0, 0.8], [0.6, 0, 0.8]]
    sides = [[0, 3, 2], [0, 2, 1], [0, 1, 5], [0, 5, 4], [1, 2, 5], [2, 3, 4], [2, 4, 5], [3, 0, 4]]
    parts = [trimesh.creation.box((1.0, 0.8, 0.7)), trimesh.Trimesh(roof, sides)]
    return joined([divided(part, 6000) for part in parts])


def rods() -> Mesh:
    """A cross of rods about two pixels thick at 128 pixels, about 20,000 triangles."""
    places = [((0, 0, 0), (0.06, 0.06, 1.6)), ((0, 0, 0.3), (1.4, 0.06, 0.05)), ((0, 0, -0.5), (0.05, 1.4, 0.06))]
    boxes = [trimesh.creation.box(size, trimesh.transformations.translation_matrix(at)) for at, size in places]
    return joined([divided(box, 6000) for box in boxes])


def divided(mesh: trimesh.Trimesh, least: int) -> trimesh.Trimesh:
    while len(mesh.faces) < least:
        mesh = mesh.subdivide()
    return mesh


def joined(meshes: list[trimesh.Trimesh]) -> Mesh:
    return tensors(trimesh.util.concatenate(meshes))


def soup(triangles: int, size: float, generator: torch.Generator) -> Mesh:
    """Triangles of that size anywhere in [-1, 1]^3; every fifth shares corners with others at random."""
    centres = torch.rand(triangles, 1, 3, generator=generator) * 2 - 1
    vertices = (centres + size * torch.randn(triangles, 3, 3, generator=generator)).reshape(-1, 3)
    faces = torch.arange(3 * triangles).view(-1, 3)
    faces[::5] = torch.randint(0, len(vertices), faces[::5].shape, generator=generator)
    return vertices, faces


def rolled(camera: Cameras, degrees: float) -> Cameras:
    """A camera that leans to its side, so that straight edges lie along no row of pixels.

    Of an edge along a row all samples of a supersampled picture change sides at once, and differences of it are noise.
    """
    angle, turn = math.radians(degrees), torch.eye(4)
    turn[:2, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return Cameras(camera.c2w @ turn, camera.fovy)


CAMERAS = {
    "in front": lambda: rolled(orbit([30.0], [28.0], 2.7, 45.0), 7.0),
    "from above": lambda: rolled(orbit([250.0], [50.0], 2.4, 50.0), 7.0),
    "from below": lambda: rolled(orbit([110.0], [-25.0], 3.2, 40.0), 29.0),
    "from the side": lambda: rolled(orbit([0.0], [5.0], 2.8, 45.0), 7.0),  # a torus's far side just shows over the near
}


def directions(vertices: torch.Tensor) -> dict[str, torch.Tensor]:
    """How each vertex moves in each of the tests' movements."""
    axes = {name: torch.eye(3)[k].expand_as(vertices) for k, name in enumerate("xyz")}
    return {**axes, "scale": vertices}


def supersampled(vertices: torch.Tensor, faces: torch.Tensor, camera: Cameras, size: int, samples: int = 8):
    """Opacity (size, size): the mean of samples x samples points a pixel, without antialiasing."""
    mask = rasterize(vertices, faces, camera, size * samples).mask[0].float()
    return mask.view(size, samples, size, samples).mean((1, 3))


def true_change(mesh: Mesh, movement: torch.Tensor, camera: Cameras, size: int, samples: int = 8) -> torch.Tensor:
    """Central difference of supersampled opacity (size, size) along a movement of the vertices.

    The step is about half a pixel of 128: of a long straight edge only as many samples change sides as it has steps
    against their rows, and with a fifth of that step the area of a thin rod grew by 0.049 instead of 0.034.
    """
    (vertices, faces), step = mesh, 2e-2
    ahead, back = (supersampled(vertices + k * step * movement, faces, camera, size, samples) for k in (1, -1))
    return (ahead - back) / (2 * step)


def slope_of(loss: Callable[[torch.Tensor], torch.Tensor], mesh: Mesh, camera: Cameras, size: int) -> torch.Tensor:
    """Gradient (V, 3) of a loss of the antialiased opacity (size, size)."""
    vertices, faces = mesh[0].clone().requires_grad_(), mesh[1]
    raster = rasterize(vertices, faces, camera, size)
    opacity = interpolate(raster, faces, torch.ones(len(vertices), 1))
    picture = antialias(opacity, raster, vertices, faces, camera, edges=mesh_edges(faces))
    loss(picture[0, ..., 0]).backward()
    return vertices.grad
