"""The last stage of a field's pipeline: the texture of the finished mesh under the same prior, in the surface's detail.

A field at the resolution of its renderings makes soft colours, and all noise that the prior was shown is in them. Here
shape and visibility are fixed, so many pictures can be asked for first and explained together afterwards:

1. Look at the mesh from sets of cameras, as the optimisation did, unlit.
2. Ask the prior for each set what it would rather see, D(xhat0) of MV-SDS, at medium noise and in one step: the mean of
   what it holds possible, which follows the mesh's shape and has no noise of its own.
3. Find the one residual on the mesh whose pictures are nearest to all of them, with sharp edges and without noise
   (`distillation.texture_fit`). The loss is that of `Guidance.image_weight`, summed over all sets.
4. Again from the new texture, for as many rounds as the settings say.

Knows the stage and its `Context`. Knows no pipeline: what the prior is told comes from the job's `Tell`.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage, sparse
from torch import Tensor

from dreamlift.assets.edges import edges_of
from dreamlift.assets.topology import Surface
from dreamlift.distillation.mv_sds import mv_sds
from dreamlift.distillation.schedules import draw_timestep
from dreamlift.distillation.texture_fit import fit
from dreamlift.memory.apply import preferred_attention
from dreamlift.rendering.view_sets import ViewSetRanges, sample_view_sets
from dreamlift.representations.textured_mesh import Sight, TexturedMesh

from .context import MeshPreview, Progress, Stop, Stopped
from .field_asset import MESHED, finish_steps
from .field_optimisation import Moment, Optimisation
from .field_settings import FEWEST_SETS, TextureSettings

log = logging.getLogger(__name__)

COVERED = 0.99  # share from which a pixel is the object's own: the prior's outline is not quite the mesh's


def refined(
    job: Optimisation, surface: Surface, uvs: np.ndarray, texture: np.ndarray, known: Known | None = None
) -> np.ndarray:
    """Refine the texture of a job's finished mesh.

    Args:
        job: Its prior, condition, settings, seed and context; its field is not asked any more.
        surface: The finished mesh in the field's coordinates.
        uvs: (F, 3, 2) float32 in [0, 1].
        texture: Baked from the field. (S, S, 3) uint8 sRGB.
        known: Views of the mesh whose answer needs no prior, such as the artist's picture.

    Returns:
        (S, S, 3) uint8 sRGB. The baked texture where the settings have no refinement, or where the artist wants the
        object as it stands before enough pictures are there.

    Raises:
        Stopped: On CANCEL and PAUSE; a PAUSE leaves the field's checkpoint, and this stage starts again.
    """
    settings = job.settings.texture
    if settings is None or not len(surface.faces):
        return texture
    started = time.monotonic()
    size = settings.seen or job.prior.image_size
    mesh = TexturedMesh(surface, uvs, texture, settings.cell * _pixel(job.settings.cameras, size))
    asking = Asking(job, settings, mesh, size)
    certain = known(mesh) if known is not None else []
    with preferred_attention(job.context.plan, job.context.device), torch.no_grad():
        for _ in range(settings.rounds):
            wishes, ended = asking.round()
            if len(wishes) >= FEWEST_SETS or not ended:  # of fewer a job that was told to finish makes nothing
                mesh.residual.copy_(explained(mesh, [*wishes, *certain], settings))
            if ended:
                break
    log.info("refined the texture with %d sets of views in %.1f s", asking.asked, time.monotonic() - started)
    return mesh.texture()


def _pixel(cameras: ViewSetRanges, size: int) -> float:
    """What a pixel covers at the object's middle, world units; the mean over the cameras."""
    return sum(cameras.reach) / size


