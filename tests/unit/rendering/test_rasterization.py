"""Visibility: both implementations agree, and both agree with geometry that can be worked out by hand."""

import math

import numpy as np
import pytest
import torch
from fakes.meshes import bumpy_ball, house, rods, soup, torus
from scipy import ndimage
from scipy.spatial import Delaunay

from dreamlift.rendering import _interpolation_warp, _rasterization_torch, _rasterization_warp
from dreamlift.rendering.cameras import camera_rays, orbit
from dreamlift.rendering.rasterization import Raster, interpolate, rasterize, rasterize_uv

DRAWS = [_rasterization_warp.draw, _rasterization_torch.draw]


def both(vertices: torch.Tensor, faces: torch.Tensor, cameras, size: int, near: float = 1e-2) -> Raster:
    """The kernels' raster, which must be the twin's in every bit of every pixel."""
    warp, plain = (rasterize(vertices, faces, cameras, size, near=near, draw=draw) for draw in DRAWS)
    assert torch.equal(warp.face_ids, plain.face_ids)
    assert torch.equal(warp.depth, plain.depth)
    assert torch.equal(warp.barycentrics, plain.barycentrics)
    return warp


@pytest.mark.parametrize("distance", [3.2, 1.3, 0.9, 0.3])
def test_warp_and_torch_see_the_same_from_outside_and_from_inside(distance):
    vertices, faces = bumpy_ball()
    raster = both(vertices, faces, orbit([0.0, 75.0, 200.0], [0.0, 20.0, 60.0], distance, 45.0), 48)
    assert torch.equal(raster.mask, raster.depth.isfinite()) and raster.mask.any()


@pytest.mark.parametrize("make", [lambda: bumpy_ball(5), torus, house, rods], ids=["ball", "torus", "house", "rods"])
def test_warp_and_torch_see_the_same_of_twenty_thousand_triangles(make):
    assert both(*make(), orbit([0.0, 130.0], [0.0, 35.0], 2.6, 42.0), 128).mask.any()


@pytest.mark.parametrize("size", [0.01, 0.1, 1.0, 30.0, 3000.0])
def test_warp_and_torch_see_the_same_of_random_triangles_some_across_the_near_plane(size):
    generator = torch.Generator().manual_seed(int(size * 100))
    cameras = orbit([10.0, 100.0, 190.0], [0.0, 40.0, -30.0], [2.5, 1.1, 0.2], [40.0, 70.0, 110.0])
    cut = 0
    for triangles in (3, 20, 60, 200):
        vertices, faces = soup(triangles, size, generator)
        for near in (1e-2, 0.8):
            raster = both(vertices, faces, cameras, 40, near)
            cut += int((raster.depth[raster.mask] < 1.02 * near).sum())
            assert (raster.depth[raster.mask] >= near * (1 - 1e-6)).all()
    assert cut or size not in (1.0, 30.0)  # triangles across the near plane are seen right up to it


@pytest.mark.parametrize(("size", "near"), [(0.3, 0.01), (2.0, 0.01), (2.0, 0.9), (40.0, 0.2)])
def test_what_is_seen_is_what_rays_hit_first_behind_the_near_plane(size, near):
    vertices, faces = soup(40, size, torch.Generator().manual_seed(int(100 * size)))
    camera = orbit([70.0], [25.0], 0.9, 80.0)
    raster = rasterize(vertices, faces, camera, 40, near=near)
    origins, rays = camera_rays(camera, 40)
    rays = rays / -(rays * camera.c2w[0, :3, 2]).sum(-1, keepdim=True)  # of length one along the camera's axis
    a, b, c = (vertices.double()[faces[:, k]] - origins[0, 0, 0].double() for k in range(3))
    toward = rays[0].double().reshape(-1, 1, 3)
    system = torch.stack([a, b, c], -1)  # weights w of the corners with w_a a + w_b b + w_c c = the ray's end
    weights = torch.linalg.solve(system, toward[..., None])[..., 0]
    depth = 1 / weights.sum(-1)
    depth = torch.where(((weights >= 0).all(-1) | (weights <= 0).all(-1)) & (depth >= near), depth, torch.inf)
    nearest = depth.amin(-1).view(40, 40)
    same = torch.isclose(nearest.float(), raster.depth[0], rtol=1e-4)
    assert raster.mask.sum() > 200
    assert same.float().mean() > 0.998  # seen: all; a pixel centre beside an edge may go either way, by rounding


def test_warp_and_torch_see_the_same_of_degenerate_triangles():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(60, 3, generator=generator) * 2 - 1
    vertices[50:] = vertices[:1] + torch.arange(10)[:, None] * torch.tensor([0.1, 0.02, 0.0])  # all on one line
    vertices[40:45] = vertices[39]
    points, needles = torch.tensor([[3, 3, 3], [40, 41, 42]]), torch.tensor([[50, 52, 59], [7, 7, 9], [8, 40, 44]])
    flat = torch.randint(0, 60, (80, 3), generator=generator)
    raster = both(vertices, torch.cat([points, needles, flat]), orbit([0.0, 90.0], [0.0, 0.0], 2.5, 45.0), 64)
    assert not torch.isin(raster.face_ids, torch.tensor([0, 1, 3], dtype=torch.int32)).any()
    assert raster.depth[raster.mask].isfinite().all() and raster.barycentrics.isfinite().all()


