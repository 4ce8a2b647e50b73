"""Cameras: orbit poses, rays, projections, and every conversion between conventions.

World: right-handed, z up. Azimuth 0 looks at the object's front from +x and grows towards +y; elevation is in degrees.
A camera is a 4x4 camera-to-world matrix, OpenGL axes (x right, y up, looking along -z) and a vertical field of view.
Knows no fields, meshes or losses. Nothing else in the project converts a camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cameras:
    """A batch of pinhole cameras with square pixels and a square image.

    Args:
        c2w: Camera-to-world, OpenGL axes. (N, 4, 4) float32.
        fovy: Vertical field of view in degrees. (N,) float32.
        shift: Where the image's middle lies right of and above the camera's axis, as tangents: what is left of a wider
            picture that was cropped. (N, 2) float32; None is no shift. Only rays and rasterisation know of it.
    """

    c2w: Tensor
    fovy: Tensor
    shift: Tensor | None = None

    def __len__(self) -> int:
        return self.c2w.shape[0]

    def __getitem__(self, index) -> Cameras:
        return Cameras(self.c2w[index], self.fovy[index], None if self.shift is None else self.shift[index])

    def to(self, target: torch.device | torch.dtype | str) -> Cameras:
        """The same cameras on another device or in another precision."""
        shift = None if self.shift is None else self.shift.to(target)
        return Cameras(self.c2w.to(target), self.fovy.to(target), shift)


def orbit(
    azimuth: Tensor | list[float],  # (N,)
    elevation: Tensor | list[float] | float,  # (N,)
    distance: Tensor | list[float] | float,  # (N,)
    fovy: Tensor | list[float] | float,  # (N,)
) -> Cameras:
    """Cameras that look at the origin with z up.

    Args:
        azimuth: Degrees; 0 is +x, 90 is +y. (N,).
        elevation: Degrees above the horizon, in (-90, 90). (N,) or one for all.
        distance: From the origin, world units. (N,) or one for all.
        fovy: Vertical field of view, degrees. (N,) or one for all.

    Returns:
        N cameras, float32 on the CPU.

    Position is r (cos e cos a, cos e sin a, sin e) [systems.md 0.3]; columns of c2w are right, up, -forward, position.
    """
    azimuth = torch.as_tensor(azimuth, dtype=torch.float32)
    elevation, distance, fovy = (
        torch.as_tensor(value, dtype=torch.float32).expand_as(azimuth) for value in (elevation, distance, fovy)
    )
    a, e = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    backward = torch.stack([e.cos() * a.cos(), e.cos() * a.sin(), e.sin()], dim=-1)  # -forward
    right = torch.stack([-a.sin(), a.cos(), torch.zeros_like(a)], dim=-1)
    up = torch.linalg.cross(backward, right)
    c2w = torch.eye(4).repeat(len(azimuth), 1, 1)
    c2w[:, :3, 0], c2w[:, :3, 1], c2w[:, :3, 2] = right, up, backward
    c2w[:, :3, 3] = backward * distance[:, None]
    return Cameras(c2w, fovy)


def camera_rays(cameras: Cameras, resolution: int) -> tuple[Tensor, Tensor]:
    """Rays through the pixel centres.

    Args:
        cameras: N cameras.
        resolution: Image height and width in pixels.

    Returns:
        origins and unit directions, each (N, resolution, resolution, 3) in world units; row 0 is the top of the image.
    """
    half = torch.tan(torch.deg2rad(cameras.fovy) / 2)[:, None, None]
    ticks = (torch.arange(resolution, device=cameras.c2w.device, dtype=torch.float32) + 0.5) / resolution * 2 - 1
    x, y = torch.meshgrid(ticks, -ticks, indexing="xy")
    local = torch.stack([x * half, y * half, -torch.ones_like(x * half)], dim=-1)
    if cameras.shift is not None:
        local[..., :2] += cameras.shift[:, None, None]
    directions = torch.nn.functional.normalize(local, dim=-1) @ cameras.c2w[:, None, :3, :3].transpose(-1, -2)
    return cameras.c2w[:, None, None, :3, 3].expand_as(directions), directions


def view_matrices(cameras: Cameras) -> Tensor:
    """World-to-camera, OpenGL axes. (N, 4, 4)."""
    rotation = cameras.c2w[:, :3, :3].transpose(-1, -2)
    w2c = torch.eye(4, device=cameras.c2w.device, dtype=cameras.c2w.dtype).repeat(len(cameras), 1, 1)
    w2c[:, :3, :3] = rotation
    w2c[:, :3, 3] = -(rotation @ cameras.c2w[:, :3, 3:])[..., 0]
    return w2c


def projection_matrices(cameras: Cameras, near: float = 0.1, far: float = 1000.0) -> Tensor:
    """OpenGL projection, clip space with y up and z in [-w, w]. (N, 4, 4)."""
    focal = 1 / torch.tan(torch.deg2rad(cameras.fovy) / 2)
    projection = torch.zeros(len(cameras), 4, 4, device=cameras.c2w.device)
    projection[:, 0, 0] = projection[:, 1, 1] = focal
    projection[:, 2, 2] = (far + near) / (near - far)
    projection[:, 2, 3] = 2 * far * near / (near - far)
    projection[:, 3, 2] = -1
    return projection


def orthogonal_views(azimuth: float, elevation: float, distance: float, fovy: float, views: int = 4) -> Cameras:
    """`views` cameras spread evenly around the object from one first azimuth, in order of growing azimuth."""
    return orbit([azimuth + 360.0 / views * k for k in range(views)], elevation, distance, fovy)


def mvdream_camera(cameras: Cameras) -> Tensor:
    """The 16 numbers MVDream's camera embedding takes: c2w in its own axes, translation of unit length, row-major.

    MVDream counts its azimuth from -y, so its 90 degrees is our 0, the object's front; its axes are ours
    (checkpoints.md, section 1). Published weights saw cameras at unit distance: the translation is normalised (+1e-8).

    Returns:
        (N, 16) float32.
    """
    matrices = cameras.c2w.clone()  # the public code normalises in place and spoils its caller's cameras
    matrices[:, :3, 3] = matrices[:, :3, 3] / (matrices[:, :3, 3].norm(dim=-1, keepdim=True) + 1e-8)
    return matrices.flatten(1)


def spherical(cameras: Cameras) -> Tensor:
    """Where cameras stand, the inverse of `orbit`.

    Returns:
        (N, 3) float32: elevation and azimuth in degrees, distance from the origin in world units.
    """
    x, y, z = cameras.c2w[:, :3, 3].unbind(-1)
    level = torch.hypot(x, y)
    elevation, azimuth = torch.rad2deg(torch.atan2(z, level)), torch.rad2deg(torch.atan2(y, x))
    return torch.stack([elevation, azimuth, torch.hypot(level, z)], dim=-1)


def zero123_camera(moves: Tensor, polar: Tensor | None = None) -> Tensor:
    """The 4 numbers that tell Zero123 where the wanted view lies, seen from the picture's.

    Polar angles are measured from +z downwards, so a change of elevation enters with its sign turned. The published
    models differ in the fourth number [checkpoints.md section 3].

    Args:
        moves: Wanted minus given: polar angle and azimuth in degrees, distance in world units. (N, 3).
        polar: For Stable-Zero123, the picture's own polar angle in degrees, (N,); None gives the change of distance.

    Returns:
        (N, 4) float32: polar change in radians, sine and cosine of the azimuth's, then the fourth number.
    """
    down, around = torch.deg2rad(moves[:, 0]), torch.deg2rad(moves[:, 1])
    fourth = moves[:, 2] if polar is None else torch.deg2rad(polar)
    return torch.stack([down, around.sin(), around.cos(), fourth], dim=-1)


def ray_maps(cameras: Cameras, resolution: int) -> Tensor:
    """Where each pixel looks, as an image: Pluecker coordinates of its ray, direction and moment origin x direction.

    The moment's length is the ray's distance from the origin, so all six numbers stay within about [-1, 1].

    Returns:
        (N, 6, resolution, resolution) float32.
    """
    origins, directions = camera_rays(cameras, resolution)
    moments = torch.linalg.cross(origins, directions)
    return torch.cat([directions, moments], dim=-1).permute(0, 3, 1, 2)


def harmonic_camera(cameras: Cameras, scale: float = 3.0) -> Tensor:
    """The mini models' 16 numbers: harmonics of azimuth and elevation, a pure function of the camera matrix.

    Harmonics of azimuth separate views that the raw matrix holds close together, which is what a small model needs to
    learn its camera at all: at 500 steps the loss with wrong cameras rose to 1.25 times the right one's instead of 1.18
    (mini.md, second pilot).

    Args:
        cameras: N cameras looking at the origin.
        scale: Factor on all numbers; larger makes the embedding learn faster.

    Returns:
        (N, 16) float32: cos and sin of 1 to 4 times the azimuth, elevation terms, a constant.
    """
    backward = torch.nn.functional.normalize(cameras.c2w[:, :3, 3], dim=-1)
    azimuth = torch.atan2(backward[:, 1], backward[:, 0])
    waves = [wave(k * azimuth) for k in range(1, 5) for wave in (torch.cos, torch.sin)]
    tilt = 4 * backward[:, 2] - 1  # about [-1, 1] over elevations 0 to 30 degrees
    terms = [tilt, tilt * waves[0], tilt * waves[1], tilt * waves[2], tilt * waves[3], tilt * tilt - 0.5]
    field = torch.tan(torch.deg2rad(cameras.fovy) / 2) - math.tan(math.radians(20.0))
    return torch.stack([*waves, *terms, field, torch.ones_like(tilt)], dim=-1) * scale
