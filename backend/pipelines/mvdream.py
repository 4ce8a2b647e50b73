"""MVDream: a prompt becomes an object by multi-view score distillation [systems.md section 6].

Reads like the paper: the stages optimise a field so that renderings from four sides at once satisfy a multi-view
diffusion prior (`distil`), and `finish_asset` turns the field into a mesh. Knows the method and its `Context`; knows no
sockets and no files. Numbers and their sources are in `mvdream_settings`, the loss in `distillation.mv_sds`, equations
and where they are in docs/mvdream.md.
"""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamlift.assets.finish import FinishSettings, finish
from dreamlift.assets.surface import EmptySurface, extract_surface
from dreamlift.distillation.mv_sds import TextCondition, mv_sds
from dreamlift.distillation.schedules import draw_timestep
from dreamlift.memory.apply import encoding, preferred_attention
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.rendering.cameras import Cameras, camera_rays
from dreamlift.rendering.occupancy import OccupancyGrid, occupied_by_distance
from dreamlift.rendering.shading import Light, orientation_loss, sample_light, shade
from dreamlift.rendering.view_sets import sample_view_sets
from dreamlift.rendering.volume import VolumeRender, volume_render
from dreamlift.representations.background import EnvironmentBackground
from dreamlift.representations.density_field import DensityField
from dreamlift.representations.sdf_grid import SdfGrid

from . import catalog
from .context import (
    Asset,
    Context,
    Progress,
    Request,
    RequestError,
    SeedViews,
    StagePlan,
    Stop,
    Stopped,
)
from .mvdream_previews import mesh_preview, views_preview
from .mvdream_prior import check_words, encode_condition, load_prior
from .mvdream_settings import MvDreamSettings, SdfGridSettings, StageSettings, settings_for
from .mvdream_views import SAMPLING_FULL, SAMPLING_MINI, MvDreamViews
from .provenance import provenance_of
from .seed_views import draw_views

log = logging.getLogger(__name__)

FINISH_STEPS = 3  # surface, asset, done
CHECKPOINT_SECONDS = 15.0
FIRST_PREVIEW_STEP = 4  # by then the ball has a colour

# Seconds a step, seconds of the last stage and bytes, for a forecast; none of it was measured on a GPU. Mini on a CPU:
# one core of a busy EPYC. Full on CUDA: the published 1.5 hours on a V100; on a CPU it is only for tests.
_FORECAST = {("mini", "cpu"): (0.15, 6.0, 1 << 30), ("full", "cuda"): (0.54, 60.0, 24 << 30)}
_FORECAST |= {("mini", "cuda"): (0.05, 6.0, 2 << 30), ("full", "cpu"): (60.0, 120.0, 16 << 30)}


def plan(request: Request, device: torch.device) -> list[StagePlan]:
    """Forecast the stages of a request.

    Args:
        request: What to make.
        device: Where it will run.

    Returns:
        The stages in order, with steps, seconds and bytes.

    Raises:
        RequestError: Where preset or settings are wrong.
    """
    settings = settings_for(request)
    size = "mini" if request.preset == "mini" else "full"
    second, last, memory = _FORECAST[size, "cpu" if device.type == "cpu" else "cuda"]
    stages = [StagePlan(stage.name, stage.steps, stage.steps * second, memory) for stage in settings.stages]
    return [*stages, StagePlan("asset", FINISH_STEPS, last, memory)]


def run(
    request: Request,
    context: Context,
    prior: MVDreamPrior | None = None,
    settings: MvDreamSettings | None = None,
) -> Asset:
    """Make an object from a prompt.

    Args:
        request: Prompt, preset and settings.
        context: Device, progress, previews, checkpoints and the wish to stop.
        prior: The multi-view denoiser; None loads the preset's weights.
        settings: Every number; None takes the preset's with the request's overrides.

    Returns:
        The finished asset.

    Raises:
        RequestError: The prompt or a setting cannot be used, or the weights are not there.
        Stopped: The context asked for CANCEL or PAUSE; a PAUSE left a checkpoint.
    """
    started = time.monotonic()
    settings = settings or settings_for(request)
    prior = prior or load_prior(request, str(context.device), context.plan)
    check_words(prior, request.prompt, context)
    with encoding(prior, context.plan):
        condition = encode_condition(prior, request, settings)
    job = Optimisation(settings, prior, condition, request.seed, context)
    job.restore()
    with preferred_attention(context.plan, context.device):
        ended = next((reason for stage in settings.stages if (reason := distil(job, stage)) is not None), None)
    log.info("optimised %d steps in %.1f s (%s)", job.step, time.monotonic() - started, ended or "all")
    return finish_asset(job, request, started)


