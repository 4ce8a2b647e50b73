"""Meshes and cameras that the rasteriser's tests share, and a supersampled truth for its gradients."""

from __future__ import annotations

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


CAMERAS = {
    "in front": lambda: orbit([30.0], [28.0], 2.7, 45.0),
    "from above": lambda: orbit([250.0], [50.0], 2.4, 50.0),
    "from below": lambda: orbit([110.0], [-25.0], 3.2, 40.0),
}


def directions(vertices: torch.Tensor) -> dict[str, torch.Tensor]:
    """How each vertex moves in each of the tests' movements."""
    axes = {name: torch.eye(3)[k].expand_as(vertices) for k, name in enumerate("xyz")}
    return {**axes, "scale": vertices}


def supersampled(vertices: torch.Tensor, faces: torch.Tensor, camera: Cameras, size: int, samples: int = 8):
    """Opacity (size, size): the mean of samples x samples points a pixel, without antialiasing."""
    mask = rasterize(vertices, faces, camera, size * samples).mask[0].float()
    return mask.view(size, samples, size, samples).mean((1, 3))


def true_change(mesh: Mesh, movement: torch.Tensor, camera: Cameras, size: int, step: float = 4e-3) -> torch.Tensor:
    """Central difference of supersampled opacity (size, size) along a movement of the vertices."""
    vertices, faces = mesh
    ahead, back = (supersampled(vertices + k * step * movement, faces, camera, size) for k in (1, -1))
    return (ahead - back) / (2 * step)


def slope_of(loss: Callable[[torch.Tensor], torch.Tensor], mesh: Mesh, camera: Cameras, size: int) -> torch.Tensor:
    """Gradient (V, 3) of a loss of the antialiased opacity (size, size)."""
    vertices, faces = mesh[0].clone().requires_grad_(), mesh[1]
    raster = rasterize(vertices, faces, camera, size)
    opacity = interpolate(raster, faces, torch.ones(len(vertices), 1))
    picture = antialias(opacity, raster, vertices, faces, camera, edges=mesh_edges(faces))
    loss(picture[0, ..., 0]).backward()
    return vertices.grad
