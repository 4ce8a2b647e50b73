"""UVs: inside the unit square, charts apart, and a way out when xatlas takes too long."""

import numpy as np
import pytest
import torch
import trimesh

from dreamlift.assets.topology import Surface
from dreamlift.assets.unwrap import box_projection, unwrapped
from dreamlift.rendering.rasterization import rasterize_uv


def rounded_box():
    mesh = trimesh.creation.box((1.0, 0.7, 0.5)).subdivide().subdivide()
    vertices = mesh.vertices + 0.1 * mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    return Surface(vertices.astype(np.float32), mesh.faces.astype(np.int32))


def drawn_share(uvs, size=512):
    """Texels that faces own over texels that their areas add up to: 1 where no two faces overlap."""
    a, b, c = (uvs[:, k].astype(np.float64) for k in range(3))
    area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum() / 2
    return float(rasterize_uv(torch.from_numpy(uvs), size).mask.sum()) / (area * size * size)


@pytest.mark.parametrize("method", ["xatlas", "box"])
def test_faces_lie_in_the_unit_square_without_overlap(method):
    surface = rounded_box()
    if method == "xatlas":
        result = unwrapped(surface, 256)
        assert result.method == "xatlas"
        uvs = result.uvs
    else:
        uvs = box_projection(surface, 256)
    assert uvs.shape == (len(surface.faces), 3, 2) and uvs.dtype == np.float32
    assert uvs.min() >= 0 and uvs.max() <= 1
    assert drawn_share(uvs) > 0.97
    assert rasterize_uv(torch.from_numpy(uvs), 128).mask.float().mean() > 0.3  # most of the texture is used


def test_when_xatlas_runs_out_of_time_the_box_projection_takes_over(caplog):
    surface = rounded_box()
    result = unwrapped(surface, 256, time_limit=1e-3)
    assert result.method == "box"
    assert "xatlas took longer" in caplog.text
    assert np.array_equal(result.uvs, box_projection(surface, 256))


def test_more_charts_than_texels_still_find_a_place():
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(600, 3)).astype(np.float32)
    uvs = box_projection(Surface(vertices, np.arange(600, dtype=np.int32).reshape(-1, 3)), 32)
    assert uvs.min() >= 0 and uvs.max() <= 1 + 1e-6
