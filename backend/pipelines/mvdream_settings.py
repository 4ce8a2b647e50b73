"""Every number of the MVDream pipeline, with its source, and which of them a request may change.

Knows presets and their limits. Runs nothing. Keys in brackets are those of the published configs/mvdream-sd21*.yaml as
systems.md 6.5 and 1.13 restate them; the mini preset's numbers were measured, see docs/mvdream.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dreamlift.distillation.mv_sds import Guidance
from dreamlift.distillation.schedules import Schedule, constant, ramp
from dreamlift.rendering.view_sets import ViewSetRanges
from dreamlift.rendering.volume import VolumeSettings
from dreamlift.representations.density_field import DensityFieldSettings
from dreamlift.representations.sdf_grid import SdfGridSettings

from . import catalog
from .context import Request

NEGATIVE_PROMPT = (
    "ugly, bad anatomy, blurry, pixelated obscure, unnatural colors, poor lighting, dull, and unclear, cropped, "
    "lowres, low quality, artifacts, duplicate, morbid, mutilated, poorly drawn face, deformed, dehydrated, "
    "bad proportions"
)


@dataclass(frozen=True)
class StageSettings:
    """One stage of the optimisation: how finely to render, and for how long.

    Args:
        name: What the artist reads.
        steps: Optimiser steps at the preset's own length.
        resolution: Height and width of the renderings, pixels.
        objects: Sets of four views a step.
        volume: Samples along a ray.
        shading: Whether light is drawn; else the albedo is shown.
        grid: Grid points along an edge of an SDF grid; ignored by a density field.
        seen: Height and width at which the prior sees the renderings, pixels; None takes its own.
    """

    name: str
    steps: int
    resolution: int
    objects: int
    volume: VolumeSettings
    shading: bool = False
    grid: int = 0
    seen: int | None = None


@dataclass(frozen=True)
class LossWeights:
    """Weights beside the MV-SDS loss, by step; what a field has no term for is ignored.

    Args:
        orient: Of `shading.orientation_loss` [loss.lambda_orient].
        sparsity: Of the mean opacity.
        opaque: Of the mean binary entropy of the opacity [loss.lambda_opaque].
        eikonal: Of an SDF grid's penalty of that name.
        laplacian: Of an SDF grid's penalty of that name.
        colour_variation: Of an SDF grid's penalty of that name.
    """

    orient: Schedule = constant(0.0)
    sparsity: Schedule = constant(0.0)
    opaque: Schedule = constant(0.0)
    eikonal: Schedule = constant(0.0)
    laplacian: Schedule = constant(0.0)
    colour_variation: Schedule = constant(0.0)

    def stretched(self, factor: float) -> LossWeights:
        """The same course over `factor` times as many steps."""
        return LossWeights(**{name: schedule.stretched(factor) for name, schedule in vars(self).items()})


@dataclass(frozen=True)
class BackgroundSettings:
    """What is behind the object.

    Args:
        learned: Whether there is an environment by direction [background: neural-environment-map-background].
        random_probability: How often a random colour takes its place, shared by all views of a step.
        random_range: Range of that colour's channels.
        grey: Whether all three channels are the same.
    """

    learned: bool = True
    random_probability: float = 0.5
    random_range: tuple[float, float] = (0.0, 1.0)
    grey: bool = False


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW; learning rates stand with the fields.

    Args:
        betas: [optimizer.args.betas].
        eps: [optimizer.args.eps].
        weight_decay: Torch's own default, which the published config leaves alone.
        rate: Factor on all learning rates, by step.
    """

    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-15
    weight_decay: float = 0.01
    rate: Schedule = constant(1.0)


@dataclass(frozen=True)
class AssetSettings:
    """The finished object.

    Args:
        grid: Grid points along an edge for the isosurface.
        triangles: Target after decimation.
        texture_size: Texels along an edge.
        size_m: Longest side of the object, metres.
    """

    grid: int = 256
    triangles: int = 20000
    texture_size: int = 2048
    size_m: float = 1.0


