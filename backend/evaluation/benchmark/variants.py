"""What is compared: named variants of the mini pipelines, as the requests that make them.

Knows requests and which weights each needs. Runs nothing but the true object, which is a variant too: what the
finishing makes of a perfect field is the ceiling that everything else is read against.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dreamlift import mini
from dreamlift.assets.finish import FinishSettings, finish
from dreamlift.assets.surface import extract_surface
from dreamlift.evaluation.benchmark.objects import BenchmarkObject
from dreamlift.evaluation.kept import file_name
from dreamlift.evaluation.runner import SilentContext, fingerprint
from dreamlift.pipelines import catalog
from dreamlift.pipelines.catalog import Scalar
from dreamlift.pipelines.context import Asset, Provenance, Request

MINI = Path(mini.__file__).parent
TRUTH_GRID = 96  # as the mini presets extract


@dataclass(frozen=True)
class Variant:
    """One way to make the benchmark's objects.

    Args:
        name: For `--variants`, tables and pictures.
        what: A few words for the table.
        pipeline: Of the catalog; empty for the true object.
        settings: Overrides of the mini preset.
        sees: Whether the prompt image goes with the request.
        weights: Folders of `backend/mini` whose files it needs.
        tells: Whether the caption goes with the request.
    """

    name: str
    what: str
    pipeline: str = ""
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    sees: bool = False
    weights: tuple[str, ...] = ()
    tells: bool = True

    def folder(self) -> str:
        """Name of the folder for its results: what was asked for and of which weights, so that equal runs are shared.

        A setting that is not named has its default, whatever that is in this version.

        Raises:
            FileNotFoundError: Weights are missing.
        """
        if not self.pipeline:
            return "truth"
        weights = fingerprint(MINI / folder / "model.safetensors" for folder in self.weights)
        known = {setting.key: setting.defaults for setting in catalog.PIPELINES[self.pipeline].settings}
        usual = {key: defaults["mini"] for key, defaults in known.items() if "mini" in defaults}
        changed = [f"{key} {value}" for key, value in sorted(self.settings.items()) if usual.get(key) != value]
        changed += [] if self.tells else ["wordless"]
        every = json.dumps({**usual, **self.settings}, sort_keys=True)
        return file_name(self.pipeline, *changed, hashlib.sha256(f"{weights} {every}".encode()).hexdigest()[:8])

    def check(self) -> None:
        """Refuse settings that this version's pipelines do not have.

        Raises:
            RequestError: As `catalog.check`.
        """
        if self.pipeline:
            catalog.check(self.pipeline, "mini", self.settings)

    def request(self, case: BenchmarkObject, seed: int) -> Request:
        """What is asked for."""
        images = {"reference": case.prompt_image} if self.sees else {}
        words = case.caption if self.tells else ""
        return Request(self.pipeline, "mini", words, seed=seed, settings=self.settings, images=images)

    def generate(self, case: BenchmarkObject, seed: int) -> Asset:
        """One asset, as every user gets it."""
        if not self.pipeline:
            return true_asset(case)
        return catalog.load(self.pipeline).run(self.request(case, seed), SilentContext())


def _seeing(name: str, what: str, controller: str = "pixel", tells: bool = True, **settings: Scalar) -> Variant:
    weights = (f"imagedream/{controller}", "mvdream", "image_text")
    if settings.get("match_picture", True):
        weights += ("picture_pose",)
    if not tells:
        weights += ("picture_words",)
    return Variant(name, what, "imagedream", {"controller": controller, **settings}, True, weights, tells)


def _reading(name: str, what: str, **settings: Scalar) -> Variant:
    return Variant(name, what, "mvdream", settings, False, ("mvdream",))


TRUTH = Variant("truth", "the true object through the finishing")
ALONE = {"match_picture": False}  # the papers' orderings are about what the prior makes of the picture
IMAGE_TO_3D = (
    _seeing("pixel", "ImageDream, pixel controller"),
    _seeing("pixel-wordless", "pixel, the image without its caption", tells=False),
    _seeing("pixel-alone", "pixel, nothing but the prior, as published", **ALONE),
    _seeing("local-alone", "local controller, nothing but the prior", "local", **ALONE),
    _seeing("global-alone", "global controller, nothing but the prior", "global", **ALONE),
    _seeing("no-background-matching", "pixel-alone, one grey behind the picture", background_match="off", **ALONE),
    _seeing("no-camera-alignment", "pixel-alone, camera ranges made for text", camera_alignment=False, **ALONE),
    _reading("caption-only", "MVDream, the caption alone"),
    TRUTH,
)
TEXT_TO_3D = (
    _reading("mvdream", "MVDream, colours of the field", refine_texture=False),
    _reading("mvdream-refined", "MVDream, texture refined", refine_texture=True),
    TRUTH,
)
COMPARISONS = (  # the first is expected to be better
    ("pixel", "pixel-wordless"),
    ("pixel", "pixel-alone"),
    ("pixel-alone", "local-alone"),
    ("local-alone", "global-alone"),
    ("pixel-alone", "no-background-matching"),
    ("pixel-alone", "no-camera-alignment"),
    ("pixel", "caption-only"),
    ("pixel-alone", "caption-only"),
    ("mvdream-refined", "mvdream"),
)


def true_asset(case: BenchmarkObject) -> Asset:
    """The true object's own field, extracted, unwrapped and baked as the mini presets do it."""
    axis = torch.linspace(-1, 1, TRUTH_GRID)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    provenance = Provenance("truth", "", case.caption, "", 0, "none", "Apache-2.0", True, "", 0.0)
    surface = extract_surface(-case.item.sdf(points).numpy())
    return finish(surface, case.item.color, FinishSettings(triangles=8000, texture_size=1024), provenance)
