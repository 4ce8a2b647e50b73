"""Optimising a field under a multi-view prior: the loop that every pipeline of this kind runs.

Draws cameras, light and background, renders, asks the prior by MV-SDS, regularises and updates; checkpoints, stops and
reports. Knows no pipeline: what the prior is told at a step comes from a `Tell`, every number from `FieldSettings`.
What the artist sees of it, and the finished object, are in `field_asset`; the loss is in `distillation.mv_sds`.
"""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from dreamlift.distillation.mv_sds import BothSides, MultiViewPrior, mv_sds
from dreamlift.distillation.schedules import draw_timestep
from dreamlift.memory.apply import preferred_attention
from dreamlift.rendering.cameras import Cameras, camera_rays
from dreamlift.rendering.occupancy import OccupancyGrid, occupied_by_distance
from dreamlift.rendering.shading import Light, WorldLight, orientation_loss, sample_light, shade
from dreamlift.rendering.view_sets import sample_view_sets
from dreamlift.rendering.volume import VolumeRender, volume_render
from dreamlift.representations.background import EnvironmentBackground
from dreamlift.representations.density_field import DensityField
from dreamlift.representations.sdf_grid import SdfGrid, SdfGridSettings

from .context import Context, Progress, Request, Stop, Stopped
from .field_asset import show_previews
from .field_settings import FieldSettings, StageSettings

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 15.0


@dataclass(frozen=True)
class Moment:
    """What a condition may depend on at a step.

    Args:
        step: Of the optimisation.
        behind: Mean colour of the background over all renderings of the step. (3,) in [0, 1].
        seen: Height and width at which the prior sees the renderings, pixels; None is its own.
        generator: For this step and this purpose alone, on the job's device.
    """

    step: int
    behind: Tensor
    seen: int | None
    generator: torch.Generator


Tell = Callable[[Moment], BothSides]
"""What the prior is told at a step, both sides of the guidance."""


def always(condition: BothSides) -> Tell:
    """The same condition at every step."""
    return lambda _: condition


def check_negative_prompt(request: Request, settings: FieldSettings, context: Context) -> None:
    """Warn where a negative prompt would not be heard: guidance of scale 1 has no unconditional side."""
    if request.negative_prompt and settings.guidance.scale == 1:
        what = "The negative prompt is not heard: at a prompt strength of 1 the model is told only what is wanted."
        context.warn("negative_prompt_unused", what, "Raise Prompt Strength, to 1.4 for example.")


class Beside(Protocol):
    """A loss beside the prior's, with a memory of its own."""

    def loss(self, job: Optimisation, stage: StageSettings) -> Tensor | float:
        """Of this step."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's."""


@dataclass(frozen=True)
class Rendered:
    """Renderings of one step.

    Args:
        images: With background. (N, 3, H, W) in [0, 1].
        opacity: (N * H * W, 1) in [0, 1].
        volume: All that the renderer found out.
        directions: Of all rays, unit vectors. (N * H * W, 3).
        behind: Mean colour of the background over all pixels. (3,) in [0, 1].
    """

    images: Tensor
    opacity: Tensor
    volume: VolumeRender
    directions: Tensor
    behind: Tensor