def test_corners_that_are_no_numbers_or_endless_are_not_drawn():
    vertices, faces = bumpy_ball(1)
    for wrong in (math.nan, math.inf, -math.inf, 1e38):
        spoilt = vertices.clone()
        spoilt[5, 1] = wrong
        raster = both(spoilt, faces, orbit([0.0], [0.0], 3.0, 40.0), 32)
        assert raster.depth[raster.mask].isfinite().all() and raster.mask.sum() > 50


def test_of_equally_near_faces_the_lowest_wins_whatever_the_order_of_its_corners():
    vertices, faces = bumpy_ball(2)
    for order in ([1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0]):
        doubled = torch.cat([faces, faces[:, order]])
        assert (both(vertices, doubled, orbit([20.0], [30.0], 2.5, 45.0), 96).face_ids < len(faces)).all()


def test_squares_in_one_plane_cut_in_different_ways_are_equally_near():
    square = torch.tensor([[0.0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]]) * 0.7
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [1, 2, 3], [1, 3, 0]])
    raster = both(square, faces, orbit([0.0], [0.0], 2.9, 40.0), 64)
    assert raster.mask.sum() > 500 and raster.face_ids.max() == 1


def test_faces_agree_exactly_about_the_edge_they_share():
    generator = torch.Generator().manual_seed(3)
    corners = torch.cat([torch.tensor([[0.0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]]), torch.zeros(200, 3)])
    corners[4:, 1:] = torch.rand(200, 2, generator=generator) * 1.9 - 0.95
    faces = torch.tensor(Delaunay(corners[:, 1:].numpy()).simplices).long()
    camera = orbit([0.0], [0.0], 1.0, 60.0)  # the whole picture lies on the square
    whole = both(corners, faces, camera, 256)
    assert whole.mask.all()
    drawn = sum(int(rasterize(corners, face[None], camera, 256).mask.sum()) for face in faces)
    assert drawn == 256 * 256  # no pixel belongs to two faces: no centre lies exactly on an edge


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_sees_what_the_cpu_sees():
    vertices, faces = bumpy_ball(5)
    cameras = orbit([0.0, 75.0], [0.0, 20.0], 2.7, 40.0)
    here, there = rasterize(vertices, faces, cameras, 256), rasterize(vertices.cuda(), faces.cuda(), cameras, 256)
    assert torch.equal(here.face_ids, there.face_ids.cpu()) and torch.equal(here.depth, there.depth.cpu())


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


def test_both_implementations_have_the_same_gradients_in_vertices_and_attributes():
    vertices, faces = bumpy_ball()
    cameras = orbit([0.0, 120.0], [10.0, 40.0], [2.5, 0.5], [45.0, 80.0])  # the second stands inside
    weights = torch.rand(2, 40, 40, 5, generator=torch.Generator().manual_seed(0))
    found = []
    for draw, weigh in zip(DRAWS, (_interpolation_warp.weigh, _rasterization_torch.weigh), strict=True):
        moved, colours = vertices.clone().requires_grad_(), vertices[:, [0, 1, 2, 0]].clone().requires_grad_()
        raster = rasterize(moved, faces, cameras, 40, draw=draw)
        depth = torch.where(raster.mask, raster.depth, 0.0)
        picture = torch.cat([interpolate(raster, faces, colours, weigh=weigh), depth[..., None]], -1)
        (picture * weights).sum().backward()
        found.append((picture.detach(), moved.grad, colours.grad))
    for warp, plain in zip(*found, strict=True):
        assert torch.allclose(warp, plain, atol=1e-5 * float(plain.abs().max()))


def test_gradients_of_depth_and_colour_are_those_of_the_surface():
    vertices, faces = bumpy_ball(4)
    camera = orbit([40.0], [25.0], 2.6, 45.0)
    seen = rasterize(vertices, faces, camera, 48)
    inner = torch.from_numpy(ndimage.binary_erosion(seen.mask[0].numpy(), iterations=3))
    weights = inner * torch.rand(48, 48, generator=torch.Generator().manual_seed(1))

    def loss(points: torch.Tensor) -> torch.Tensor:
        raster = rasterize(points, faces, camera, 48)
        colour = interpolate(raster, faces, torch.sin(3 * vertices))[0].sum(-1)
        return ((colour + torch.where(raster.mask, raster.depth, 0.0)[0]) * weights).double().sum()

    moved = vertices.clone().requires_grad_()
    loss(moved).backward()
    for movement in (torch.tensor([0.0, 0.3, 0.0]), torch.sin(4 * vertices)):
        slope = float((loss(vertices + 1e-3 * movement) - loss(vertices - 1e-3 * movement)) / 2e-3)
        assert float((moved.grad * movement).sum()) == pytest.approx(slope, rel=0.02)  # seen: 0.2 %


def test_attributes_per_corner_keep_their_type_and_get_gradients():
    vertices, faces = bumpy_ball(1)
    raster = rasterize(vertices, faces, orbit([0.0], [0.0], 3.0, 40.0), 16)
    corners = vertices[faces].double().requires_grad_()
    values = interpolate(raster, faces, corners)
    assert values.dtype == torch.float64 and torch.allclose(values.float(), interpolate(raster, faces, vertices))
    values.sum().backward()
    assert corners.grad.shape == corners.shape and corners.grad.abs().sum() > 0


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
