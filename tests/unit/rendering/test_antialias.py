"""Outlines: both implementations agree, coverage is right, and gradients are those of supersampled pictures."""

import math

import pytest
import torch
import trimesh
from fakes.meshes import (
    CAMERAS,
    bumpy_ball,
    directions,
    house,
    rods,
    rolled,
    slope_of,
    soup,
    supersampled,
    tensors,
    torus,
    true_change,
)

from dreamlift.rendering import _antialias_torch, _antialias_warp, _blending_warp
from dreamlift.rendering.antialias import MeshEdges, antialias, mesh_edges
from dreamlift.rendering.cameras import Cameras, orbit
from dreamlift.rendering.rasterization import NEAR, camera_space, interpolate, rasterize

IMPLEMENTATIONS = [(_antialias_warp, _blending_warp), (_antialias_torch, _antialias_torch)]
SQUARE = torch.tensor([[0.0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]])
HALVES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def leaning(degrees: float, distance: float = 3.0, fovy: float = 40.0) -> Cameras:
    """A camera in front that leans to its side."""
    return rolled(orbit([0.0], [0.0], distance, fovy), degrees)


def opacity(vertices: torch.Tensor, faces: torch.Tensor, cameras: Cameras, size: int) -> torch.Tensor:
    raster = rasterize(vertices, faces, cameras, size)
    return antialias(raster.mask.float()[..., None], raster, vertices, faces, cameras)[..., 0]


@pytest.mark.parametrize("size", [0.05, 0.4, 2.0, 50.0])
@pytest.mark.parametrize("near", [NEAR, 0.6])
def test_both_implementations_find_the_same_outlines_of_random_triangles(size, near):
    generator = torch.Generator().manual_seed(int(size * 100))
    cameras = orbit([10.0, 100.0], [0.0, 40.0], [2.5, 0.8], [40.0, 80.0])
    found = 0
    for triangles in (1, 6, 120):
        vertices, faces = soup(triangles, size, generator)
        raster = rasterize(vertices, faces, cameras, 32, near=near)
        edges, (seen, tangents) = mesh_edges(faces), camera_space(vertices, cameras)
        visible = (raster.face_ids, raster.depth)
        (ids, shifts), (plain_ids, plain_shifts) = (
            find.shifts(seen, faces, edges.vertices, edges.of_faces, tangents, visible, near)
            for find, _ in IMPLEMENTATIONS
        )
        assert torch.equal(ids, plain_ids) and torch.equal(shifts, plain_shifts)
        assert (shifts.abs() <= 0.5).all()
        found += int((ids >= 0).sum())
    assert found > 20 or size == 50.0


@pytest.mark.parametrize("make", [bumpy_ball, torus, house, lambda: soup(60, 0.5, torch.Generator().manual_seed(1))])
def test_both_implementations_mix_the_same_and_have_the_same_gradients(make):
    vertices, faces = make()
    cameras = orbit([20.0, 200.0], [30.0, -10.0], [2.6, 1.3], [45.0, 70.0])
    generator = torch.Generator().manual_seed(2)
    colours, weights = (torch.rand(2, 48, 48, 3, generator=generator) for _ in range(2))
    raster, found = rasterize(vertices, faces, cameras, 48), []
    for kernels in IMPLEMENTATIONS:
        moved, given = vertices.clone().requires_grad_(), colours.clone().requires_grad_()
        picture = antialias(given, raster, moved, faces, cameras, kernels=kernels)
        (picture * weights).sum().backward()
        found.append((picture.detach(), given.grad, moved.grad))
    assert not torch.equal(found[0][0], colours) and found[0][2].abs().sum() > 0
    for warp, plain in zip(*found, strict=True):
        assert torch.allclose(warp, plain, atol=1e-5 * float(plain.abs().max()))


