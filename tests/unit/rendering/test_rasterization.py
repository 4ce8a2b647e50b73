"""Visibility: both implementations agree, and both agree with geometry that can be worked out by hand."""

import math

import numpy as np
import pytest
import torch
import trimesh
from scipy import ndimage

from dreamlift.rendering import _rasterization_torch, _rasterization_warp
from dreamlift.rendering.cameras import camera_rays, orbit
from dreamlift.rendering.rasterization import interpolate, rasterize, rasterize_uv

DRAWS = [_rasterization_warp.draw, _rasterization_torch.draw]


def bumpy_ball(subdivisions: int = 3):
    mesh = trimesh.creation.icosphere(subdivisions)
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32)
    vertices = vertices * (0.8 + 0.15 * torch.sin(5 * vertices[:, :1]) * torch.sin(4 * vertices[:, 1:2]))
    return vertices, torch.tensor(mesh.faces)


@pytest.mark.parametrize("distance", [3.2, 1.3, 0.9])
def test_warp_and_torch_see_the_same_faces(distance):
    vertices, faces = bumpy_ball()
    cameras = orbit([0.0, 75.0, 200.0], [0.0, 20.0, 60.0], distance, 45.0)
    warp, plain = (rasterize(vertices, faces, cameras, 48, draw=draw) for draw in DRAWS)
    same = warp.face_ids == plain.face_ids
    # Seen: all of 3 x 65536 pixels on an EPYC. A pixel centre on an edge may go either way, by rounding.
    assert same.float().mean() > 0.999
    assert torch.allclose(warp.depth[same], plain.depth[same], atol=1e-5)
    assert torch.allclose(warp.barycentrics[same], plain.barycentrics[same], atol=1e-4)
    assert torch.equal(warp.mask, warp.depth.isfinite())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_sees_what_the_cpu_sees():
    vertices, faces = bumpy_ball(5)
    cameras = orbit([0.0, 75.0], [0.0, 20.0], 2.7, 40.0)
    here, there = rasterize(vertices, faces, cameras, 256), rasterize(vertices.cuda(), faces.cuda(), cameras, 256)
    assert (here.face_ids == there.face_ids.cpu()).float().mean() > 0.999


@pytest.mark.parametrize("draw", DRAWS)
def test_hits_lie_on_the_pixels_rays(draw):
    vertices, faces = bumpy_ball()
    cameras = orbit([30.0], [25.0], 2.5, 40.0)
    raster = rasterize(vertices, faces, cameras, 32, draw=draw)
    origins, directions = camera_rays(cameras, 32)
    points = interpolate(raster, faces, vertices)
    along = ((points - origins) * directions).sum(-1, keepdim=True) * directions
    assert torch.allclose((points - origins)[raster.mask], along[raster.mask], atol=1e-5)
    forward = -cameras.c2w[0, :3, 2]
    depth = ((points - origins) * forward).sum(-1)
    assert torch.allclose(depth[raster.mask], raster.depth[raster.mask], atol=1e-5)


@pytest.mark.parametrize("draw", DRAWS)
def test_the_nearer_of_two_squares_is_seen_whatever_their_order(draw):
    square = torch.tensor([[0.0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]])
    vertices = torch.cat([square * 0.5 + torch.tensor([0.5, 0, 0]), square * 0.5])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    for order in (faces, faces.flip(0)):
        raster = rasterize(vertices, order, orbit([0.0], [0.0], 3.0, 40.0), 16, draw=draw)
        seen = order[raster.face_ids[0, 8, 8].long()]
        assert seen.max() <= 3
        assert raster.depth[0, 8, 8] == pytest.approx(2.5, abs=1e-5)


@pytest.mark.parametrize("draw", DRAWS)
def test_a_floor_under_the_camera_is_cut_at_the_near_plane_and_not_dropped(draw):
    floor = torch.tensor([[-50.0, -50, -0.5], [50, -50, -0.5], [0, 80, -0.5]])
    camera = orbit([0.0], [0.0], 1.0, 60.0)  # stands above the triangle: two corners are behind it
    raster = rasterize(floor, torch.tensor([[0, 1, 2]]), camera, 64, draw=draw)
    rows = raster.mask[0, :, 32]
    assert not rows[:32].any() and rows[34:].all()
    pitch = math.tan(math.radians(30)) * (2 * (63 + 0.5) / 64 - 1)
    assert raster.depth[0, 63, 32] == pytest.approx(0.5 / pitch, rel=1e-4)


@pytest.mark.parametrize("draw", DRAWS)
def test_what_is_behind_the_camera_is_not_seen(draw):
    vertices, faces = bumpy_ball(1)
    raster = rasterize(vertices + torch.tensor([9.0, 0, 0]), faces, orbit([0.0], [0.0], 3.0, 40.0), 16, draw=draw)
    assert not raster.mask.any()


@pytest.mark.parametrize("draw", DRAWS)
def test_a_closed_mesh_has_no_pinholes(draw):
    vertices, faces = bumpy_ball(4)
    raster = rasterize(vertices, faces, orbit([10.0], [10.0], 2.7, 40.0), 128, draw=draw)
    mask = raster.mask[0].numpy()
    assert mask.mean() > 0.2
    assert np.array_equal(ndimage.binary_fill_holes(mask), mask)


@pytest.mark.parametrize("draw", DRAWS)
def test_uv_space_puts_v_one_into_the_top_row(draw):
    uvs = torch.tensor([[[0.0, 0.5], [1, 0.5], [0, 1]], [[0.0, 0.0], [1, 0], [1, 0.5]]])
    raster = rasterize_uv(uvs, 32, draw=draw)
    assert raster.face_ids[0, 4, 4] == 0 and raster.face_ids[0, 30, 20] == 1
    places = interpolate(raster, torch.zeros(2, 3, dtype=torch.long), uvs)[0, 4, 4]
    assert torch.allclose(places, torch.tensor([4.5 / 32, 1 - 4.5 / 32]), atol=1e-5)


def test_interpolation_is_differentiable_in_the_attributes():
    vertices, faces = bumpy_ball(1)
    raster = rasterize(vertices, faces, orbit([0.0], [0.0], 3.0, 40.0), 16)
    colours = torch.rand(len(vertices), 3, requires_grad=True)
    interpolate(raster, faces, colours).sum().backward()
    # Weights of a pixel sum to one, so the gradients of one channel sum to the number of pixels.
    assert colours.grad[:, 0].sum() == pytest.approx(float(raster.mask.sum()), rel=1e-4)


def test_no_faces_draw_an_empty_picture():
    raster = rasterize(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.long), orbit([0.0], [0.0], 3.0, 40.0), 8)
    assert not raster.mask.any() and raster.depth.isinf().all()


@pytest.mark.parametrize(
    ("vertices", "faces", "resolution", "words"),
    [
        (torch.zeros(3, 2), torch.zeros(1, 3).long(), 8, "vertices must be"),
        (torch.zeros(3, 3), torch.zeros(1, 4).long(), 8, "triangulate"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, 3]]), 8, "0 to 3 of 3"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), 0, "at least 1 pixel"),
    ],
)
def test_arguments_that_disagree_are_named(vertices, faces, resolution, words):
    with pytest.raises(ValueError, match=words):
        rasterize(vertices, faces, orbit([0.0], [0.0], 3.0, 40.0), resolution)
