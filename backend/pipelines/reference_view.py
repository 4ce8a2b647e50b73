"""The one view whose answer is known: the artist's picture itself.

Score distillation makes what the prior holds likely; the picture says what is there. On the finished mesh the picture's
camera is found (`rendering.picture_camera`; `picture_side` says what the prior expects of each side), and the texture
gets the picture's own colours there. Where the settings have looks it is found earlier, too, and from the first look on
every step also draws the object from there and pulls it towards the picture. Where something can read the camera from
the picture alone (`priors.picture_pose`), the pull needs no object and may begin at once, and the finished object is
brought to the box and the outline that were read (`picture_box`, `picture_outline`). An addition of ours to
ImageDream: the mini preset pulls the outline and takes the colours, the published ones do neither unless told; the pull
is the reference loss of Magic123 [Qian et al. 2023] and DreamCraft3D [systems.md section 2]. Knows the optimisation's
job and pictures. Knows no prior.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from dreamlift.assets.surface import EmptySurface
from dreamlift.rendering.cameras import Cameras, camera_rays
from dreamlift.rendering.compositing import premultiplied, straight
from dreamlift.rendering.picture_camera import ColouredMesh, PictureCamera, find_camera
from dreamlift.rendering.rasterization import Raster, interpolate, rasterize
from dreamlift.rendering.shading import WorldLight, vertex_normals
from dreamlift.representations.textured_mesh import TexturedMesh

from .field_optimisation import Optimisation, render_views
from .field_previews import mesh_preview
from .field_settings import StageSettings
from .imagedream_settings import ReferenceSettings
from .picture_box import ObjectBox
from .picture_crop import Crop
from .picture_outline import fit_outline
from .texture_refinement import COVERED, Wish
from .thin_parts import far_sides, shown_by

log = logging.getLogger(__name__)

GREY = 0.5  # behind what is compared with the finished texture; no pixel of it counts
SLANTING, SQUARE = 0.15, 0.5  # cosines from which a picture is believed a little and altogether: slanting, it smears
RIM = 2  # pixels inside the picture's outline whose colours are not believed: there is some background in them
BEYOND = 3  # pixels by which its colours reach over its outline: the mesh's is not quite the same
FEATHER = 3.0  # pixels over which belief ends, standard deviation: a hard end is seen as a seam
UNIT = 64.0  # over a picture's 64th part the outline begins to count
FORMED = 0.15  # share of the course from which the object has an outline of its own
FEWEST_PIXELS = 50  # that tell a light
LIGHT_SPREAD = (0.1, 0.2)  # how far pictures' lights lie apart: what comes from everywhere, and from one side
LIGHT_TURNS = (1.5, 1.0, 0.6, 0.35, 0.2, 0.1)  # tangents by which its direction is turned
_AROUND = torch.cat([torch.eye(3), -torch.eye(3)])
BRIGHTNESS = (0.6, 1.3)  # that a light is believed to have
LIGHT_NOISE = 0.05  # how far the prior's colours are from the picture's, as a standard deviation


class ReferenceView:
    """The picture beside a job.

    Args:
        picture: The cut-out, straight colour and opacity. (4, S, S) in [0, 1].
        settings: See the class.
        expected: Asked once for `picture_side.differences_by_side`; None goes by the object alone.
        guess: The camera as far as the picture alone tells it; None where nothing reads it.
        box: The same of the box that the object fills.
    """

    def __init__(
        self,
        picture: Tensor,
        settings: ReferenceSettings,
        expected: Callable[[], tuple[float, ...] | None] = lambda: None,
        guess: PictureCamera | None = None,
        box: ObjectBox | None = None,
    ):
        self.picture, self.settings = picture.float().contiguous(), settings
        self.differences = functools.cache(expected)
        self.guess, self.box = guess, box
        self.is_fitted = False  # to the box, in the end
        self.plain = self.picture  # without its light, as far as that was found
        self.camera: PictureCamera | None = None
        self.crop = Crop()

    def loss(self, job: Optimisation, stage: StageSettings) -> Tensor | float:
        """The pull of this step and the box's; 0 while the object is not what the picture shows.

        Args:
            job: At a step of its course, its field ready to be drawn.
            stage: The step's stage.
        """
        settings = self.settings
        if job.step in {round(share * job.settings.steps) for share in settings.looks}:
            self.look(job)
        kept_in = settings.box * self.box.loss(job.field) if self.box is not None else 0.0
        if self.camera is None or (self.guess is None and self.camera.likeness < settings.least):
            return kept_in
        chance, noise = job.generator(7), job.generator(8, job.context.device)
        cameras = self.camera.cameras().to(job.context.device)
        # As albedo: were it shaded, the surface would fold itself into whatever the picture's own light drew.
        seen = render_views(job, replace(stage, painted=False), cameras, None, chance, noise)
        picture = resized(self.plain.to(seen.images), stage.resolution)
        opacity = seen.opacity.view(*picture.shape[1:])
        if self.guess is not None:
            if job.step >= FORMED * job.settings.steps:
                self.crop.fit(picture[3], opacity.detach())
            picture = self.crop.of(picture)
        wanted = picture[:3] * picture[3:] + (1 - picture[3:]) * seen.behind.view(3, 1, 1)
        apart = (seen.images[0] - wanted).square().sum(0).mean()
        outline = ((opacity - picture[3]).square() * self.counts(picture[3])).mean()
        pixels = job.prior.image_size**2  # as the loss of MV-SDS, a sum over the pixels that the prior sees
        unit = 0.5 * job.settings.guidance.image_weight * pixels
        return kept_in + unit * (settings.weight * apart + settings.outline * outline)

    def fit(self, job: Optimisation) -> None:
        """In the end, bring the object to its box and its outline; once, also if a job is resumed after it."""
        if self.box is None or self.guess is None or self.is_fitted:
            return
        asset, size = job.settings.asset, self.settings.texture_size
        try:
            self.box.fit(job.field, asset)
            opacity = resized(self.picture, size)[3]
            self.camera = fit_outline(job.field, asset, opacity, self.guess, self.box.corners)
            self.box.fit(job.field, asset)
            self.is_fitted = True
        except EmptySurface as nothing:  # one of the two is wrong, and only the object is seen
            log.warning("the object lies outside the box that was read in the picture (%s): left as it is", nothing)
            self.box = None

    def counts(self, opacity: Tensor) -> Tensor:
        """How much pixels count for the outline: least at the outline itself.

        Beside it the two are never quite the same, for the camera is a degree off and the prior rounds a corner: pulled
        to the last pixel the object grows a thorn there. What is missing altogether, a beak or a chimney, lies deeper.

        Args:
            opacity: Of the picture. (S, S) in [0, 1].

        Returns:
            (S, S) in [`edge`, 1].
        """
        settings = self.settings
        inside = (opacity > 0.5).cpu().numpy()
        depth = ndimage.distance_transform_edt(inside) + ndimage.distance_transform_edt(~inside)
        share = np.clip((depth / len(opacity) - settings.rim) * UNIT, 0, 1)
        return torch.from_numpy(settings.edge + (1 - settings.edge) * share).to(opacity)

    def look(self, job: Optimisation) -> None:
        """Find the picture's camera on the object as it is now."""
        preview = mesh_preview(job.field, job.settings.preview_grid)
        if preview is not None:
            colours = torch.from_numpy(preview.colors[:, :3].copy())
            mesh = ColouredMesh(torch.from_numpy(preview.vertices), torch.from_numpy(preview.faces), colours)
            self._find(mesh)
            if job.settings.painted_light is not None and job.painted:
                self._take_light_off(mesh, job.settings.painted_light)
            log.info("step %d: the picture was taken by %s", job.step, self.camera)

    def wishes(self, mesh: TexturedMesh, light: WorldLight | None) -> list[Wish]:
        """The picture as one more wish for the finished mesh's texture; none where that is not what it shows.

        Args:
            mesh: With the field's colours.
            light: What the prior paints onto everything it draws; None leaves the picture in its own light.
        """
        settings, size = self.settings, self.settings.texture_size
        self._find(ColouredMesh(mesh.vertices, mesh.faces, mesh.colours()))
        if self.guess is None and self.camera.likeness < settings.least:
            return []
        cameras = self.camera.cameras()
        sight = mesh.see(cameras, size)
        picture, near = drawn_out(resized(self.picture, size))
        raster = rasterize(mesh.vertices, mesh.faces, cameras, size)
        normals, facing = seen_normals(raster, mesh.vertices, mesh.faces, cameras)
        trust = trusted(near & (sight.coverage[0, 0] > COVERED), facing)
        colour, own = picture[:3], torch.ones(())
        if light is not None:
            own = light.on(normals.permute(1, 2, 0))[..., 0]
            found = light_of(colour, sight.baked[0] / own, normals, trust, light)
            colour = (colour * own / found.clamp(*BRIGHTNESS)).clamp(0, 1)
        pictures = torch.where(near, colour, GREY)[None]
        behind = torch.full((3,), GREY)
        seen = Wish(sight, behind, pictures, trust[None], settings.texture_weight, is_soft=False)
        points = interpolate(raster, mesh.faces, mesh.vertices)[0]
        shown = shown_by(points, normals, colour / own, trust)
        return [seen, *far_sides(mesh, shown, cameras, size, light, settings.texture_weight)]

    def _take_light_off(self, mesh: ColouredMesh, light: WorldLight) -> None:
        size = self.picture.shape[-1]
        cameras = self.camera.cameras()
        raster = rasterize(mesh.vertices, mesh.faces, cameras, size)
        normals, facing = seen_normals(raster, mesh.vertices, mesh.faces, cameras)
        albedo = interpolate(raster, mesh.faces, mesh.colours)[0].permute(2, 0, 1)
        trust = trusted((self.picture[3] > COVERED) & raster.mask[0], facing)
        brightness = light_of(self.picture[:3], albedo, normals, trust, light)
        plain = (self.picture[:3] / brightness.clamp(*BRIGHTNESS)).clamp(0, 1)
        self.plain = torch.cat([plain, self.picture[3:]]).contiguous()

    def _find(self, mesh: ColouredMesh) -> None:
        """First as the picture tells it, then with the crop that fits the mesh; where it tells nothing, by the mesh.

        Once the outline is fitted, camera and object belong together.
        """
        distance = self.settings.distance
        if self.is_fitted:
            return
        if self.guess is not None:
            first = self.camera is None
            self.camera = self.guess if first else find_camera(mesh, self.picture, distance, self.guess, turns=False)
            return
        found = find_camera(mesh, self.picture, distance, differences=self.differences())
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
        own = {"plain": self.plain, "fitted": int(self.is_fitted), "middle_x": middle[0], "middle_y": middle[1]}
        return {**own, **self.crop.state(), **numbers}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's."""
        if state:
            self.plain = state["plain"].float().cpu()
            self.crop.load(state)
            self.is_fitted = bool(state.get("fitted", 0))
            known = {key: value for key, value in state.items() if not key.startswith(("plain", "fitted", "crop_"))}
            numbers = {key: float(value) for key, value in known.items()}
            middle = numbers.pop("middle_x"), numbers.pop("middle_y")
            self.camera = PictureCamera(**numbers, middle=middle)


