"""A textured mesh: pictures are linear in the residual, the texture gets it, and seams stay closed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from dreamlift.assets.bake import baked
from dreamlift.assets.contact_sheet import sample_texture
from dreamlift.assets.topology import Surface
from dreamlift.assets.unwrap import box_projection
from dreamlift.rendering.cameras import orbit
from dreamlift.representations.textured_mesh import TexturedMesh

BALL = trimesh.creation.icosphere(3, 0.6)
SURFACE = Surface(BALL.vertices.astype(np.float32), BALL.faces.astype(np.int32))
SIZE = 256
UVS = box_projection(SURFACE, SIZE)
CAMERAS = orbit([0.0, 130.0, 250.0], [20.0, -40.0, 60.0], 2.7, 40.0)
BEHIND = torch.tensor([0.3, 0.5, 0.7])


def rainbow(points):
    return torch.as_tensor(points) * 0.4 + 0.5


def stripes(points):
    """Added colour that crosses every seam: waves along z."""
    return 0.12 * torch.sin(9 * torch.as_tensor(points)[:, 2:]).expand(-1, 3)


@pytest.fixture
def mesh():
    return TexturedMesh(SURFACE, UVS, baked(SURFACE, UVS, rainbow, SIZE), 0.03)


def painted(mesh):
    """Give the residual the waves: each node the value at its own place."""
    across = mesh._across
    keys = mesh._keys
    place = torch.stack([keys // across**2, keys // across % across, keys % across], -1) * mesh.spacing - 1.5
    mesh.residual.data = stripes(place.float())
    return mesh


def test_without_a_residual_texture_and_pictures_are_the_baked_ones(mesh):
    assert (mesh.texture() == mesh.baked).all()
    sight = mesh.see(CAMERAS, 32)
    assert torch.equal(
        sight.images(mesh.residual, BEHIND), sight.baked + (1 - sight.coverage) * BEHIND.view(1, 3, 1, 1)
    )
    assert 0.2 < float(sight.coverage.mean()) < 0.6


def test_pictures_show_what_the_residual_adds(mesh):
    sight = painted(mesh).see(CAMERAS, 48, supersample=4)
    before, after = (sight.images(residual, BEHIND) for residual in (torch.zeros_like(mesh.residual), mesh.residual))
    repainted = TexturedMesh(SURFACE, UVS, mesh.texture(), 0.03).see(CAMERAS, 48, supersample=4).baked
    inside = (sight.coverage > 0.99).expand_as(after)
    assert float((after - repainted)[inside].abs().max()) < 0.02
    assert float((after - before)[inside].abs().max()) > 0.1


def test_the_texture_gets_the_residual_everywhere(mesh):
    texture = painted(mesh).texture()
    middle = SURFACE.vertices[SURFACE.faces].mean(1)
    wanted = rainbow(middle) + stripes(middle)
    assert np.abs(sample_texture(texture, UVS.mean(1)) - wanted.numpy()).max() < 0.03


def test_seams_stay_closed(mesh):
    """Both charts of a seam have the same colour at its ends, however wild the residual is."""
    generator = torch.Generator().manual_seed(1)
    mesh.residual.data = 0.2 * torch.rand(mesh.residual.shape, generator=generator)
    texture = mesh.texture()
    found = sample_texture(texture, UVS.reshape(-1, 2))
    corner = SURFACE.faces.ravel()
    spread = np.zeros(len(SURFACE.vertices))
    for channel in range(3):
        high, low = np.full(len(spread), -1.0), np.full(len(spread), 2.0)
        np.maximum.at(high, corner, found[:, channel])
        np.minimum.at(low, corner, found[:, channel])
        spread = np.maximum(spread, high - low)
    seam = np.array([len(np.unique(UVS.reshape(-1, 2)[corner == k].round(6), axis=0)) > 1 for k in range(len(spread))])
    assert seam.sum() > 50
    assert spread[seam].max() < 0.1 and spread[seam].mean() < 0.03  # half a texel of padding; values differ by 0.2


def test_nodes_of_a_point_weigh_one_together(mesh):
    points = torch.from_numpy(SURFACE.vertices)
    index, weights = mesh.nodes(points)
    assert torch.allclose(weights.sum(1), torch.ones(len(points)), atol=1e-5)
    assert int(index.max()) < len(mesh.residual) and float(weights.min()) >= 0


def test_nodes_know_the_colour_of_the_texture_around_them(mesh):
    index, weights = mesh.nodes(torch.from_numpy(SURFACE.vertices))
    found = (mesh.node_colours()[index] * weights[..., None]).sum(1)
    assert float((found - rainbow(SURFACE.vertices)).abs().max()) < 0.03