@pytest.mark.parametrize(
    ("make", "error"), [(lambda: bumpy_ball(5), 0.3), (torus, 0.3), (house, 0.4), (rods, 0.5), (bumpy_ball, 0.35)]
)
def test_opacity_comes_much_nearer_to_the_covered_share_of_pixels(make, error):
    vertices, faces = make()
    camera = CAMERAS["in front"]()
    truth = supersampled(vertices, faces, camera, 96)
    plain = (rasterize(vertices, faces, camera, 96).mask[0].float() - truth).abs().mean()
    smooth = (opacity(vertices, faces, camera, 96)[0] - truth).abs().mean()
    assert smooth < error * plain  # seen: 0.17, 0.18, 0.26, 0.34, 0.21


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize(
    ("make", "least"),
    [(lambda: bumpy_ball(5), 0.2), (torus, 0.2), (house, 0.2), (rods, 1.5)],
    ids=["ball", "torus", "house", "rods"],
)
def test_area_and_translation_have_the_gradients_of_supersampled_pictures(make, least, name):
    """Issue 4: within 10 % at 20,000 triangles and 128 pixels. Mean opacity, and its moments across and down."""
    mesh, camera, size = make(), CAMERAS[name](), 128
    ticks = (torch.arange(size) + 0.5) / size
    weights = {
        "area": torch.ones(size, size),
        "across": ticks.expand(size, size),
        "down": ticks[:, None].expand(size, -1),
    }
    changes = {key: true_change(mesh, move, camera, size) for key, move in directions(mesh[0]).items()}
    for kind, weight in weights.items():
        found = slope_of(lambda picture, weight=weight: (picture * weight).mean(), mesh, camera, size)
        truths = {key: float((change * weight).mean()) for key, change in changes.items()}
        largest = max(abs(truth) for truth in truths.values())
        for key, move in directions(mesh[0]).items():
            slope, truth = float((found * move).sum()), truths[key]
            # A movement that hardly changes the measure is a small difference of large ones. Each outline is sampled
            # once a row and once a column, so the ends of thin rods are known to a pixel (seen: 12 % of the largest).
            assert abs(slope - truth) < 0.1 * max(abs(truth), least * largest), (kind, key, slope, truth)


@pytest.mark.parametrize("degrees", [0.0, 10.0, 45.0, 80.0])
def test_a_square_of_two_triangles_grows_as_geometry_says(degrees):
    vertices, camera, size = SQUARE * 0.7, leaning(degrees), 64
    grown = vertices.clone().requires_grad_()
    area = opacity(grown, HALVES, camera, size)[0].sum()
    area.backward()
    pixels = size / (2 * 3 * math.tan(math.radians(20)))  # a world unit, at the square's distance
    assert area.item() == pytest.approx((1.4 * pixels) ** 2, rel=0.01)
    scale = float((grown.grad * vertices).sum())
    assert scale == pytest.approx(2 * (1.4 * pixels) ** 2, rel=0.03)  # seen: at most 1.5 %, at 45 degrees
    assert float(grown.grad[:, 0].sum()) == pytest.approx(2 * (1.4 * pixels) ** 2 / 3, rel=0.03)  # nearer is larger


def test_where_an_outline_lies_between_two_pixels_sets_how_they_mix():
    camera = orbit([0.0], [0.0], 1.0, 90.0)  # at distance 1 the picture is 2 wide: 32 pixels of 1 / 16
    for past, expected in ((0.5, [1, 1, 0, 0]), (0.7, [1, 1, 0.2, 0]), (0.2, [1, 0.7, 0, 0]), (0.99, [1, 1, 0.49, 0])):
        vertices = SQUARE.clone()
        vertices[1:3, 1] = (2.5 + past) / 16  # the right side, that far past the centre of column 18
        row = opacity(vertices, HALVES, camera, 32)[0, 10]
        assert row[17:21].tolist() == pytest.approx(expected, abs=2e-4)


