"""Antialiased outlines: where a silhouette edge passes between two pixels, and what moving it does to the picture.

Knows edges of a mesh and finished colours of any number of channels. Knows no shading. Kernels in Warp
(`_antialias_warp`, `_blending_warp`) on CPU and CUDA; `_antialias_torch` is their twin. nvdiffrast's antialiasing takes
over where the user chose it (`_nvdiffrast`).

Edge-driven: the silhouette edges of the mesh are drawn onto the pairs of pixels they cross. Looking the edge up in the
triangle that a pixel sees, as is common, loses most of the gradient once triangles are smaller than a pixel
(docs/log.md has numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from dreamlift.assets.edges import edges_of
from dreamlift.rendering import _antialias_warp, _blending_warp, _nvdiffrast
from dreamlift.rendering.cameras import Cameras
from dreamlift.rendering.rasterization import NEAR, Raster, camera_space


@dataclass(frozen=True)
class MeshEdges:
    """The edges of a mesh, each once.

    Args:
        vertices: The ends, lower index first. (E, 2) int32.
        of_faces: Which edge lies between a face's corners k and k + 1. (F, 3) int32.
    """

    vertices: Tensor
    of_faces: Tensor


def mesh_edges(faces: Tensor) -> MeshEdges:
    """Find the edges of a mesh; any number of faces may share one.

    Args:
        faces: Indices into the vertices. (F, 3) integer.

    Returns:
        The edges, on the faces' device. They depend on the faces alone: keep them while vertices move.
    """
    if faces.device.type == "cpu":
        ends, of_faces = edges_of(faces.numpy())
        return MeshEdges(torch.from_numpy(ends), torch.from_numpy(of_faces))
    following = faces.roll(-1, dims=1)
    ends = torch.stack([torch.minimum(faces, following), torch.maximum(faces, following)], -1).long()
    count = int(faces.max()) + 1 if len(faces) else 1
    keys, of_faces = torch.unique(ends[..., 0] * count + ends[..., 1], return_inverse=True)
    return MeshEdges(torch.stack([keys // count, keys % count], -1).int(), of_faces.view(-1, 3).int())


def antialias(
    colour: Tensor,  # (N, R, R, C)
    raster: Raster,
    vertices: Tensor,  # (V, 3)
    faces: Tensor,  # (F, 3)
    cameras: Cameras,
    *,
    edges: MeshEdges | None = None,
    near: float = NEAR,
    kernels: tuple[ModuleType, ModuleType] = (_antialias_warp, _blending_warp),
) -> Tensor:
    """Smooth a picture along the outlines in it, differentiably in where they are.

    Args:
        colour: What the pixels of `raster` show, background included: colours, alpha, anything. (N, R, R, C) float32.
        raster: What `rasterize` drew of these vertices, faces and cameras.
        vertices: World units. (V, 3) float.
        faces: (F, 3) integer. Corners that coincide must be one vertex: an edge of a single face is an outline.
        cameras: The N cameras.
        edges: `mesh_edges(faces)`, where the faces stay the same over many calls; None finds them again.
        near: As given to `rasterize`.
        kernels: The implementation (of `shifts`, of `blend`); tests pass the torch twin.

    Returns:
        (N, R, R, C): pixels beside an outline mixed by how much of them lies beyond it. Differentiable in the colour
        and, through the place of every outline that is seen, in the vertices.

    Raises:
        ValueError: The picture and the raster differ in size.

    Not seen are outlines where two surfaces pass through one another, creases of two faces that are both in view, and
    parts or gaps too thin to cover a pixel's centre; for those draw at twice the resolution and average.
    """
    if colour.ndim != 4 or colour.shape[:3] != raster.face_ids.shape:
        expected = (*raster.face_ids.shape, "C")
        raise ValueError(f"colour must be {expected} as the raster is, got {tuple(colour.shape)}.")
    seen, tangents = camera_space(vertices, cameras)
    visible = (raster.face_ids, raster.depth.detach())
    if _nvdiffrast.is_chosen(vertices.device):
        return _nvdiffrast.antialias(colour, raster.barycentrics, visible, seen, faces, tangents)
    edges = edges or mesh_edges(faces)
    find, mix = kernels
    edge_ids, shifts = find.shifts(seen, faces, edges.vertices, edges.of_faces, tangents, visible, near)
    return mix.blend(colour.float(), edge_ids, shifts)
