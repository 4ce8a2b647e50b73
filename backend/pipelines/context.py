"""What a pipeline is given and what it gives back: requests, previews, progress, assets.

Knows the shapes of these values. Knows no sockets, no files and no Blender: the worker, the command line and the tests
each bring their own `Context`. Imports no torch, so that the service may read the same types.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

    from dreamlift.memory.plan import Plan

TRAINED, RANDOM = "trained", "random"
WEIGHTS = (TRAINED, RANDOM)  # what `Request.weights` may say


@dataclass(frozen=True)
class Request:
    """What somebody asked for. Everything a pipeline needs beside its context.

    Args:
        pipeline: Name in `pipelines.catalog.PIPELINES`, such as "mvdream".
        preset: Name of one of that pipeline's presets, such as "mini".
        prompt: What to make; may be empty where the pipeline takes pictures only.
        negative_prompt: What to avoid; empty uses the preset's.
        seed: Everything random follows from it. 0 <= seed < 2**63.
        settings: Overrides of the preset's settings by field name; values are checked by the pipeline.
        images: Encoded picture files (PNG, JPEG) by role, such as "reference".
        goal: "object" for a finished asset, "views" for what the prior draws from each of `seeds`.
        seeds: The rows of a "views" request, each as `seed`; a request for an object has none.
        weights: "trained" for the preset's own, "random" for a model of the same size with seeded random weights, to
            run, time and profile it where there are none; what it makes means nothing.
    """

    pipeline: str = "mvdream"
    preset: str = "mini"
    prompt: str = ""
    negative_prompt: str = ""
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    goal: str = "object"
    seeds: tuple[int, ...] = ()
    weights: str = TRAINED


class RequestError(ValueError):
    """A request that cannot be run as it stands, in words an artist can act on.

    Args:
        code: Short stable name, such as "unknown_words"; lower case with underscores.
        what: One sentence: what is wrong, with the value.
        remedy: One sentence: what to do instead.
        suggestion: Settings that would work, by field name, where there are any.
    """

    def __init__(self, code: str, what: str, remedy: str, suggestion: Mapping[str, Any] | None = None):
        super().__init__(f"{what} {remedy}")
        self.code = code
        self.what = what
        self.remedy = remedy
        self.suggestion = dict(suggestion or {})


@dataclass(frozen=True)
class StagePlan:
    """One stage as `plan` forecasts it: steps, seconds on this device, peak bytes of device memory."""

    name: str
    steps: int
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Progress:
    """Where a job stands. `step` counts within the stage; `seconds_left` is for the whole job, None while unknown."""

    stage: str
    stage_index: int
    stage_count: int
    step: int
    steps: int
    seconds_left: float | None = None

    @property
    def fraction(self) -> float:
        """Share of the whole job that is done, 0 to 1, every stage counted alike."""
        return (self.stage_index + self.step / max(self.steps, 1)) / max(self.stage_count, 1)


@dataclass(frozen=True)
class MeshPreview:
    """A triangle mesh to look at while the job runs.

    Args:
        vertices: (V, 3) float32, world units, z up, inside [-1, 1]^3.
        faces: (F, 3) int32, counter-clockwise seen from outside.
        edges: (E, 2) int32, every edge once: Blender need not search for them.
        face_edges: (F, 3) int32: edge k joins corners k and (k + 1) % 3 of the face.
        colors: (V, 4) float32 in [0, 1], sRGB, alpha 1.
        uvs: (F, 3, 2) float32 or None; origin bottom left.
    """

    vertices: np.ndarray
    faces: np.ndarray
    edges: np.ndarray
    face_edges: np.ndarray
    colors: np.ndarray
    uvs: np.ndarray | None = None


@dataclass(frozen=True)
class ViewsPreview:
    """Pictures of the object from named sides.

    Args:
        images: (N, H, W, 3) uint8 sRGB; with `seeds` N is len(seeds) * len(names), names fastest.
        names: "front", "right", ...
        seeds: Which seed each row of pictures was drawn from; () where the pictures show the one object of a job.
    """

    images: np.ndarray
    names: tuple[str, ...]
    seeds: tuple[int, ...] = ()


Preview = MeshPreview | ViewsPreview


class Stop(enum.Enum):
    """Why a running job should end early."""

    CANCEL = "cancel"  # drop everything
    FINISH = "finish"  # "Use Now": turn what there is into an asset
    PAUSE = "pause"  # checkpoint and hand the device back


class Stopped(Exception):
    """Raised by a pipeline that was asked to CANCEL or PAUSE, after it saved what the reason asks for."""

    def __init__(self, reason: Stop):
        super().__init__(reason.value)
        self.reason = reason


class Context(Protocol):
    """A pipeline's only way to the outside. Every method returns at once.

    Attributes:
        plan: How to save memory on this device; None where nobody planned.
    """

    plan: Plan | None

    @property
    def device(self) -> torch.device:
        """The one device of this job."""
        ...

    def progress(self, progress: Progress) -> None:
        """Say where the job stands; call it every step, receivers thin it out."""

    def publish(self, preview: Preview) -> None:
        """Show a preview. Latest wins: an unsent one of the same type may be replaced."""

    def wants_preview(self) -> bool:
        """True when it is time to make the next preview; keeps the cost of previews off fast loops."""
        ...

    def warn(self, code: str, what: str, remedy: str) -> None:
        """Tell the artist something that does not stop the job."""

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Save tensors, numbers and strings to resume from; replaces the last checkpoint."""

    def restore(self) -> dict[str, Any] | None:
        """The last checkpoint of this job, or None at a first start."""
        ...

    def should_stop(self) -> Stop | None:
        """Whether somebody asked the job to end, and how."""
        ...


@dataclass(frozen=True)
class Provenance:
    """Where an asset came from; travels inside the GLB (`asset.extras`) and beside it."""

    pipeline: str
    preset: str
    prompt: str
    negative_prompt: str
    seed: int
    weights: str  # such as "mini-mvdream 1 (embedded)"
    licence: str  # of the weights, SPDX or a name
    commercial_use: bool
    dreamlift: str  # version
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    memory: str = ""  # how it ran: precision and what was saved, and whether an out-of-memory took it a step down


@dataclass(frozen=True)
class Asset:
    """A finished object.

    Args:
        vertices: (V, 3) float32, metres, z up, front towards +x, origin at the centre of the base.
        faces: (F, 3) int32, counter-clockwise seen from outside; one watertight surface.
        uvs: (F, 3, 2) float32 in [0, 1], origin bottom left.
        texture: (S, S, 3) uint8 sRGB base colour, padded past the charts' edges; row 0 is the top (v = 1).
        roughness: Factor of the whole material, 0 to 1.
        metallic: Factor of the whole material, 0 to 1.
        provenance: How it was made.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray
    texture: np.ndarray
    provenance: Provenance
    roughness: float = 0.7
    metallic: float = 0.0


@dataclass(frozen=True)
class SeedViews:
    """What a prior draws from several seeds, before any geometry.

    Args:
        images: (S, V, H, W, 3) uint8 sRGB, row 0 is the top: seed by seed, side by side.
        names: Of the V sides, such as "front".
        seeds: Of the S rows.
        provenance: How they were made; its `seed` is the first of `seeds`.
    """

    images: np.ndarray
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    provenance: Provenance