@dataclass(frozen=True)
class MvDreamSettings:
    """One preset of the pipeline.

    Args:
        field: Which representation, by its own settings.
        stages: In order.
        cameras: Camera sets of the optimisation.
        guidance: CFG and rescale [guidance_scale, recon_std_rescale].
        lowest_t: Lower end of the timestep range, share of the schedule, by step [min_step_percent].
        highest_t: Upper end [max_step_percent].
        weights: Losses beside MV-SDS.
        background: What is behind the object.
        optimiser: AdamW's numbers.
        softness: Logarithm of an SDF grid's softness in world units, by step; None for a density field.
        negative_prompt: Used where the request has none.
        asset: The finished object.
        preview_grid: Grid points along an edge for preview meshes.
        preview_resolution: Height and width of preview pictures, pixels.
    """

    field: DensityFieldSettings | SdfGridSettings
    stages: tuple[StageSettings, ...]
    cameras: ViewSetRanges = ViewSetRanges()
    guidance: Guidance = Guidance()
    lowest_t: Schedule = ramp(0, 0.98, 0.02, 8000)
    highest_t: Schedule = ramp(0, 0.98, 0.5, 8000)
    weights: LossWeights = LossWeights()
    background: BackgroundSettings = BackgroundSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    softness: Schedule | None = None
    negative_prompt: str = NEGATIVE_PROMPT
    asset: AssetSettings = field(default_factory=AssetSettings)
    preview_grid: int = 96
    preview_resolution: int = 128

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def softness_at(self, step: float) -> float:
        """Softness of the surface at a step, world units; 0 where there is none."""
        return math.exp(self.softness(step)) if self.softness else 0.0

    def with_steps(self, steps: int) -> MvDreamSettings:
        """The same course in another number of steps: stages and schedules are stretched alike."""
        factor = steps / self.steps
        ends = [round(factor * sum(stage.steps for stage in self.stages[: k + 1])) for k in range(len(self.stages))]
        lengths = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return replace(
            self,
            stages=tuple(replace(stage, steps=n) for stage, n in zip(self.stages, lengths, strict=True)),
            lowest_t=self.lowest_t.stretched(factor),
            highest_t=self.highest_t.stretched(factor),
            weights=self.weights.stretched(factor),
            optimiser=replace(self.optimiser, rate=self.optimiser.rate.stretched(factor)),
            softness=self.softness.stretched(factor) if self.softness else None,
        )


# Published, shading preset: 64 px and 2 objects to step 5000, then 256 px, 1 object and light.
FULL = MvDreamSettings(
    field=DensityFieldSettings(),
    stages=(
        StageSettings("shape", 5000, 64, 2, VolumeSettings()),
        StageSettings("detail", 5000, 256, 1, VolumeSettings(), shading=True),
    ),
    weights=LossWeights(orient=ramp(0, 10.0, 1000.0, 5000)),
)

# Published, preset without shading: no light, no orientation loss.
FULL_PLAIN = replace(
    FULL,
    stages=tuple(replace(stage, shading=False) for stage in FULL.stages),
    weights=LossWeights(),
)

# As released, its elevation sampler included.
FULL_LEGACY = replace(FULL, cameras=replace(FULL.cameras, legacy_elevation=True))

_MINI_VOLUME = VolumeSettings(samples=56, prune_alpha=0.0)  # a step of 1/16
_MINI_REACH = 2.7 * math.tan(math.radians(20.0))  # the mini prior saw distance 2.7 at 40 degrees and nothing else

# Chosen with benchmarks/mini_reconstruction.py on a yellow chair, a red car and a white mug; docs/mvdream.md tells how.
MINI = MvDreamSettings(
    field=SdfGridSettings(start_radius=0.45, colour_rate=0.05, surface_shift=-2.75),
    stages=(
        StageSettings("form", 120, 32, 1, _MINI_VOLUME, grid=28, seen=32),
        StageSettings("shape", 140, 32, 1, _MINI_VOLUME, grid=40),
        StageSettings("detail", 60, 64, 1, _MINI_VOLUME, grid=48),
    ),
    cameras=ViewSetRanges(elevation=(-20.0, 40.0), fovy=(40.0, 40.0), reach=(_MINI_REACH, _MINI_REACH)),
    guidance=Guidance(scale=1.8, rescale=0.5, latent_weight=0.0, image_weight=2.5),
    lowest_t=ramp(0, 0.98, 0.05, 200),
    highest_t=ramp(0, 0.98, 0.5, 200),
    weights=LossWeights(
        sparsity=constant(5.0),  # 40 took the white stem of a mushroom away
        opaque=Schedule(((0, 0.0), (240, 0.0), (241, 10.0), (320, 20.0))),  # earlier, it closes holes for good
        eikonal=ramp(60, 20.0, 80.0, 240),  # stiff from the start, a ball never opens into a ring
        laplacian=ramp(60, 5e3, 1.2e4, 240),
        colour_variation=constant(30.0),
    ),
    background=BackgroundSettings(learned=False, random_probability=1.0, random_range=(0.2, 0.8), grey=True),
    optimiser=OptimiserSettings(eps=1e-8, weight_decay=0.0, rate=ramp(230, 1.0, 0.15, 320)),
    softness=ramp(0, math.log(0.3), math.log(0.012), 256),
    negative_prompt="",
    asset=AssetSettings(grid=96, triangles=8000, texture_size=1024),
    preview_grid=56,
    preview_resolution=64,
)

PRESETS: Mapping[str, MvDreamSettings] = {
    "mini": MINI,
    "full": FULL,
    "full-plain": FULL_PLAIN,
    "full-legacy": FULL_LEGACY,
}


def settings_for(request: Request) -> MvDreamSettings:
    """The request's preset with the request's overrides.

    Raises:
        RequestError: The preset or a setting is not known, or a value is out of range; says what would do.
    """
    catalog.check(request.pipeline, request.preset, request.settings)
    settings, values = PRESETS[request.preset], dict(request.settings)
    if "steps" in values:
        settings = settings.with_steps(values.pop("steps"))
    if "guidance_scale" in values:
        settings = replace(settings, guidance=replace(settings.guidance, scale=float(values.pop("guidance_scale"))))
    return replace(settings, asset=replace(settings.asset, **values))