@dataclass
class Optimisation:
    """A job in the making: what changes while the stages run.

    Args:
        settings: The preset with the request's overrides.
        prior: The denoiser.
        told: What the prior is told at a step.
        seed: Everything random follows from it and the step, so that a resumed job goes on as if never stopped.
        context: The way to the outside.
        frames: Pictures of the denoiser's call for one set of views; 0 takes the views alone.
        beside: A loss beside MV-SDS.
    """

    settings: FieldSettings
    prior: MultiViewPrior
    told: Tell
    seed: int
    context: Context
    frames: int = 0
    beside: Beside | None = None
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

    @property
    def painted(self) -> bool:
        """Whether the last step showed the field under the painted light, so that its colours are albedo."""
        ends = itertools.accumulate(stage.steps for stage in self.settings.stages)
        pairs = zip(self.settings.stages, ends, strict=True)
        return next((stage.painted for stage, end in pairs if self.step <= end), self.settings.stages[-1].painted)

    def rows(self) -> int:
        """Most views that the plan lets the denoiser see at once; 0 is all. A plan counts frames, the loss views."""
        views, plan = self.settings.guidance.views, self.context.plan
        return plan.rows // (self.frames or views) * views if plan else 0

    def state(self) -> dict[str, Any]:
        """All that a resumed job needs: tensors and numbers by flat names."""
        parts = {"field": self.field, "background": self.background, "occupancy": self.occupancy}
        state: dict[str, Any] = {"step": self.step}
        for name, part in parts.items():
            if part is not None:
                state |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        if self.beside is not None:
            state |= {f"beside.{key}": value for key, value in self.beside.state().items()}
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
                part.load_state_dict(_part(state, name))
        if self.beside is not None:
            self.beside.load(_part(state, "beside"))
        whole = self.optimiser.state_dict()
        for key, value in _part(state, "optimiser").items():
            index, name = key.split(".")
            whole["state"].setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict(whole)
        log.info("resumed at step %d", self.step)


def _part(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key[len(name) + 1 :]: value for key, value in state.items() if key.startswith(f"{name}.")}


def optimise(job: Optimisation) -> None:
    """Run what is left of all stages, or what there is time for until the artist wants the object as it stands.

    Args:
        job: The optimisation.

    Raises:
        Stopped: On CANCEL and PAUSE; a PAUSE leaves a checkpoint.
    """
    started = time.monotonic()
    with preferred_attention(job.context.plan, job.context.device):
        ended = next((reason for stage in job.settings.stages if (reason := distil(job, stage)) is not None), None)
    log.info("optimised to step %d in %.1f s (%s)", job.step, time.monotonic() - started, ended or "all")


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
    guidance = replace(settings.guidance, image_size=stage.seen, rows=job.rows())
    told = job.told(Moment(job.step, rendered.behind, stage.seen, job.generator(3, device)))
    guided = mv_sds(job.prior, rendered.images, cameras, told, t, guidance, noise)
    # The loss is a sum over latents: seen at half size it would weigh a quarter beside the regularisers.
    balance = (job.prior.image_size / (stage.seen or job.prior.image_size)) ** 2
    loss = balance * guided.loss + regularisation(job, rendered)
    if job.beside is not None:
        loss = loss + job.beside.loss(job, stage)
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
    if stage.painted:
        shader = functools.partial(_under, job.settings.painted_light)
    volume = volume_render(
        *(job.field, origins, directions, stage.volume, job.occupied(stage)),
        generator=noise,
        normals=oriented or shader is not None,
        shade=shader,
    )
    behind = background_colour(job, directions, chance)
    colour = volume.colour + (1 - volume.opacity) * behind
    images = colour.view(count, size, size, 3).permute(0, 3, 1, 2)
    return Rendered(images, volume.opacity, volume, directions, behind.detach().mean(0))


def _shade_samples(light: Light, pixels: int, rays: Tensor, points: Tensor, albedo: Tensor, normal: Tensor) -> Tensor:
    return shade(light, rays // pixels, points, albedo, normal)


def _under(light: WorldLight, rays: Tensor, points: Tensor, albedo: Tensor, normal: Tensor) -> Tensor:
    return albedo * light.on(normal)


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
    if weights.soft_sparsity(step) > 0:
        total = total + weights.soft_sparsity(step) * (opacity.square() + 0.01).sqrt().mean()
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


def _progress(job: Optimisation, stage: StageSettings, index: int, step: int) -> Progress:
    recent = job.seconds[-30:]
    left = (job.settings.steps - job.step) * sum(recent) / len(recent) + 5.0
    return Progress(stage.name, index, len(job.settings.stages) + 1, step, stage.steps, left)