def test_of_two_outlines_between_the_same_pixels_the_outer_one_counts_whichever_is_nearer():
    camera = orbit([0.0], [0.0], 1.0, 90.0)
    for front, back, expected in ((0.6, 0.9, 0.4), (0.9, 0.6, 0.4), (0.1, 0.3, 0.0)):
        vertices = torch.cat([SQUARE.clone(), SQUARE * 1.5 - torch.tensor([0.5, 0, 0])])
        vertices[1:3, 1], vertices[5:7, 1] = (2.5 + front) / 16, 1.5 * (2.5 + back) / 16  # seen at distances 1 and 1.5
        vertices = vertices.requires_grad_()
        row = opacity(vertices, torch.cat([HALVES, HALVES + 4]), camera, 32)[0, 10]
        assert row[19].item() == pytest.approx(expected, abs=1e-4)
        row[18:20].sum().backward()
        moved = vertices.grad[:, 1].abs() > 0
        assert moved[:4].any() == (front > back) and moved[4:].any() == (back > front)


def test_an_outline_before_another_surface_mixes_their_colours_and_feels_both():
    back, front = SQUARE * 2 - torch.tensor([0.5, 0, 0]), SQUARE * 0.5 + torch.tensor([0.0, 0.013, 0.021])
    vertices = torch.cat([back, front])
    faces = torch.cat([HALVES, HALVES + 4])
    colours = torch.cat([torch.tensor([[1.0, 0, 0]]).expand(4, 3), torch.tensor([[0.0, 0, 1]]).expand(4, 3)])
    camera = leaning(20.0)
    moved = vertices.clone().requires_grad_()
    raster = rasterize(moved, faces, camera, 48)
    picture = antialias(interpolate(raster, faces, colours), raster, moved, faces, camera)
    assert torch.allclose(picture.sum(-1)[raster.mask], torch.ones(int(raster.mask.sum())), atol=1e-5)
    mixed = (picture[..., 0] > 0.05) & (picture[..., 2] > 0.05)
    assert 30 < int(mixed.sum()) < 150
    (picture[..., 2].sum() - picture[..., 0].sum()).backward()
    centre = torch.tensor([0.0, 0.013, 0.021])
    grown = float((moved.grad[4:] * (front - centre)).sum())
    area = (48 / (2 * 3 * math.tan(math.radians(20)))) ** 2
    assert grown == pytest.approx(2 * 2 * area, rel=0.04)  # blue gains what red loses; the square has area 1
    assert moved.grad[:4].abs().max() < 1e-6  # what is behind has its outline elsewhere


def test_hidden_outlines_and_edges_inside_a_surface_change_nothing():
    vertices, faces = tensors(trimesh.creation.icosphere(3))
    wall = torch.tensor([[1.2, -3, -3], [1.2, 3, -3], [1.2, 3, 3], [1.2, -3, 3]])
    faces = torch.cat([faces, HALVES + len(vertices)])
    vertices = torch.cat([vertices * 0.6, wall])
    camera = orbit([0.0], [0.0], 3.0, 40.0)  # sees the wall alone, which fills the picture
    colours = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    raster = rasterize(vertices, faces, camera, 40)
    assert raster.mask.all()
    assert torch.equal(antialias(colours, raster, vertices, faces, camera), colours)


def test_a_floor_that_runs_under_the_camera_has_its_horizon_and_no_other_outline():
    floor = torch.tensor([[-50.0, -50, -0.5], [50, -50, -0.5], [0, 80, -0.5]])
    camera = leaning(10.0, distance=1.0, fovy=60.0)
    raster = rasterize(floor, torch.tensor([[0, 1, 2]]), camera, 64)
    edges, (seen, tangents) = mesh_edges(torch.tensor([[0, 1, 2]])), camera_space(floor, camera)
    args = torch.tensor([[0, 1, 2]]), edges.vertices, edges.of_faces, tangents, (raster.face_ids, raster.depth), NEAR
    ids, _ = _antialias_warp.shifts(seen, *args)
    pairs = raster.mask[0, :, :-1] != raster.mask[0, :, 1:], raster.mask[0, :-1] != raster.mask[0, 1:]
    # Every pair that the horizon parts has its outline, though all its edges reach behind the camera or far away.
    assert torch.equal(ids[0, 0, :, :-1] >= 0, pairs[0]) and torch.equal(ids[1, 0, :-1] >= 0, pairs[1])
    assert pairs[1].sum() > 40


