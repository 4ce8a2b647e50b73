"""Every number of the ImageDream pipeline, with its source, and which of them a request may change.

Knows presets and their limits. Runs nothing. Keys in brackets are those of the published
configs/imagedream-sd21-shading.yaml as systems.md 5.5 restates them; what is not named here is MVDream's, as in the
release. The mini preset's numbers were measured, see docs/imagedream.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dreamlift.distillation.mv_sds import Guidance
from dreamlift.distillation.schedules import constant, ramp
from dreamlift.rendering.view_sets import ViewSetRanges
from dreamlift.rendering.volume import VolumeSettings

from . import catalog, mvdream_settings
from .context import RANDOM, Request, RequestError
from .field_settings import FieldSettings, LossWeights, StageSettings


@dataclass(frozen=True)
class PictureSettings:
    """How the picture is shown to the prior at each step.

    Args:
        background_match: What stands behind the cut-out picture: "rgb", the mean colour of the rendered background;
            "grey", its mean over the channels too, as the released code has it; "off", always middle grey.
        colours: Steps of a channel that the background is rounded to, so that what is encoded once serves again;
            0 encodes the picture at every step, with a fresh sample of its latents, as released.
        fill: Share of the square's side that the subject's longer side takes.
    """

    background_match: str = "rgb"
    colours: int = 0
    fill: float = 0.8


@dataclass(frozen=True)
class ReferenceSettings:
    """How much the picture itself counts.

    Args:
        looks: Shares of all steps after which the picture's camera is found, on the object as it then is or, the first
            time and where something reads it, in the picture alone; from the first on the object is pulled. With none
            the picture gives the finished texture its colours, nothing else.
        distance: Of that camera from the origin, world units: what a picture's crop tells least.
        weight: Of the summed squared difference to the picture, beside that of one view of MV-SDS.
        outline: The same of opacity and outline alone.
        rim: Share of the picture's side, to both sides of its outline, in which the outline counts little.
        edge: How much it counts there, 0 to 1.
        box: Of the mean squared way, squared world units, by which the object stands out of the box that was read in
            the picture; of no account where nothing reads it.
        least: Likeness below which the object is not yet what the picture shows, and nothing is pulled; of no account
            where the picture alone told the camera.
        texture_weight: How much a pixel of the picture counts for the finished texture; one of the prior's counts 1.
        texture_size: Height and width at which the finished texture is compared with the picture, pixels.
    """

    looks: tuple[float, ...] = (0.6, 0.7, 0.8, 0.92)
    distance: float = 3.5
    weight: float = 0.5
    outline: float = 0.5
    rim: float = 0.0
    edge: float = 1.0
    box: float = 0.0
    least: float = 0.5
    texture_weight: float = 2.0
    texture_size: int = 128


@dataclass(frozen=True)
class ImageDreamSettings(FieldSettings):
    """One preset of the pipeline. Further fields: `FieldSettings`.

    Args:
        picture: How the picture is shown.
        controller: Which weights: "pixel", "local" or "global" [systems.md 5.2].
        reference: How the picture itself pulls beside the prior; None leaves the object to the prior, as published.
        unaligned: Camera sets where the alignment of cameras is switched off: MVDream's ranges, which neither the prior
            nor the picture knows [systems.md 8.2].
    """

    picture: PictureSettings = PictureSettings()
    controller: str = "pixel"
    reference: ReferenceSettings | None = None
    unaligned: ViewSetRanges = ViewSetRanges()


_VOLUME = VolumeSettings()

# As released; behind the picture stands the background's colour, not its grey.
FULL = ImageDreamSettings(
    field=mvdream_settings.FULL.field,
    stages=(  # [data.batch_size, data.height, data.resolution_milestones]
        StageSettings("shape", 5000, 64, 2, _VOLUME),
        StageSettings("detail", 5000, 192, 1, _VOLUME, shading=True),
        StageSettings("fine", 2500, 256, 1, _VOLUME, shading=True),
    ),
    cameras=ViewSetRanges(elevation=(0.0, 5.0), fovy=(45.0, 50.0), reach=(0.6, 0.75)),  # [data.*_range]
    guidance=Guidance(scale=5.0, rescale=0.2),  # [guidance_scale, recon_std_rescale]
    weights=LossWeights(orient=ramp(0, 10.0, 1000.0, 5000), soft_sparsity=constant(1.0)),  # [loss.*]
    negative_prompt=mvdream_settings.NEGATIVE_PROMPT,
)

# The paper's text where it differs from the release: the camera's distance (its section 3.4).
PAPER = replace(FULL, cameras=replace(FULL.cameras, reach=(0.6, 0.85)))

# MVDream's mini course with another end. A picture leaves little to guess, so the mean of what the prior holds
# possible, which it tells at high noise without guidance, is the answer: smooth, and right in its proportions. Rays are
# sampled more finely, because coarse ones make sharp edges stick out. docs/imagedream.md says what was tried.
_FINER = VolumeSettings(samples=120, prune_alpha=0.0)
_FIRST, *_LATER = mvdream_settings.MINI.stages
_MINI = replace(
    mvdream_settings.MINI,
    stages=(_FIRST, *(replace(stage, painted=True, volume=_FINER) for stage in _LATER)),
    guidance=replace(mvdream_settings.MINI.guidance, scale=1.0),
    lowest_t=ramp(0, 0.98, 0.8, 200),
    highest_t=constant(0.98),
    softness=ramp(0, math.log(0.3), math.log(0.008), 256),
)
MINI = ImageDreamSettings(
    **vars(_MINI),
    picture=PictureSettings(colours=64),
    # The outline from the start, under the camera that `priors.picture_pose` reads; a look at the object half-way moved
    # it the wrong way. No colour: compared without light it carves the picture's own light into the surface.
    reference=ReferenceSettings(looks=(0.02,), weight=0.0, outline=0.6, rim=1.5 / 64, edge=0.1, box=1e5),
    unaligned=replace(_MINI.cameras, fovy=(15.0, 60.0), reach=(0.8, 1.0)),
)

PRESETS: Mapping[str, ImageDreamSettings] = {"mini": MINI, "full": FULL, "paper": PAPER}


def settings_for(request: Request) -> ImageDreamSettings:
    """The request's preset with the request's overrides.

    Raises:
        RequestError: The preset or a setting is not known, or a value is out of range; says what would do.
    """
    catalog.check(request.pipeline, request.preset, request.settings)
    settings, values = PRESETS[request.preset], dict(request.settings)
    controller = str(values.pop("controller", settings.controller))
    if controller == "global" and request.preset != "mini" and request.weights != RANDOM:
        what = "Nobody has published ImageDream's weights for the global controller."
        raise RequestError("no_weights", what, "Choose pixel or local, or preset 'mini'.", {"controller": "pixel"})
    match = str(values.pop("background_match", settings.picture.background_match))
    cameras = settings.cameras if values.pop("camera_alignment", True) else settings.unaligned
    picture = replace(settings.picture, background_match=match)
    matched = bool(values.pop("match_picture", settings.reference is not None))
    reference = (settings.reference or ReferenceSettings()) if matched else None
    own = {"picture": picture, "controller": controller, "cameras": cameras, "reference": reference}
    return replace(settings.changed(values), **own)
