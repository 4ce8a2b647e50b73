"""What one asset scored against its true object, and where that is kept.

Knows one object, one variant and one seed at a time. `report` adds up; `run` runs.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import torch

from dreamlift.assets.topology import is_one_solid
from dreamlift.evaluation.benchmark import measures
from dreamlift.evaluation.benchmark.measures import WHITE
from dreamlift.evaluation.benchmark.objects import LIST_VERSION, BenchmarkObject, prompt_pixels
from dreamlift.evaluation.benchmark.page import object_sheet
from dreamlift.evaluation.benchmark.pictures import Pictures, novel_cameras, pictures_of
from dreamlift.evaluation.benchmark.similarity import judge, judge_name, similarity
from dreamlift.evaluation.janus import janus_signs
from dreamlift.evaluation.kept import AssetFolder, file_name
from dreamlift.evaluation.measures import volume_iou
from dreamlift.evaluation.models import Model, camera_on_truth, model_of_asset, model_of_object
from dreamlift.evaluation.runner import Made
from dreamlift.evaluation.views import Views, views_of
from dreamlift.pipelines.context import Asset
from dreamlift.training.objects import ASYMMETRIC

METRICS_VERSION = 2  # raise it when a definition changes: kept assets are then measured anew, not generated anew


@dataclass(frozen=True)
class Score:
    """One asset against its true object; definitions in docs/evaluation.md. None: the measure has no meaning here.

    Args:
        name: Of the object.
        seed: Of the run.
        reference_psnr: At the prompt image's camera, dB.
        reference_iou: Of the silhouettes, at the same camera.
        psnr: On eight novel views, lit, on white, dB.
        psnr_inside: The same without the background.
        psnr_unlit: The asset's colours without light against the lit truth: light that is painted on costs nothing.
        ssim: On the novel views.
        silhouette_iou: On the novel views.
        volume_iou: Of the solids.
        chamfer: Distance of the surfaces, longest sides; None without an asset.
        normal_error: Degrees; None where nothing is common.
        solid: One connected watertight mesh that looks outwards.
        janus: The front's features on another side; None for objects without a front.
        signs: The three Janus signs; empty where there is none.
        stray: Volume away from the true object, as a share of its own; None without an asset.
        floaters: Bodies of it that reach far; None without an asset.
        saturation: Mean HSV saturation less the truth's; None without an asset.
        sharpness: Variance of the Laplacian over the truth's; None where the truth is plain.
        image_similarity: Mean cosine with the prompt image; None where nobody judges.
        text_similarity: Mean cosine with the caption; None where nobody judges.
        seconds: That the run took.
        peak_gb: Most memory of the process meanwhile, 10^9 bytes.
        problem: Why there is no asset; empty where there is one.
    """

    name: str
    seed: int
    reference_psnr: float = 0.0
    reference_iou: float = 0.0
    psnr: float = 0.0
    psnr_inside: float = 0.0
    psnr_unlit: float = 0.0
    ssim: float = 0.0
    silhouette_iou: float = 0.0
    volume_iou: float = 0.0
    chamfer: float | None = None
    normal_error: float | None = None
    solid: bool = False
    janus: bool | None = None
    signs: tuple[float, ...] = ()
    stray: float | None = None
    floaters: int | None = None
    saturation: float | None = None
    sharpness: float | None = None
    image_similarity: float | None = None
    text_similarity: float | None = None
    seconds: float = 0.0
    peak_gb: float = 0.0
    problem: str = ""


def score_asset(result: Made, case: BenchmarkObject, seed: int) -> Score:
    """Measure what a run made against the object that its prompt shows."""
    spent = {"seconds": result.seconds, "peak_gb": result.peak_bytes / 1e9}
    truth = truth_of(case)
    if result.asset is None:
        empty = _nothing_like(truth.novel), _nothing_like(truth.reference)
        return Score(case.name, seed, **_of_pictures(*empty, truth), **spent, problem=result.problem)
    model = model_of_asset(result.asset)
    novel = pictures_of(model, novel_cameras())
    reference = pictures_of(model, camera_on_truth(case.camera, case.item))
    return Score(
        case.name,
        seed,
        **_of_pictures(novel, reference, truth),
        **_of_solids(result.asset, model, truth),
        **_of_janus(model, case, truth),
        **_of_likeness(novel, case),
        normal_error=measures.normal_error(novel, truth.novel),
        saturation=measures.saturation(novel) - measures.saturation(truth.novel),
        sharpness=measures.sharpness(novel, truth.novel),
        **spent,
    )


@dataclass(frozen=True)
class Truth:
    """All that is compared with: a true object, its pictures at the novel cameras and at the prompt's, its views."""

    model: Model
    novel: Pictures
    reference: Pictures
    views: Views