def test_silhouettes_move_an_object_back_to_where_its_picture_was():
    vertices, faces = bumpy_ball(3)
    cameras = orbit([0.0, 90.0], [10.0, 10.0], 2.8, 45.0)
    wanted = opacity(vertices + torch.tensor([0.15, -0.2, 0.1]), faces, cameras, 32)
    offset, edges = torch.zeros(3, requires_grad=True), mesh_edges(faces)
    optimiser = torch.optim.Adam([offset], lr=0.03)
    for _ in range(50):
        raster = rasterize(vertices + offset, faces, cameras, 32)
        alpha = raster.mask.float()[..., None]
        picture = antialias(alpha, raster, vertices + offset, faces, cameras, edges=edges)[..., 0]
        optimiser.zero_grad()
        (picture - wanted).square().mean().backward()
        optimiser.step()
    assert torch.allclose(offset, torch.tensor([0.15, -0.2, 0.1]), atol=0.01)


@pytest.mark.parametrize("make", [bumpy_ball, house, lambda: soup(30, 0.5, torch.Generator().manual_seed(0))])
def test_each_edge_is_listed_once_and_named_by_its_faces(make):
    _, faces = make()
    edges = mesh_edges(faces)
    assert len(torch.unique(edges.vertices, dim=0)) == len(edges.vertices)
    ends = edges.vertices[edges.of_faces.long()].sort(-1).values
    following = faces.roll(-1, dims=1)
    assert torch.equal(ends, torch.stack([faces, following], -1).sort(-1).values.int())


def test_three_faces_may_share_an_edge():
    fan = torch.tensor([[0.0, 0, -0.5], [0, 0, 0.5], [0.1, 0.6, 0], [-0.1, 0.5, 0.1], [0.0, -0.6, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 1, 3], [1, 0, 4]])
    raster = rasterize(fan, faces, leaning(15.0), 48)
    shared = int((mesh_edges(faces).vertices == torch.tensor([0, 1])).all(1).nonzero()[0])
    seen, tangents = camera_space(fan, leaning(15.0))
    edges = mesh_edges(faces)
    visible = (raster.face_ids, raster.depth)
    ids, _ = _antialias_warp.shifts(seen, faces, edges.vertices, edges.of_faces, tangents, visible, NEAR)
    assert not (ids == shared).any() and (ids >= 0).any()  # faces on both sides of it: no outline


def test_no_faces_leave_the_picture_as_it_is():
    nothing, camera = torch.zeros(0, 3, dtype=torch.long), orbit([0.0], [0.0], 3.0, 40.0)
    raster = rasterize(torch.zeros(3, 3), nothing, camera, 8)
    picture = torch.rand(1, 8, 8, 2)
    assert torch.equal(antialias(picture, raster, torch.zeros(3, 3), nothing, camera), picture)
    assert isinstance(mesh_edges(nothing), MeshEdges)


def test_a_picture_of_another_size_is_refused():
    vertices, faces = bumpy_ball(1)
    camera = orbit([0.0], [0.0], 3.0, 40.0)
    raster = rasterize(vertices, faces, camera, 16)
    with pytest.raises(ValueError, match=r"\(1, 16, 16, 'C'\)"):
        antialias(torch.zeros(1, 8, 8, 3), raster, vertices, faces, camera)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_smooths_as_the_cpu_does():
    vertices, faces = bumpy_ball(5)
    cameras = orbit([0.0, 75.0], [0.0, 20.0], 2.7, 40.0)
    found = []
    for device in ("cpu", "cuda"):
        moved, there = vertices.to(device).requires_grad_(), faces.to(device)
        picture = opacity(moved, there, cameras, 128)
        picture.square().sum().backward()
        found.append((picture.detach().cpu(), moved.grad.cpu()))
    for here, there in zip(*found, strict=True):
        assert torch.allclose(here, there, atol=1e-4 * float(here.abs().max()))