@dataclass(frozen=True)
class Wish:
    """What the prior would rather see of a set of views.

    Args:
        sight: What there is.
        behind: Colour of the background. (3,) in [0, 1].
        pictures: What should be, over that background. (N, 3, H, W) in [0, 1].
        trust: How far each pixel is believed. (N, H, W) in [0, 1]; None believes all alike.
        weight: How much a pixel counts beside all of the prior's wishes together.
        is_soft: Whether the pictures are as soft as the prior's.
    """

    sight: Sight
    behind: Tensor
    pictures: Tensor
    trust: Tensor | None = None
    weight: float = 1.0
    is_soft: bool = True


Known = Callable[[TexturedMesh], list[Wish]]


class Asking:
    """Asks the prior about the mesh, set after set.

    Args:
        job: Prior, condition, seed and context.
        settings: How often, and at which noise.
        mesh: With its present residual.
        size: Height and width at which the prior sees it, pixels.
    """

    def __init__(self, job: Optimisation, settings: TextureSettings, mesh: TexturedMesh, size: int):
        self.job, self.settings, self.mesh, self.size = job, settings, mesh, size
        self.asked = 0
        self._started = time.monotonic()

    def round(self) -> tuple[list[Wish], bool]:
        """The wishes of a round, and whether the artist wants the object as it stands.

        Raises:
            Stopped: On CANCEL and PAUSE.
        """
        wishes = []
        for _ in range(self.settings.sets):
            reason = self.job.context.should_stop()
            if reason is Stop.FINISH:
                return wishes, True
            if reason is not None:
                if reason is Stop.PAUSE:
                    self.job.save()
                raise Stopped(reason)
            wishes.append(self._ask())
            self.asked += 1
            self._report()
        return wishes, False

    def _ask(self) -> Wish:
        job, settings, device = self.job, self.settings, self.job.context.device
        chance, noise = self._generator(4), self._generator(5, device)
        cameras = sample_view_sets(job.settings.cameras, 1, job.settings.guidance.views, chance)
        behind = self._behind(chance)
        sight = self.mesh.see(cameras, self.size, settings.supersample)
        shown = sight.images(self.mesh.residual, behind).to(device)
        t = draw_timestep(settings.lowest_t, settings.highest_t, 1000, chance)
        guidance = replace(job.settings.guidance, image_size=settings.seen, rows=job.rows())
        moment = Moment(job.step, behind.to(device), settings.seen, self._generator(6, device))
        target = mv_sds(job.prior, shown, cameras.to(device), job.told(moment), t, guidance, noise).target
        return Wish(sight, behind, job.prior.decode_latents(target).float().cpu())

    def _generator(self, purpose: int, device: torch.device | str = "cpu") -> torch.Generator:
        """Of seed, set and purpose alone; the optimisation uses purposes below 4."""
        number = (self.job.seed * 1_000_003 + self.asked) * 16 + purpose
        return torch.Generator(device).manual_seed(number % 2**63)

    def _behind(self, chance: torch.Generator) -> Tensor:
        """One plain colour: what a learned background shows was learned with the field, not with the mesh."""
        settings = self.job.settings.background
        low, high = settings.random_range
        channels = torch.rand(3, generator=chance)
        channels = channels[:1].expand(3) if settings.grey else channels
        return low + (high - low) * channels

    def _report(self) -> None:
        job, settings = self.job, self.settings
        left = (time.monotonic() - self._started) / self.asked * (settings.questions - self.asked) + 2.0
        index = len(job.settings.stages)
        steps = finish_steps(job.settings)
        job.context.progress(Progress("asset", index, index + 1, MESHED + self.asked, steps, left))
        if job.context.wants_preview():
            job.context.publish(preview(self.mesh))


def preview(mesh: TexturedMesh) -> MeshPreview:
    """The mesh with the colours of its vertices."""
    faces = mesh.faces.numpy()
    edges, face_edges = edges_of(faces)
    colours = mesh.colours().numpy()
    colours = np.concatenate([colours, np.ones_like(colours[:, :1])], axis=1).astype(np.float32)
    return MeshPreview(mesh.vertices.numpy(), faces, edges, face_edges, colours)