@dataclass(frozen=True)
class Rendered:
    """Renderings of one step.

    Args:
        images: With background. (N, 3, H, W) in [0, 1].
        opacity: (N * H * W, 1) in [0, 1].
        volume: All that the renderer found out.
        directions: Of all rays, unit vectors. (N * H * W, 3).
    """

    images: Tensor
    opacity: Tensor
    volume: VolumeRender
    directions: Tensor


@dataclass
class Optimisation:
    """A job in the making: what changes while the stages run.

    Args:
        settings: The preset with the request's overrides.
        prior: The denoiser.
        condition: The embedded prompt.
        seed: Everything random follows from it and the step, so that a resumed job goes on as if never stopped.
        context: The way to the outside.
    """

    settings: MvDreamSettings
    prior: MVDreamPrior
    condition: TextCondition
    seed: int
    context: Context
    step: int = 0
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        device, first = self.context.device, self.settings.stages[0]
        kind = self.settings.field
        if isinstance(kind, SdfGridSettings):
            self.field = SdfGrid(kind, first.grid, self.seed, self.settings.softness_at(0)).to(device)
        else:
            self.field = DensityField(kind, self.seed).to(device)
        self.background = EnvironmentBackground(seed=self.seed).to(device) if self.settings.background.learned else None
        self.occupancy = OccupancyGrid().to(device)
        self.new_optimiser()

    def new_optimiser(self) -> None:
        """Start AdamW afresh on the field's present parameters."""
        groups = self.field.parameter_groups() + (self.background.parameter_groups() if self.background else [])
        numbers = self.settings.optimiser
        self.optimiser = torch.optim.AdamW(
            groups, betas=numbers.betas, eps=numbers.eps, weight_decay=numbers.weight_decay
        )
        self.rates = [group["lr"] for group in groups]

    def generator(self, purpose: int, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator that depends on seed, step and purpose alone."""
        number = (self.seed * 1_000_003 + self.step) * 16 + purpose
        return torch.Generator(device).manual_seed(number % 2**63)

    def occupied(self, stage: StageSettings) -> Tensor:
        """Cells worth sampling at this step."""
        length = stage.volume.step(self.field.radius)
        if isinstance(self.field, SdfGrid):
            return occupied_by_distance(self.field, 32, length)
        return self.occupancy.occupied

    def state(self) -> dict[str, Any]:
        """All that a resumed job needs: tensors and numbers by flat names."""
        parts = {"field": self.field, "background": self.background, "occupancy": self.occupancy}
        state: dict[str, Any] = {"step": self.step}
        for name, part in parts.items():
            if part is not None:
                state |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        for index, values in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{index}.{key}": value for key, value in values.items()}
        return state

    def save(self) -> None:
        """Hand a checkpoint to the context."""
        self.context.checkpoint(self.state())
        self.saved = time.monotonic()

    def restore(self) -> None:
        """Go on from the context's checkpoint, where there is one."""
        state = self.context.restore()
        if state is None:
            return
        self.step = int(state["step"])
        if isinstance(self.field, SdfGrid):
            self.field.resize(len(state["field.sdf"]))
            self.new_optimiser()
        for name in ("field", "background", "occupancy"):
            part = getattr(self, name)
            if part is not None:
                part.load_state_dict(_under(state, name))
        whole = self.optimiser.state_dict()
        for key, value in _under(state, "optimiser").items():
            index, name = key.split(".")
            whole["state"].setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict(whole)
        log.info("resumed at step %d", self.step)


def _under(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key[len(name) + 1 :]: value for key, value in state.items() if key.startswith(f"{name}.")}


def distil(job: Optimisation, stage: StageSettings) -> Stop | None:
    """Run one stage from where the job stands.

    Args:
        job: The optimisation; its step decides how much of the stage is left.
        stage: One of the settings' stages.

    Returns:
        Stop.FINISH where the artist wants what there is, None at the stage's end.

    Raises:
        Stopped: On CANCEL and PAUSE.
    """
    stages = job.settings.stages
    index = stages.index(stage)
    first = sum(earlier.steps for earlier in stages[:index])
    if job.step < first + stage.steps and isinstance(job.field, SdfGrid) and job.field.resolution != stage.grid:
        job.field.resize(stage.grid)
        job.new_optimiser()
    while job.step < first + stage.steps:
        reason = job.context.should_stop()
        if reason is Stop.FINISH:
            return reason
        if reason is not None:
            if reason is Stop.PAUSE:
                job.save()
            raise Stopped(reason)
        before = time.monotonic()
        mv_sds_step(job, stage)
        job.step += 1
        job.seconds.append(time.monotonic() - before)
        job.context.progress(_progress(job, stage, index, job.step - first))
        show_previews(job, stage)
        if time.monotonic() - job.saved > CHECKPOINT_SECONDS:
            job.save()
    return None


def mv_sds_step(job: Optimisation, stage: StageSettings) -> None:
    """One step: draw cameras, light, background and timestep; render; distil; regularise; update."""
    settings, device = job.settings, job.context.device
    chance, noise = job.generator(0), job.generator(1, device)
    prepare_step(job, stage)
    cameras = sample_view_sets(settings.cameras, stage.objects, settings.guidance.views, chance).to(device)
    light = sample_light(cameras, chance) if stage.shading else None
    rendered = render_views(job, stage, cameras, light, chance, noise)
    t = draw_timestep(settings.lowest_t(job.step), settings.highest_t(job.step), 1000, chance)
    rows = job.context.plan.rows if job.context.plan else 0
    guidance = replace(settings.guidance, image_size=stage.seen, rows=rows)
    guided = mv_sds(job.prior, rendered.images, cameras, job.condition, t, guidance, noise)
    # The loss is a sum over latents: seen at half size it would weigh a quarter beside the regularisers.
    balance = (job.prior.image_size / (stage.seen or job.prior.image_size)) ** 2
    loss = balance * guided.loss + regularisation(job, rendered)
    job.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    job.optimiser.step()


def prepare_step(job: Optimisation, stage: StageSettings) -> None:
    """Set what follows the step count: learning rates, the surface's softness, the occupancy grid."""
    factor = job.settings.optimiser.rate(job.step)
    for group, rate in zip(job.optimiser.param_groups, job.rates, strict=True):
        group["lr"] = rate * factor
    if isinstance(job.field, SdfGrid):
        job.field.softness = job.settings.softness_at(job.step)
    else:
        length = stage.volume.step(job.field.radius)
        job.occupancy.update(job.field, job.step, length, job.generator(2, job.context.device))


def render_views(
    job: Optimisation,
    stage: StageSettings,
    cameras: Cameras,
    light: Light | None,
    chance: torch.Generator,
    noise: torch.Generator,
) -> Rendered:
    """Render N cameras with the stage's shading over the step's background."""
    size, count = stage.resolution, len(cameras)
    origins, directions = (rays.reshape(-1, 3) for rays in camera_rays(cameras, size))
    oriented = job.settings.weights.orient(job.step) > 0
    shader = functools.partial(_shade_samples, light, size * size) if light is not None else None
    volume = volume_render(
        *(job.field, origins, directions, stage.volume, job.occupied(stage)),
        generator=noise,
        normals=oriented or light is not None,
        shade=shader,
    )
    behind = background_colour(job, directions, chance)
    colour = volume.colour + (1 - volume.opacity) * behind
    images = colour.view(count, size, size, 3).permute(0, 3, 1, 2)
    return Rendered(images, volume.opacity, volume, directions)


def _shade_samples(light: Light, pixels: int, rays: Tensor, points: Tensor, albedo: Tensor, normal: Tensor) -> Tensor:
    return shade(light, rays // pixels, points, albedo, normal)


def background_colour(job: Optimisation, directions: Tensor, chance: torch.Generator) -> Tensor:
    """One random colour for all views, or the learned environment; (R, 3) or (1, 3)."""
    settings = job.settings.background
    dice, *channels = torch.rand(4, generator=chance).tolist()
    if job.background is not None and dice >= settings.random_probability:
        return job.background(directions)
    low, high = settings.random_range
    channels = [channels[0]] * 3 if settings.grey else channels
    return directions.new_tensor([[low + (high - low) * value for value in channels]])


def regularisation(job: Optimisation, rendered: Rendered) -> Tensor:
    """The weighted penalties of this step [systems.md 1.12]."""
    weights, step = job.settings.weights, job.step
    opacity = rendered.opacity
    total = weights.sparsity(step) * opacity.mean()
    if weights.opaque(step) > 0:
        o = opacity.clamp(1e-3, 1 - 1e-3)
        total = total - weights.opaque(step) * (o * o.log() + (1 - o) * (1 - o).log()).mean()
    if weights.orient(step) > 0:
        volume = rendered.volume
        directions = rendered.directions[volume.samples.rays]
        hit = (opacity > 0).sum()
        total = total + weights.orient(step) * orientation_loss(volume.weights, volume.normals, directions, hit)
    for name, penalty in job.field.regularisers().items():
        total = total + getattr(weights, name)(step) * penalty
    return total


def show_previews(job: Optimisation, stage: StageSettings) -> None:
    """Publish a mesh and four views where the context wants them."""
    if job.step < FIRST_PREVIEW_STEP or not job.context.wants_preview():
        return
    mesh = mesh_preview(job.field, job.settings.preview_grid)
    if mesh is not None:
        job.context.publish(mesh)
    job.context.publish(views_preview(job.field, job.settings, stage.volume, job.occupied(stage)))


def finish_asset(job: Optimisation, request: Request, started: float) -> Asset:
    """The last stage: surface, clean-up, UVs, texture.

    Args:
        job: The optimised field.
        request: Goes into the provenance.
        started: When the job began, seconds of the monotonic clock.

    Returns:
        The asset, in metres.

    Raises:
        RequestError: The field is empty, so there is no surface.
    """
    index = len(job.settings.stages)
    job.context.progress(Progress("asset", index, index + 1, 0, FINISH_STEPS))
    if isinstance(job.field, SdfGrid):
        job.field.softness = job.settings.softness_at(job.step)
    asset = job.settings.asset
    try:
        surface = extract_surface(job.field.level_values(asset.grid).detach().cpu().numpy())
    except EmptySurface as error:
        what = f"Nothing took shape for {request.prompt!r} in {job.step} steps."
        raise RequestError("empty_object", what, "Give it more steps, or change the prompt or the seed.") from error
    job.context.progress(Progress("asset", index, index + 1, 1, FINISH_STEPS))
    provenance = provenance_of(job.prior, request, started, job.context.plan)
    targets = FinishSettings(asset.triangles, asset.texture_size, asset.size_m)
    finished = finish(surface, functools.partial(albedo_of, job.field), targets, provenance)
    job.context.progress(Progress("asset", index, index + 1, FINISH_STEPS, FINISH_STEPS, 0.0))
    return finished


def sample_views(request: Request, context: Context, prior: MVDreamPrior | None = None) -> SeedViews:
    """Draw the four sides of each of the request's seeds, before any geometry.

    An object made from one of these seeds starts from the same prompt and the same number, and that is all they share:
    the optimisation draws its cameras and its noise of every step from the seed and never sees these pictures.

    Args:
        request: Prompt, preset and seeds; a negative prompt takes the place of the empty one.
        context: Device, progress, previews and the wish to stop.
        prior: The multi-view denoiser; None loads the preset's weights.

    Returns:
        The pictures, seed by seed.

    Raises:
        RequestError: The prompt or a seed cannot be used, or the weights are not there.
        Stopped: The context asked for CANCEL or PAUSE; nothing is kept.
    """
    catalog.check_views(request.pipeline, request.preset, request.settings, request.seeds)
    started = time.monotonic()
    prior = prior or load_prior(request, str(context.device), context.plan)
    check_words(prior, request.prompt, context)
    sampling = SAMPLING_MINI if request.preset == "mini" else SAMPLING_FULL
    settings = settings_for(request)
    source = MvDreamViews(prior, request.prompt, request.negative_prompt, settings, sampling)
    with encoding(prior, context.plan):
        return draw_views(lambda: source, prior, request, context, started)


@torch.no_grad()
def albedo_of(field, points: Tensor | np.ndarray) -> Tensor:
    """Base colour of a field at points (M, 3), sRGB in [0, 1]; (M, 3) on the CPU."""
    device = next(field.parameters()).device
    return field.query(torch.as_tensor(points, dtype=torch.float32).to(device)).albedo.cpu()


def _progress(job: Optimisation, stage: StageSettings, index: int, step: int) -> Progress:
    recent = job.seconds[-30:]
    left = (job.settings.steps - job.step) * sum(recent) / len(recent) + 5.0
    return Progress(stage.name, index, len(job.settings.stages) + 1, step, stage.steps, left)
