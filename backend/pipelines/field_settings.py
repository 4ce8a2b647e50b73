"""Settings of pipelines that optimise a field, whatever prior guides it: stages, losses, optimiser, finished object.

Knows names and units, and how a course is stretched to another number of steps. Knows no preset's numbers: those stand
with their sources in `<pipeline>_settings`. Keys in brackets are those of the published configs [systems.md 6.5, 5.5].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from dreamlift.distillation.mv_sds import Guidance
from dreamlift.distillation.schedules import Schedule, constant, ramp
from dreamlift.distillation.texture_fit import FitSettings
from dreamlift.rendering.shading import WorldLight
from dreamlift.rendering.view_sets import ViewSetRanges
from dreamlift.rendering.volume import VolumeSettings
from dreamlift.representations.density_field import DensityFieldSettings
from dreamlift.representations.sdf_grid import SdfGridSettings

FEWEST_SETS = 4  # of views, from which a texture can be refined


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
        painted: Whether the field is shown under the settings' painted light, so that what shades a thing is its shape.
        grid: Grid points along an edge of an SDF grid; ignored by a density field.
        seen: Height and width at which the prior sees the renderings, pixels; None takes its own.
    """

    name: str
    steps: int
    resolution: int
    objects: int
    volume: VolumeSettings
    shading: bool = False
    painted: bool = False
    grid: int = 0
    seen: int | None = None


@dataclass(frozen=True)
class LossWeights:
    """Weights beside the MV-SDS loss, by step; what a field has no term for is ignored.

    Args:
        orient: Of `shading.orientation_loss` [loss.lambda_orient].
        sparsity: Of the mean opacity.
        soft_sparsity: Of the mean of sqrt(opacity^2 + 0.01) [loss.lambda_sparsity].
        opaque: Of the mean binary entropy of the opacity [loss.lambda_opaque].
        eikonal: Of an SDF grid's penalty of that name.
        laplacian: Of an SDF grid's penalty of that name.
        colour_variation: Of an SDF grid's penalty of that name.
    """

    orient: Schedule = constant(0.0)
    sparsity: Schedule = constant(0.0)
    soft_sparsity: Schedule = constant(0.0)
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
        end_depth: Of `surface.SurfaceSettings`: sides of the object that are flat but for bumps are cut flat.
    """

    grid: int = 256
    triangles: int = 20000
    texture_size: int = 2048
    size_m: float = 1.0
    end_depth: float = 0.0


@dataclass(frozen=True)
class TextureSettings:
    """How the finished texture is refined under the prior; measured with the mini models, see docs/textures.md.

    Args:
        rounds: How often the prior is asked about the texture as it then is.
        sets: Sets of views that it is asked about in a round.
        lowest_t, highest_t: Range of the timesteps, share of the schedule.
        seen: Height and width at which the prior sees the mesh, pixels; None takes its own.
        supersample: Samples a pixel along each side.
        cell: Of the lattice that holds what is added to the texture, pixels of those views.
        softness: Of the prior's pictures, standard deviation in pixels: what they show was sharper by as much. 0 takes
            them as they are.
        edge_weight: How much pixels beside the object's outline count; those inside count 1.
        fit: How all answers become one texture.
    """

    rounds: int = 1
    sets: int = 24
    lowest_t: float = 0.5
    highest_t: float = 0.8
    seen: int | None = None
    supersample: int = 2
    cell: float = 0.5
    softness: float = 0.8
    edge_weight: float = 0.3
    fit: FitSettings = FitSettings()

    @property
    def questions(self) -> int:
        """Sets of views that the prior is asked about, all rounds together."""
        return self.rounds * self.sets

    def with_sets(self, factor: float) -> TextureSettings:
        """`factor` times as many sets of views, at least `FEWEST_SETS` a round and never more than now."""
        return replace(self, sets=min(self.sets, max(FEWEST_SETS, round(factor * self.sets))))


@dataclass(frozen=True)
class FieldSettings:
    """One preset of a pipeline that optimises a field; pipelines with settings of their own derive from it.

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
        texture: How its texture is refined; None keeps the field's colours.
        painted_light: What the prior draws all things under, taken off the finished texture; None where that is not
            known.
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
    negative_prompt: str = ""
    asset: AssetSettings = field(default_factory=AssetSettings)
    texture: TextureSettings | None = None
    painted_light: WorldLight | None = None
    preview_grid: int = 96
    preview_resolution: int = 128

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def softness_at(self, step: float) -> float:
        """Softness of the surface at a step, world units; 0 where there is none."""
        return math.exp(self.softness(step)) if self.softness else 0.0

    def with_steps(self, steps: int) -> Self:
        """The same course in another number of steps: stages and schedules are stretched alike.

        A shorter course asks less about the texture.
        """
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
            texture=self.texture.with_sets(factor) if self.texture else None,
        )

    def changed(self, values: Mapping[str, Any]) -> Self:
        """These settings with a request's overrides of what every such pipeline has; the catalog checked the values.

        Args:
            values: "steps", "guidance_scale", "refine_texture" and fields of `AssetSettings`.
        """
        values = dict(values)
        settings = self.with_steps(values.pop("steps")) if "steps" in values else self
        if "guidance_scale" in values:
            scale = float(values.pop("guidance_scale"))
            settings = replace(settings, guidance=replace(settings.guidance, scale=scale))
        if "refine_texture" in values:
            texture = settings.texture or TextureSettings()
            settings = replace(settings, texture=texture if values.pop("refine_texture") else None)
        return replace(settings, asset=replace(settings.asset, **values))
