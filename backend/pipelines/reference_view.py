"""The one view whose answer is known: the artist's picture itself.

Score distillation makes what the prior holds likely; the picture says what is there. As soon as the object has a form,
the picture's camera is found on it (`rendering.picture_camera`), and from then on every step also draws the object from
there and pulls it towards the picture, and the last look gives the finished texture the picture's own colours. An
addition of ours to ImageDream, switched off in its published presets; the term itself is the reference loss of
Magic123 [Qian et al. 2023] and DreamCraft3D [systems.md section 2]. Knows the optimisation's job and pictures. Knows
no prior.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from dreamlift.rendering.cameras import Cameras, camera_rays
from dreamlift.rendering.picture_camera import ColouredMesh, PictureCamera, find_camera
from dreamlift.rendering.rasterization import interpolate, rasterize
from dreamlift.rendering.shading import WorldLight
from dreamlift.representations.textured_mesh import TexturedMesh

from .field_optimisation import Optimisation, render_views
from .field_previews import mesh_preview
from .field_settings import StageSettings
from .imagedream_settings import ReferenceSettings
from .texture_refinement import COVERED, Wish

log = logging.getLogger(__name__)

GREY = 0.5  # behind what is compared with the finished texture; no pixel of it counts
LEAST_FACING = 0.25  # cosine: what is seen more slantingly smears over the surface
FEWEST_PIXELS = 50  # that tell a light
LIGHT_SPREAD = (0.1, 0.2)  # how far pictures' lights lie apart: what comes from everywhere, and from one side
LIGHT_NOISE = 0.05  # how far the prior's colours are from the picture's, as a standard deviation


class ReferenceView:
    """The picture beside a job.

    Args:
        picture: The cut-out, straight colour and opacity. (4, S, S) in [0, 1].
        settings: See the class.
    """

    def __init__(self, picture: Tensor, settings: ReferenceSettings):
        self.picture, self.settings = picture.float(), settings
        self.camera: PictureCamera | None = None

    def loss(self, job: Optimisation, stage: StageSettings) -> Tensor | float:
        """The pull of this step; 0 while the object is not what the picture shows.

        Args:
            job: At a step of its course, its field ready to be drawn.
            stage: The step's stage.
        """
        settings = self.settings
        if job.step in {round(share * job.settings.steps) for share in settings.looks}:
            self.look(job)
        if self.camera is None or self.camera.likeness < settings.least:
            return 0.0
        chance, noise = job.generator(7), job.generator(8, job.context.device)
        cameras = self.camera.cameras().to(job.context.device)
        seen = render_views(job, stage, cameras, None, chance, noise)
        picture = resized(self.picture.to(seen.images), stage.resolution)
        wanted = picture[:3] * picture[3:] + (1 - picture[3:]) * seen.behind.view(3, 1, 1)
        apart = (seen.images[0] - wanted).square().sum(0).mean()
        outline = (seen.opacity.view(*picture.shape[1:]) - picture[3]).square().mean()
        pixels = job.prior.image_size**2  # as the loss of MV-SDS, a sum over the pixels that the prior sees
        unit = 0.5 * job.settings.guidance.image_weight * pixels
        return unit * (settings.weight * apart + settings.outline * outline)

    def look(self, job: Optimisation) -> None:
        """Find the picture's camera on the object as it is now."""
        preview = mesh_preview(job.field, job.settings.preview_grid)
        if preview is not None:
            colours = torch.from_numpy(preview.colors[:, :3].copy())
            mesh = ColouredMesh(torch.from_numpy(preview.vertices), torch.from_numpy(preview.faces), colours)
            self._find(mesh)
            log.info("step %d: the picture was taken by %s", job.step, self.camera)

    def wishes(self, mesh: TexturedMesh, light: WorldLight | None) -> list[Wish]:
        """The picture as one more wish for the finished mesh's texture; none where that is not what it shows.

        Args:
            mesh: With the field's colours.
            light: What the prior paints onto everything it draws; None leaves the picture in its own light.
        """
        settings, size = self.settings, self.settings.texture_size
        self._find(ColouredMesh(mesh.vertices, mesh.faces, mesh.colours()))
        if self.camera.likeness < settings.least:
            return []
        cameras = self.camera.cameras()
        sight = mesh.see(cameras, size)
        picture = resized(self.picture, size)
        normals, facing = seen_normals(mesh, cameras, size)
        trust = facing * (picture[3] > COVERED) * (sight.coverage[0, 0] > COVERED)
        trust = torch.where(facing > LEAST_FACING, trust, torch.zeros(()))
        colour, opacity = picture[:3], picture[3:]
        if light is not None:
            colour = relit(colour, sight.baked[0], normals, trust, light)
        pictures = (colour * opacity + (1 - opacity) * GREY)[None]
        behind = torch.full((3,), GREY)
        return [Wish(sight, behind, pictures, trust[None], settings.texture_weight, is_soft=False)]

    def _find(self, mesh: ColouredMesh) -> None:
        """Near the last place and all around: whichever is more alike."""
        distance = self.settings.distance
        found = find_camera(mesh, self.picture, distance)
        if self.camera is not None:
            again = find_camera(mesh, self.picture, distance, self.camera)
            found = again if again.likeness > found.likeness - 0.02 else found  # it stays, unless it was wrong
        self.camera = found

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        if self.camera is None:
            return {}
        numbers = asdict(self.camera)
        middle = numbers.pop("middle")
        return {"middle_x": middle[0], "middle_y": middle[1], **numbers}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's."""
        if state:
            numbers = {key: float(value) for key, value in state.items()}
            middle = numbers.pop("middle_x"), numbers.pop("middle_y")
            self.camera = PictureCamera(**numbers, middle=middle)


