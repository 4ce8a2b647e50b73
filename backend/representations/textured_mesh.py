"""A textured mesh whose colours can still be changed: a baked texture, and a residual on a lattice in space.

Knows a fixed mesh, its UVs, its texture and cameras; visibility is fixed, so a rendering is linear in the residual and
`Sight` holds that linear map. Knows no prior and no loss (`distillation.texture_fit` finds the residual).

Why not texels as parameters: a texture has many more texels than small views have pixels, most texels are seen by no
pixel of a step, and texels of two charts that meet on the surface know nothing of each other. The lattice lives in
space: its cell is as fine as the views resolve, a pixel's footprint reaches all nodes below it, and both sides of a
seam read the same nodes, so a seam that was closed stays closed. The texture is written from it at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from dreamlift.assets.bake import padded
from dreamlift.assets.contact_sheet import sample_texture
from dreamlift.assets.topology import Surface
from dreamlift.rendering.cameras import Cameras
from dreamlift.rendering.rasterization import interpolate, rasterize, rasterize_uv

_CORNERS = torch.tensor([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
_LOW = -1.5  # where the lattice starts on each axis, world units: objects live in [-1, 1]^3, cells reach beyond


@dataclass(frozen=True)
class Sight:
    """What cameras see of the mesh, in pixels that average their samples.

    Args:
        baked: Colour of the baked texture times coverage. (N, 3, H, W) float32.
        coverage: Share of the pixel that the mesh covers. (N, 1, H, W) float32 in [0, 1].
        effect: Nodes of the residual to pixels, (N * H * W, K) sparse float32: what to add to `baked` is effect @ r.
    """

    baked: Tensor
    coverage: Tensor
    effect: sparse.csr_matrix

    def images(self, residual: Tensor, behind: Tensor) -> Tensor:
        """Pictures over a background.

        Args:
            residual: Of the nodes. (K, 3).
            behind: One colour. (3,) in [0, 1].

        Returns:
            (N, 3, H, W) in [0, 1].
        """
        views, _, size, _ = self.baked.shape
        added = torch.from_numpy(self.effect @ residual.detach().cpu().numpy())
        added = added.view(views, size, size, 3).permute(0, 3, 1, 2)
        return (self.baked + added + (1 - self.coverage) * behind.view(1, 3, 1, 1)).clamp(0, 1)


class TexturedMesh(nn.Module):
    """A mesh with a texture and a residual that starts at zero. Everything is on the CPU.

    Args:
        surface: The mesh, inside [-1, 1]^3.
        uvs: (F, 3, 2) float32 in [0, 1], origin bottom left.
        texture: (S, S, 3) uint8 sRGB, row 0 is the top.
        spacing: Cell of the lattice, world units; about half a pixel of the views that will be looked at.

    Attributes:
        residual: Added to the baked colour, sRGB; trilinear between nodes. (K, 3).
        neighbours: Pairs of nodes one cell apart. (E, 2) int64.
    """

    def __init__(self, surface: Surface, uvs: np.ndarray, texture: np.ndarray, spacing: float):
        super().__init__()
        self.vertices = torch.from_numpy(np.ascontiguousarray(surface.vertices, dtype=np.float32))
        self.faces = torch.from_numpy(np.ascontiguousarray(surface.faces, dtype=np.int32))
        self.uvs = torch.from_numpy(np.ascontiguousarray(uvs, dtype=np.float32))
        self.baked = texture
        self.spacing = spacing
        self._across = int(np.ceil(-2 * _LOW / spacing)) + 2
        raster = rasterize_uv(self.uvs, texture.shape[0])
        self._owned = raster.mask[0]
        self._texels = interpolate(raster, self.faces, self.vertices[self.faces.long()])[0][self._owned]
        near = torch.cat([self._texels, self.vertices, self.vertices[self.faces.long()].mean(1)])
        self._keys = torch.cat([self._cells(part)[0].unique() for part in near.split(1 << 18)]).unique()
        self.residual = nn.Parameter(torch.zeros(len(self._keys), 3))
        self.neighbours = self._pairs()

    def _cells(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (M, 8) of the corners of the points' cells, and their trilinear weights (M, 8)."""
        place = ((points - _LOW) / self.spacing).clamp(0, self._across - 1.001)
        low = place.long()
        inside = (place - low)[:, None]
        weights = torch.where(_CORNERS.bool(), inside, 1 - inside).prod(-1)
        strides = torch.tensor([self._across**2, self._across, 1])
        return ((low[:, None] + _CORNERS) * strides).sum(-1), weights

    def _pairs(self) -> Tensor:
        pairs = []
        for stride in (1, self._across, self._across**2):  # nodes never lie on the lattice's faces: no wrapping
            other = torch.searchsorted(self._keys, self._keys + stride).clamp(max=len(self._keys) - 1)
            there = self._keys[other] == self._keys + stride
            pairs.append(torch.stack([there.nonzero()[:, 0], other[there]], 1))
        return torch.cat(pairs)

    def nodes(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Which nodes make a point's residual.

        Args:
            points: On the surface. (M, 3).

        Returns:
            Indices (M, 8) int64 and weights (M, 8) that sum to 1. A corner that is no node has weight 0.
        """
        keys, weights = self._cells(points)
        index = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        weights = torch.where(self._keys[index] == keys, weights, torch.zeros(()))
        return index, weights / weights.sum(1, keepdim=True).clamp_min(1e-6)

    def residual_at(self, points: Tensor) -> Tensor:
        """What is added to the baked colour at points (M, 3) of the surface; (M, 3)."""
        index, weights = self.nodes(points)
        return (self.residual[index] * weights[..., None]).sum(1)

    @torch.no_grad()
    def node_colours(self) -> Tensor:
        """The baked colour at the nodes, (K, 3): the mean over the texels around each."""
        total, share = torch.zeros(len(self._keys), 3), torch.zeros(len(self._keys), 1)
        colours = torch.from_numpy(self.baked)[self._owned].float() / 255
        for points, values in zip(self._texels.split(1 << 18), colours.split(1 << 18), strict=True):
            index, weights = (part.flatten() for part in self.nodes(points))
            total.index_add_(0, index, values.repeat_interleave(8, 0) * weights[:, None])
            share.index_add_(0, index, weights[:, None])
        return total / share.clamp_min(1e-6)

    @torch.no_grad()
    def see(self, cameras: Cameras, size: int, supersample: int = 2) -> Sight:
        """Look at the mesh, unlit.

        Args:
            cameras: N cameras.
            size: Height and width of the pictures, pixels.
            supersample: Samples a pixel along each side; they are averaged.
        """
        raster = rasterize(self.vertices, self.faces, cameras.to("cpu"), size * supersample)
        mask = raster.mask
        points = interpolate(raster, self.faces, self.vertices)[mask]
        uvs = interpolate(raster, self.faces, self.uvs)[mask]
        colour = torch.zeros(*mask.shape, 3)
        colour[mask] = torch.from_numpy(sample_texture(self.baked, uvs.numpy()).astype(np.float32))
        baked = nn.functional.avg_pool2d(colour.permute(0, 3, 1, 2), supersample)
        coverage = nn.functional.avg_pool2d(mask[:, None].float(), supersample)
        view, row, column = mask.nonzero(as_tuple=True)
        pixel = (view * size + row // supersample) * size + column // supersample
        index, weights = self.nodes(points)
        shape = (len(mask) * size * size, len(self._keys))
        places = (pixel.repeat_interleave(8).numpy(), index.flatten().numpy())
        effect = sparse.csr_matrix((weights.flatten().numpy() / supersample**2, places), shape, dtype=np.float32)
        return Sight(baked, coverage, effect)

    @torch.no_grad()
    def colours(self) -> Tensor:
        """Colours of the vertices, for previews. (V, 3) in [0, 1]."""
        corners = sample_texture(self.baked, self.uvs.reshape(-1, 2).numpy()).astype(np.float32)
        colours = torch.zeros(len(self.vertices), 3)
        colours[self.faces.long().flatten()] = torch.from_numpy(corners)
        return (colours + self.residual_at(self.vertices)).clamp(0, 1)

    @torch.no_grad()
    def texture(self) -> np.ndarray:
        """The texture with the residual in it: (S, S, 3) uint8 sRGB, padded past the charts' edges."""
        added = torch.cat([self.residual_at(part) for part in self._texels.split(1 << 18)])
        owned = self._owned.numpy()
        texture = self.baked.copy()
        colours = torch.from_numpy(self.baked)[self._owned].float() + 255 * added
        texture[owned] = colours.clamp(0, 255).round().byte().numpy()
        return padded(texture, owned)
