"""Every number of the MVDream pipeline, with its source, and which of them a request may change.

Knows presets and their limits. Runs nothing. Keys in brackets are those of the published configs/mvdream-sd21*.yaml as
systems.md 6.5 and 1.13 restate them; the mini preset's numbers were measured, see docs/mvdream.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from dreamlift.distillation.mv_sds import Guidance
from dreamlift.distillation.schedules import Schedule, constant, ramp
from dreamlift.rendering.shading import WorldLight
from dreamlift.rendering.view_sets import ViewSetRanges
from dreamlift.rendering.volume import VolumeSettings
from dreamlift.representations.density_field import DensityFieldSettings
from dreamlift.representations.sdf_grid import SdfGridSettings

from . import catalog
from .context import Request
from .field_settings import (
    AssetSettings,
    BackgroundSettings,
    FieldSettings,
    LossWeights,
    OptimiserSettings,
    StageSettings,
    TextureSettings,
)

NEGATIVE_PROMPT = (
    "ugly, bad anatomy, blurry, pixelated obscure, unnatural colors, poor lighting, dull, and unclear, cropped, "
    "lowres, low quality, artifacts, duplicate, morbid, mutilated, poorly drawn face, deformed, dehydrated, "
    "bad proportions"
)


# Published, shading preset: 64 px and 2 objects to step 5000, then 256 px, 1 object and light.
FULL = FieldSettings(
    field=DensityFieldSettings(),
    stages=(
        StageSettings("shape", 5000, 64, 2, VolumeSettings()),
        StageSettings("detail", 5000, 256, 1, VolumeSettings(), shading=True),
    ),
    weights=LossWeights(orient=ramp(0, 10.0, 1000.0, 5000)),
    negative_prompt=NEGATIVE_PROMPT,
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
MINI = FieldSettings(
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
    asset=AssetSettings(grid=96, triangles=8000, texture_size=1024, end_depth=0.12),
    texture=TextureSettings(),
    painted_light=WorldLight(),
    preview_grid=56,
    preview_resolution=64,
)

PRESETS: Mapping[str, FieldSettings] = {
    "mini": MINI,
    "full": FULL,
    "full-plain": FULL_PLAIN,
    "full-legacy": FULL_LEGACY,
}


def settings_for(request: Request) -> FieldSettings:
    """The request's preset with the request's overrides.

    Raises:
        RequestError: The preset or a setting is not known, or a value is out of range; says what would do.
    """
    catalog.check(request.pipeline, request.preset, request.settings)
    return PRESETS[request.preset].changed(request.settings)
