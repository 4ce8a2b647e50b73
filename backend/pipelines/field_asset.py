"""What comes out of a field: previews while it is optimised, a forecast before, the finished asset at the end.

Knows fields, previews and the last stage. Knows no prior and no loss; the loop is in `field_optimisation`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dreamlift.assets.bake import with_light, without_light
from dreamlift.assets.finish import FinishSettings, Refine, finish
from dreamlift.assets.surface import EmptySurface, SurfaceSettings, extract_surface
from dreamlift.assets.topology import Surface
from dreamlift.representations.field import Field
from dreamlift.representations.sdf_grid import SdfGrid

from .context import Asset, Progress, Request, RequestError, StagePlan
from .field_previews import mesh_preview, views_preview
from .field_settings import AssetSettings, FieldSettings, StageSettings
from .provenance import provenance_of

if TYPE_CHECKING:
    from .field_optimisation import Optimisation

FINISH_STEPS = 3  # surface, asset, done; refining the texture adds its own before the last
MESHED = 1  # how many of them are done when the texture is refined
FIRST_PREVIEW_STEP = 4  # by then the ball has a colour


def forecast(settings: FieldSettings, second: float, last: float, memory: int) -> list[StagePlan]:
    """The stages of a job.

    Args:
        settings: For the stages.
        second: Seconds a step.
        last: Seconds of the last stage, which makes the asset, without refining its texture.
        memory: Bytes of device memory at the widest moment.
    """
    stages = [StagePlan(stage.name, stage.steps, stage.steps * second, memory) for stage in settings.stages]
    steps = finish_steps(settings)
    return [*stages, StagePlan("asset", steps, last + (steps - FINISH_STEPS) * second, memory)]


def finish_steps(settings: FieldSettings) -> int:
    """Steps of the last stage: surface, mesh, a step each question about the texture, done."""
    return FINISH_STEPS + (settings.texture.questions if settings.texture else 0)


def show_previews(job: Optimisation, stage: StageSettings) -> None:
    """Publish a mesh and four views where the context wants them."""
    if job.step < FIRST_PREVIEW_STEP or not job.context.wants_preview():
        return
    mesh = mesh_preview(job.field, job.settings.preview_grid)
    if mesh is not None:
        job.context.publish(mesh)
    job.context.publish(views_preview(job.field, job.settings, stage.volume, job.occupied(stage)))


def begin_asset(job: Optimisation) -> None:
    """Tell the artist that the last stage has begun."""
    index = len(job.settings.stages)
    job.context.progress(Progress("asset", index, index + 1, 0, finish_steps(job.settings)))


def finish_asset(job: Optimisation, request: Request, started: float, refine: Refine | None = None) -> Asset:
    """The last stage: surface, clean-up, UVs, texture, and the texture made better.

    Args:
        job: The optimised field.
        request: Goes into the provenance.
        started: When the job began, seconds of the monotonic clock.
        refine: Makes the baked texture better; None keeps it.

    Returns:
        The asset, in metres.

    Raises:
        RequestError: The field is empty, so there is no surface.
        Stopped: On CANCEL and PAUSE while the texture is refined.
    """
    index, steps = len(job.settings.stages), finish_steps(job.settings)
    begin_asset(job)
    if isinstance(job.field, SdfGrid):
        job.field.softness = job.settings.softness_at(job.step)
    asset = job.settings.asset
    try:
        surface = surface_of(job.field, asset)
    except EmptySurface as error:
        about = repr(request.prompt) if request.prompt.strip() else "the picture"
        what = f"Nothing took shape for {about} in {job.step} steps."
        remedy = f"Give it more steps, or change the {'picture' if request.images else 'prompt'} or the seed."
        raise RequestError("empty_object", what, remedy) from error
    job.context.progress(Progress("asset", index, index + 1, MESHED, steps))
    provenance = provenance_of(job.prior, request, started, job.context.plan)
    light = job.settings.painted_light

    def paint(surface: Surface, uvs: np.ndarray, texture: np.ndarray) -> np.ndarray:
        if light is not None and job.painted:  # the field is albedo, the prior's pictures are not
            texture = with_light(surface, uvs, texture, light)
        better = refine(surface, uvs, texture) if refine is not None else texture
        return without_light(surface, uvs, better, light) if light is not None else better

    targets = FinishSettings(asset.triangles, asset.texture_size, asset.size_m)
    finished = finish(surface, functools.partial(albedo_of, job.field), targets, provenance, paint)
    job.context.progress(Progress("asset", index, index + 1, steps, steps, 0.0))
    return finished


@torch.no_grad()
def surface_of(field: Field, asset: AssetSettings) -> Surface:
    """The surface that a finished asset has, before it is smoothed and made lighter.

    Raises:
        EmptySurface: The field holds nothing.
    """
    values = field.level_values(asset.grid).cpu().numpy()
    return extract_surface(values, settings=SurfaceSettings(end_depth=asset.end_depth))


@torch.no_grad()
def albedo_of(field: Field, points: Tensor | np.ndarray) -> Tensor:
    """Base colour of a field at points (M, 3), sRGB in [0, 1]; (M, 3) on the CPU."""
    device = next(field.parameters()).device
    return field.query(torch.as_tensor(points, dtype=torch.float32).to(device)).albedo.cpu()