def seen_normals(mesh: TexturedMesh, cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """The surface as one camera sees it.

    Args:
        mesh: Its vertices' normals are means over their faces by area.
        cameras: One camera.
        size: Height and width, pixels.

    Returns:
        Unit normals (3, size, size), 0 where nothing is seen; and how squarely the surface faces the camera, the cosine
        in [0, 1], (size, size).
    """
    faces = mesh.faces.long()
    corners = mesh.vertices[faces]
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    vertices = torch.zeros_like(mesh.vertices).index_add_(0, faces.flatten(), areas.repeat_interleave(3, 0))
    raster = rasterize(mesh.vertices, mesh.faces, cameras, size)
    normals = torch.nn.functional.normalize(interpolate(raster, mesh.faces, vertices)[0], dim=-1)
    facing = -(normals * camera_rays(cameras, size)[1][0]).sum(-1)
    return normals.permute(2, 0, 1), facing.clamp_min(0) * raster.mask[0]


def relit(picture: Tensor, painted: Tensor, normals: Tensor, trust: Tensor, light: WorldLight) -> Tensor:
    """A picture under the prior's light in place of its own.

    The prior's own colours, unlit, times a + b n are made most like the picture: a ridge fit of four numbers that
    starts at the prior's light. What that says of the picture's light is then exchanged for the prior's.

    Args:
        picture: Straight colour. (3, H, W) in [0, 1].
        painted: The mesh's present colours, under the prior's light. (3, H, W).
        normals: Unit length. (3, H, W).
        trust: How far each pixel is believed. (H, W) in [0, 1].
        light: The prior's.

    Returns:
        (3, H, W) in [0, 1].
    """
    chosen = trust > 0
    if int(chosen.sum()) < FEWEST_PIXELS:
        return picture
    own = light.on(normals.permute(1, 2, 0))[..., 0]
    terms = torch.cat([torch.ones_like(normals[:1]), normals])  # (4, H, W)
    start = torch.linalg.lstsq(terms[:, chosen].T, own[chosen]).solution
    plain = (painted / own)[:, chosen]
    weight = trust[chosen].sqrt()
    matrix = (plain[:, None] * terms[:, chosen] * weight).permute(0, 2, 1).reshape(-1, 4)
    rest = ((picture[:, chosen] - plain * (start @ terms[:, chosen])) * weight).reshape(-1)
    ridge = torch.diag(torch.tensor([1 / LIGHT_SPREAD[0] ** 2, *[1 / LIGHT_SPREAD[1] ** 2] * 3]))
    size = chosen.sum() * LIGHT_NOISE**2
    change = torch.linalg.solve(matrix.T @ matrix + size * ridge, matrix.T @ rest)
    found = ((start + change).view(4, 1, 1) * terms).sum(0)
    return (picture * (own / found.clamp_min(0.2)).clamp(0.5, 2.0)).clamp(0, 1)


def resized(picture: Tensor, size: int) -> Tensor:
    """A cut-out (4, S, S) at another size, straight colour; what is transparent lends no colour."""
    if picture.shape[-1] == size:
        return picture
    whole = torch.cat([picture[:3] * picture[3:], picture[3:]])[None]
    whole = torch.nn.functional.interpolate(whole, (size, size), mode="bilinear", antialias=True, align_corners=False)
    colour, alpha = whole[0, :3], whole[0, 3:]
    return torch.cat([colour / alpha.clamp_min(1e-4), alpha]).clamp(0, 1)