def explained(mesh: TexturedMesh, wishes: list[Wish], settings: TextureSettings) -> Tensor:
    """The residual whose pictures, softened as the prior's are, come nearest to all wishes; (K, 3).

    Pixels of the outline do not count, and those beside it count less: there the prior's picture is partly background
    where the mesh is not, and its colour would bleed onto the mesh. Nor does the prior count where a sharp picture is
    believed: told both, the nodes beside that picture make up for what it denies the prior, as a row of odd dots.
    """
    nothing = torch.zeros_like(mesh.residual)
    asked = sum(wish.is_soft for wish in wishes)
    held = held_nodes(wishes, len(nothing))
    gains, weights, softeners = [], [], []
    for wish in wishes:
        size = wish.pictures.shape[-1]
        soften = functools.partial(softened, size=size, sigma=settings.softness if wish.is_soft else 0.0)
        gains.append(_rows(wish.pictures) - soften(_rows(wish.sight.images(nothing, wish.behind))))
        share = wish.weight / asked if wish.is_soft else wish.weight
        counts = share * pixel_weights(wish.sight.coverage[:, 0].numpy(), settings.edge_weight)
        if wish.is_soft and held is not None:
            known = soften((wish.sight.effect @ held)[:, None])[:, 0]  # what is soft shows what is beside it, too
            counts *= np.square(1 - np.clip(known, 0, 1))
        weights.append(counts if wish.trust is None else counts * wish.trust.flatten().numpy())
        softeners.append(soften)
    ends = np.cumsum([len(gain) for gain in gains])[:-1]

    def soften_all(pixels: np.ndarray) -> np.ndarray:
        parts = np.split(pixels, ends)
        return np.concatenate([soften(part) for soften, part in zip(softeners, parts, strict=True)])

    effect = sparse.vstack([wish.sight.effect for wish in wishes]).tocsr()
    numbers = (np.concatenate(gains), np.concatenate(weights), mesh.node_colours().numpy(), mesh.neighbours.numpy())
    return torch.from_numpy(fit(effect, *numbers, settings.fit, soften_all))


def held_nodes(wishes: list[Wish], nodes: int) -> np.ndarray | None:
    """How far sharp pictures are believed at each node, (K,) in [0, 1]; None where there are none."""
    sharp = [wish for wish in wishes if not wish.is_soft]
    if not sharp:
        return None
    held = np.zeros(nodes, np.float32)
    for wish in sharp:
        seen = wish.sight.effect.T
        trust = np.ones(seen.shape[1], np.float32) if wish.trust is None else wish.trust.flatten().numpy()
        held = np.maximum(held, (seen @ trust) / np.maximum(seen @ np.ones_like(trust), 1e-6))
    return held


def _rows(images: Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).reshape(-1, 3).numpy()


def softened(pixels: np.ndarray, size: int, sigma: float) -> np.ndarray:
    """Square pictures under a Gaussian. Symmetric, as a matrix, away from the pictures' borders.

    Args:
        pixels: Of any number of pictures one after the other. (N * size * size, C).
        size: Height and width.
        sigma: Pixels; 0 changes nothing.
    """
    if not sigma:
        return pixels
    pictures = pixels.reshape(-1, size, size, pixels.shape[-1])
    for axis in (1, 2):
        pictures = ndimage.gaussian_filter1d(pictures, sigma, axis, mode="nearest", truncate=3.0)
    return pictures.reshape(pixels.shape)


def pixel_weights(coverage: np.ndarray, edge: float) -> np.ndarray:
    """How much pixels count: 1 inside the object, `edge` beside its outline, 0 on it and outside.

    Args:
        coverage: (N, H, W) in [0, 1].
        edge: In [0, 1].

    Returns:
        (N * H * W,) float32.
    """
    own = coverage > COVERED
    inside = ndimage.binary_erosion(own, np.ones((1, 3, 3)))
    return np.where(inside, 1.0, np.where(own, edge, 0.0)).astype(np.float32).ravel()
