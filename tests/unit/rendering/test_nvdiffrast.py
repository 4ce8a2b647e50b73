"""nvdiffrast by choice: conventions in and out, with a scripted module in its place that keeps them as documented."""

import sys
from types import ModuleType

import pytest
import torch
from fakes.meshes import bumpy_ball

from dreamlift.rendering import _nvdiffrast, _rasterization_torch
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.rasterization import camera_space, rasterize

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


class FakeNvdiffrast(ModuleType):
    """Draws clip space with rows from the bottom and faces counted from 1, as nvdiffrast documents it."""

    def __init__(self):
        super().__init__("nvdiffrast.torch")
        self.smoothed: list[tuple[torch.Tensor, ...]] = []

    def RasterizeCudaContext(self, device=None):  # noqa: N802, nvdiffrast's name
        return "a context"

    def rasterize(self, context, clip, triangles, resolution):
        assert context == "a context" and triangles.dtype == torch.int32 and clip.dtype == torch.float32
        w = clip[..., 3]
        assert (clip[..., 2].abs() <= w)[w > 0.011].all()  # nothing that is in front is cut away
        seen = torch.stack([clip[..., 0], clip[..., 1], w], -1)
        ids, shares, _ = _rasterization_torch.draw(seen, triangles, torch.ones(len(clip)), resolution[0], 1e-2)
        over_w = torch.zeros(ids.shape)
        raster = torch.cat([shares[..., :2], torch.stack([over_w, ids + 1.0], -1)], -1)
        return raster.flip(1), None

    def antialias(self, colour, raster, clip, triangles):
        assert colour.is_contiguous() and raster.is_contiguous()
        self.smoothed.append((colour, raster, clip, triangles))
        return colour * 0.5 + clip.sum() * 0


@pytest.fixture
def fake(monkeypatch):
    module = FakeNvdiffrast()
    package = ModuleType("nvdiffrast")
    package.torch = module
    monkeypatch.setitem(sys.modules, "nvdiffrast", package)
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", module)
    _nvdiffrast._context.cache_clear()
    yield module
    _nvdiffrast._context.cache_clear()


def test_it_is_taken_only_on_cuda_and_only_where_it_was_chosen(monkeypatch):
    monkeypatch.delenv(_nvdiffrast.VARIABLE, raising=False)
    assert not _nvdiffrast.is_chosen(CUDA)
    monkeypatch.setenv(_nvdiffrast.VARIABLE, "nvdiffrast")
    assert _nvdiffrast.is_chosen(CUDA) and not _nvdiffrast.is_chosen(CPU)
    monkeypatch.setenv(_nvdiffrast.VARIABLE, "warp")
    assert not _nvdiffrast.is_chosen(CUDA)
    monkeypatch.setenv(_nvdiffrast.VARIABLE, "opengl")
    with pytest.raises(ValueError, match="'opengl': set it to warp"):
        _nvdiffrast.is_chosen(CPU)


def test_where_it_is_missing_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvdiffrast", None)
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", None)
    with pytest.raises(ImportError, match="unset the variable"):
        _nvdiffrast.load()


def test_its_raster_is_ours(fake):
    vertices, faces = bumpy_ball(3)
    cameras = orbit([20.0, 140.0], [30.0, -20.0], [2.6, 3.0], [45.0, 60.0])
    ours, theirs = (rasterize(vertices, faces, cameras, 48, **choice) for choice in ({}, {"draw": _nvdiffrast.draw}))
    same = ours.face_ids == theirs.face_ids
    assert same.float().mean() > 0.998  # its clip space rounds pixel centres on edges in another way
    assert torch.equal(ours.depth[same], theirs.depth[same])
    assert torch.equal(ours.barycentrics[same], theirs.barycentrics[same])


def test_its_antialiasing_gets_its_own_conventions_and_gives_back_ours(fake):
    vertices, faces = bumpy_ball(2)
    cameras = orbit([20.0], [30.0], 2.6, 45.0)
    raster = rasterize(vertices, faces, cameras, 32)
    moved = vertices.clone().requires_grad_()
    seen, tangents = camera_space(moved, cameras)
    colour = torch.rand(1, 32, 32, 3)
    visible = (raster.face_ids, raster.depth)
    picture = _nvdiffrast.antialias(colour, raster.barycentrics, visible, seen, faces, tangents)
    assert torch.allclose(picture, colour * 0.5)
    picture.sum().backward()
    assert moved.grad.isfinite().all()
    given, lines, clip, _ = fake.smoothed[0]
    assert torch.equal(given[:, -1], colour[:, 0])
    assert torch.equal(lines.flip(1)[..., 3].int() - 1, raster.face_ids)
    nearer = raster.mask & (raster.depth < raster.depth[raster.mask].median())
    assert lines.flip(1)[..., 2][nearer].max() < lines.flip(1)[..., 2][raster.mask & ~nearer].max()
    place = clip[0, :, :2] / clip[0, :, 3:]
    assert torch.allclose(place, (seen / seen[..., 2:] / tangents)[0, :, :2], atol=1e-6)