@functools.lru_cache(maxsize=4)  # 25 MB each; the variants of one object come one after the other
def truth_of(case: BenchmarkObject) -> Truth:
    """The true object, in its own proportions."""
    model = model_of_object(case.item)
    reference = pictures_of(model, camera_on_truth(case.camera, case.item))
    return Truth(model, pictures_of(model, novel_cameras()), reference, views_of(model))


def _nothing_like(pictures: Pictures) -> Pictures:
    fields = (pictures.lit, pictures.unlit, pictures.alpha, pictures.normals)
    return Pictures(*(torch.zeros_like(field) for field in fields))


def _of_pictures(novel: Pictures, reference: Pictures, truth: Truth) -> dict[str, float]:
    wanted = truth.novel.over(WHITE)
    painted = novel.unlit + (1 - novel.alpha[:, None]) * WHITE
    return {
        "reference_psnr": measures.psnr(reference.over(WHITE), truth.reference.over(WHITE)),
        "reference_iou": measures.silhouette_iou(reference, truth.reference),
        "psnr": measures.psnr(novel.over(WHITE), wanted),
        "psnr_inside": measures.psnr_inside(novel, truth.novel),
        "psnr_unlit": measures.psnr(painted, wanted),
        "ssim": measures.ssim(novel.over(WHITE), wanted),
        "silhouette_iou": measures.silhouette_iou(novel, truth.novel),
    }


def _of_solids(asset: Asset, model: Model, truth: Truth) -> dict[str, float | int | bool]:
    share, bodies = measures.stray(model, truth.model)
    return {
        "volume_iou": volume_iou(model, truth.model),
        "chamfer": measures.chamfer(model, truth.model),
        "solid": is_one_solid(asset.vertices, asset.faces),
        "stray": share,
        "floaters": bodies,
    }


def _of_janus(model: Model, case: BenchmarkObject, truth: Truth) -> dict[str, bool | tuple[float, ...]]:
    if case.item.kind not in ASYMMETRIC:
        return {}
    signs = janus_signs(model, views_of(model), truth.model, truth.views)
    return {"janus": signs.is_janus, "signs": dataclasses.astuple(signs)}


def _of_likeness(novel: Pictures, case: BenchmarkObject) -> dict[str, float]:
    model = judge()
    if model is None:
        return {}
    found = similarity(model, prompt_pixels(case), case.caption, novel)
    return {"image_similarity": found.image, "text_similarity": found.text}


class BenchmarkFolder:
    """Assets, sheets and scores of one variant, by object and seed.

    Args:
        path: As `AssetFolder`'s.
    """

    def __init__(self, path: Path):
        self.path = path
        self._kept = AssetFolder(path)

    def score(self, case: BenchmarkObject, seed: int) -> Score | None:
        """What was kept; None where nothing is, or where a definition or the judge has changed since."""
        stored = self._kept.read(file_name(case.name, seed))
        if stored is None or stored.pop("metrics") != _definitions():
            return None
        return Score(**{**stored, "signs": tuple(stored["signs"])})

    def measured_again(self, case: BenchmarkObject, seed: int) -> Score | None:
        """The score of a kept asset by today's definitions; None where none was made."""
        name = file_name(case.name, seed)
        stored = self._kept.read(name)
        if stored is None:
            return None
        asset = None if stored["problem"] else self._kept.asset(name)
        score = score_asset(
            Made(asset, stored["seconds"], round(stored["peak_gb"] * 1e9), stored["problem"]), case, seed
        )
        self._write(score)
        return score

    def has(self, case: BenchmarkObject, seed: int) -> bool:
        """Whether a run was kept, whatever it is worth today."""
        return self._kept.read(file_name(case.name, seed)) is not None

    def keep(self, score: Score, case: BenchmarkObject, asset: Asset | None) -> None:
        """Store the asset with its sheet, and last the score."""
        name = file_name(case.name, score.seed)
        if asset is not None:
            self._kept.keep_asset(name, asset)
            self._kept.keep_sheet(name, object_sheet(model_of_asset(asset), truth_of(case).model, case))
        self._write(score)

    def sheet_file(self, case: BenchmarkObject, seed: int) -> Path:
        """Where the sheet of a run is; missing where the run made no asset."""
        return self._kept.sheet_file(file_name(case.name, seed))

    def _write(self, score: Score) -> None:
        stored = {"metrics": _definitions(), **dataclasses.asdict(score)}
        self._kept.write(file_name(score.name, score.seed), stored)


def _definitions() -> str:
    return f"{METRICS_VERSION}.{LIST_VERSION}.{judge_name()}"
