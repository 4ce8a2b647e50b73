"""The finished object's outline is brought to the picture's by a smooth deformation of the space around it.

The pull leaves an outline right within a pixel or two of the prior's 64, and the crop that was laid on the half-made
object has taken over some of its faults. So in the end both are solved for together, at twice as many pixels: a lattice
of displacements, as in free-form deformation [Sederberg and Parry 1986], and the picture's crop. What the picture's
reader told holds them: the object stays in its box and the crop near where it was read, and stretching costs, so that
what lies behind an outline moves with it and other sides keep their shape. An addition of ours. Knows an SDF grid, a
picture and its camera; knows no prior.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamlift.rendering.antialias import MeshEdges, antialias, mesh_edges
from dreamlift.rendering.cameras import Cameras, orbit
from dreamlift.rendering.picture_camera import PictureCamera
from dreamlift.rendering.rasterization import rasterize
from dreamlift.representations.sdf_grid import SdfGrid
from dreamlift.representations.trilinear import trilinear

from .field_asset import surface_of
from .field_settings import AssetSettings
from .picture_crop import PIXELS, Crop

log = logging.getLogger(__name__)

NODES = 17  # of the lattice along an edge: an eighth of a world unit apart
STEPS = 100
RATES, DECAY = (2e-3, 2e-3, 0.05), (0.8, 0.95)  # of Adam: world units, half sides and degrees a step; falling
# What follows is worth one squared pixel of `PIXELS` a side, like the outline's own difference.
BOX = 0.0075  # world units by which one side leaves the box
STRETCH = 0.026  # root mean square slope of the displacements
BEND = 0.45  # the same of their second differences, a world unit
SCALE, SHIFT = 0.02, 0.02  # of the crop (logarithm, half sides): how exactly it is read once the box is given
TURN = 3.0  # degrees: how exactly azimuth and elevation are read, where the object has a side
TURNS = 6  # of the fixed point that inverts the deformation: it stretches by a few percent only


class Lattice(torch.nn.Module):
    """A smooth deformation of [-1, 1]^3; at first none.

    Attributes:
        nodes: Displacements at the nodes, world units. (n, n, n, 3).
    """

    def __init__(self, nodes: int = NODES):
        super().__init__()
        self.nodes = torch.nn.Parameter(torch.zeros(nodes, nodes, nodes, 3))

    def forward(self, points: Tensor) -> Tensor:
        """Displacements at points (M, 3) in [-1, 1]; (M, 3), differentiable in the nodes."""
        return trilinear(points, F.pad(self.nodes, (0, 1)))[:, :3]

    @torch.no_grad()
    def sources(self, points: Tensor) -> Tensor:
        """Where the points (M, 3) were before the deformation; (M, 3) in [-1, 1]."""
        before = points
        for _ in range(TURNS):
            before = (points - self(before)).clamp(-1, 1)
        return before

    def effort(self) -> Tensor:
        """What the deformation costs: mean squared slope and mean squared second difference, in their units."""
        apart = 2 / (len(self.nodes) - 1)
        slopes = [self.nodes.diff(dim=axis) / apart for axis in range(3)]
        bends = [self.nodes.diff(n=2, dim=axis) / apart**2 for axis in range(3)]
        stretch, bend = (sum(each.square().mean() for each in parts) for parts in (slopes, bends))
        return stretch / STRETCH**2 + bend / BEND**2


def fit_outline(
    field: SdfGrid,
    asset: AssetSettings,
    opacity: Tensor,  # (S, S)
    camera: PictureCamera,
    corners: Tensor,  # (2, 3)
) -> PictureCamera:
    """Deform an object so that its outline is the picture's.

    Args:
        field: Holds the object, about as large as its box; changed in place.
        asset: How the object's surface will be taken from it.
        opacity: Of the picture. (S, S) in [0, 1]; outlines are compared at this size.
        camera: As it was read in the picture.
        corners: Of the box that the object fills, lowest and highest, world units. (2, 3).

    Returns:
        The camera with the crop under which object and picture lie on one another.

    Raises:
        EmptySurface: The field holds nothing; it is as it was.
    """
    solid = surface_of(field, asset)
    faces, before = torch.from_numpy(solid.faces), torch.from_numpy(solid.vertices)
    edges, cameras = mesh_edges(faces), camera.cameras()
    lattice, crop, turn = Lattice(), Crop(), torch.zeros(2, requires_grad=True)
    moved = zip((lattice.nodes, crop.place, turn), RATES, strict=True)
    optimizer = torch.optim.Adam([{"params": [each], "lr": rate} for each, rate in moved], betas=DECAY)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - 0.9 * step / STEPS)
    for step in range(STEPS):
        vertices = before + lattice(before)
        seen = outline(turned(vertices, camera, turn), faces, cameras, len(opacity), edges)
        apart = (seen - crop.moved(opacity)).square().mean()
        sides = torch.stack([vertices.amin(0), vertices.amax(0)]) - corners
        held = crop.held(SCALE, SHIFT) + (turn / TURN).square().sum() + (sides / BOX).square().sum()
        if step in (0, STEPS - 1):
            log.info("outlines differ by %.1f px^2 of %d x %d", apart.item() * PIXELS**2, PIXELS, PIXELS)
        optimizer.zero_grad()
        (apart * PIXELS**2 + held + lattice.effort()).backward()
        optimizer.step()
        falling.step()
    field.resample(lattice.sources)
    azimuth, elevation = turn.tolist()
    found = replace(camera, azimuth=camera.azimuth + azimuth, elevation=camera.elevation + elevation)
    return crop.camera(found)


def turned(vertices: Tensor, camera: PictureCamera, turn: Tensor) -> Tensor:
    """Points as a camera would see them from a little beside, in front of the camera itself.

    Args:
        vertices: World units. (V, 3).
        camera: Looks at the origin.
        turn: By how much its azimuth and elevation grow, degrees. (2,), differentiable.

    Returns:
        (V, 3), differentiable in both.
    """
    read = turn.new_tensor([camera.azimuth, camera.elevation])
    angles = torch.stack([read, read + turn], dim=1)  # as it was read, and turned
    before, after = orbit(*angles, camera.distance, 0.0).c2w[:, :3, :3]
    return vertices @ after @ before.T


def outline(vertices: Tensor, faces: Tensor, cameras: Cameras, size: int, edges: MeshEdges) -> Tensor:
    """What one camera sees of a mesh, as opacity: (size, size) in [0, 1], differentiable in the vertices."""
    raster = rasterize(vertices, faces, cameras, size)
    covered = raster.mask[..., None].float()
    return antialias(covered, raster, vertices, faces, cameras, edges=edges)[0, ..., 0]