def seen_normals(raster: Raster, vertices: Tensor, faces: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """The surface as one camera sees it.

    Args:
        raster: What that camera sees of it, S pixels wide.
        vertices: Their normals are means over their faces by area. (V, 3).
        faces: (F, 3) integer.
        cameras: One camera.

    Returns:
        Unit normals (3, S, S), 0 where nothing is seen; and how squarely the surface faces the camera, the cosine in
        [0, 1], (S, S).
    """
    normals = torch.nn.functional.normalize(interpolate(raster, faces, vertex_normals(vertices, faces))[0], dim=-1)
    facing = -(normals * camera_rays(cameras, raster.mask.shape[-1])[1][0]).sum(-1)
    return normals.permute(2, 0, 1), facing.clamp_min(0) * raster.mask[0]


def drawn_out(picture: Tensor) -> tuple[Tensor, Tensor]:
    """A picture whose inner colours reach a little beyond its outline, for a mesh whose outline is not quite the same.

    Args:
        picture: Straight colour and opacity. (4, H, W) in [0, 1].

    Returns:
        The picture with at every pixel near the outline the colour of the nearest one well inside, or in the middle
        of what is too thin to have an inside (4, H, W); and where its colours are meant, (H, W) bool.
    """
    depth = ndimage.distance_transform_edt(picture[3].numpy() > COVERED)
    middle = (depth > 0) & (depth >= ndimage.maximum_filter(depth, 3))
    inner = (depth > RIM) | middle
    if not inner.any():
        return picture, torch.zeros(picture.shape[1:], dtype=torch.bool)
    distance, (row, column) = ndimage.distance_transform_edt(~inner, return_indices=True)
    return torch.cat([picture[:3, row, column], picture[3:]]), torch.from_numpy(distance <= RIM + BEYOND)


def trusted(common: Tensor, facing: Tensor) -> Tensor:
    """How far the picture is believed, from 0 at the rim of what both show to 1 where the surface faces the camera.

    Args:
        common: Pixels that picture and mesh cover altogether. (H, W) bool.
        facing: Cosine between surface and line of sight, in [0, 1]. (H, W).

    Returns:
        (H, W) in [0, 1], without steps.
    """
    inner = ndimage.binary_erosion(common.numpy(), np.ones((3, 3)))
    squarely = ((facing - SLANTING) / (SQUARE - SLANTING)).clamp(0, 1).numpy()
    soft = ndimage.gaussian_filter(inner * squarely * squarely * (3 - 2 * squarely), FEATHER)
    return torch.from_numpy((soft * inner).astype(np.float32))


def light_of(picture: Tensor, albedo: Tensor, normals: Tensor, trust: Tensor, start: WorldLight) -> Tensor:
    """The light that a picture was taken under, as the brightness of every pixel.

    The known colours times a + d max(n . l, 0) are made most like the picture: for a direction l, a and d are a ridge
    fit that starts at a known light; l is searched by ever smaller turns. A smooth a + b n leaves the border of light
    and shadow in the colours, where it is seen as a seam.

    Args:
        picture: Straight colour. (3, H, W) in [0, 1].
        albedo: What it shows, without light, as far as that is known. (3, H, W).
        normals: Unit length. (3, H, W).
        trust: How far each pixel is believed. (H, W) in [0, 1].
        start: What it is without evidence; too few pixels are none.

    Returns:
        (H, W), about 1.
    """
    chosen = trust > 0
    if int(chosen.sum()) < FEWEST_PIXELS:
        return start.on(normals.permute(1, 2, 0))[..., 0]
    # In double and rounded once: float32 sums differ with where the allocator put them, and a resumed job would too.
    picture, albedo, normals, trust = (each.double() for each in (picture, albedo, normals, trust))
    wanted, plain, towards, weight = picture[:, chosen], albedo[:, chosen], normals[:, chosen], trust[chosen]
    usual = plain.new_tensor([start.ambient, start.diffuse])
    ridge = torch.diag(1 / plain.new_tensor(LIGHT_SPREAD).square()) * chosen.sum() * LIGHT_NOISE**2

    def fitted(direction: Tensor) -> tuple[float, Tensor]:
        terms = torch.stack([torch.ones_like(weight), (direction @ towards).clamp_min(0)])
        matrix = (plain[:, None] * terms * weight.sqrt()).permute(0, 2, 1).reshape(-1, 2)
        goal = (wanted * weight.sqrt()).reshape(-1)
        share = torch.linalg.solve(matrix.T @ matrix + ridge, matrix.T @ goal + ridge @ usual)
        apart = (matrix @ share - goal).square().sum() + (share - usual) @ ridge @ (share - usual)
        return float(apart), share

    best = torch.nn.functional.normalize(plain.new_tensor(start.direction), dim=0)
    error, shares = fitted(best)
    for turn in LIGHT_TURNS:
        for offset in turn * _AROUND.to(best):
            direction = torch.nn.functional.normalize(best + offset, dim=0)
            tried, found = fitted(direction)
            if tried < error and found[1] > 0:
                best, error, shares = direction, tried, found
    lit = torch.einsum("c,chw->hw", best, normals).clamp_min(0)
    return (shares[0] + shares[1] * lit).float()


def resized(picture: Tensor, size: int) -> Tensor:
    """A cut-out (4, S, S) at another size, straight colour; what is transparent lends no colour."""
    if picture.shape[-1] == size:
        return picture
    whole = premultiplied(picture)[None]
    whole = torch.nn.functional.interpolate(whole, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return straight(whole[0])
