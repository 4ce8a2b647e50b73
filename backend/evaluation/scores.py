"""What one generated asset scored, and the folder that remembers it, so that an interrupted run goes on.

Knows one prompt and one seed at a time. `report` adds up; `mini_mvdream` runs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from dreamlift.assets.contact_sheet import contact_sheet
from dreamlift.assets.topology import is_one_solid
from dreamlift.evaluation.janus import janus_signs
from dreamlift.evaluation.kept import AssetFolder, file_name
from dreamlift.evaluation.measures import (
    colours_found,
    colours_right,
    nearest_class,
    silhouette_iou,
    truth_views,
    volume_iou,
)
from dreamlift.evaluation.models import key_of, model_of_asset, model_of_truth
from dreamlift.evaluation.views import views_of
from dreamlift.pipelines.context import Asset
from dreamlift.training.objects import ASYMMETRIC
from dreamlift.training.prompts import parse_prompt

METRICS_VERSION = 2  # raise it when a definition changes: kept assets are then measured anew, not generated anew


@dataclass(frozen=True)
class Score:
    """One asset against its true object.

    Args:
        prompt: What was asked for.
        seed: Of the run.
        colour: Every colour that the prompt names was found.
        shape: The nearest class is the prompt's.
        silhouette: IoU, mean of eight views.
        volume: IoU.
        solid: One connected watertight mesh that looks outwards.
        janus: Features of the front appear on another side; None for symmetric classes.
        found: The nearest class and the colours found, for a look at mistakes.
        signs: The three Janus signs, in the order of `JanusSigns`; empty for symmetric classes.
        seconds: That the generation took.
        problem: Why there is no asset; empty where there is one.
    """

    prompt: str
    seed: int
    colour: bool = False
    shape: bool = False
    silhouette: float = 0.0
    volume: float = 0.0
    solid: bool = False
    janus: bool | None = None
    found: tuple[str | None, ...] = ()
    signs: tuple[float, ...] = ()
    seconds: float = 0.0
    problem: str = ""


def score_asset(asset: Asset, prompt: str, seed: int, seconds: float = 0.0) -> Score:
    """Measure a finished asset against the mean object that the prompt names."""
    item = parse_prompt(prompt)
    model, truth = model_of_asset(asset), model_of_truth(key_of(item))
    views, true_views = views_of(model), truth_views(key_of(item))
    kind = nearest_class(views)
    signs = janus_signs(model, views, truth, true_views) if item.kind in ASYMMETRIC else None
    return Score(
        prompt=prompt,
        seed=seed,
        colour=colours_right(views, item),
        shape=kind == item.kind,
        silhouette=silhouette_iou(views, true_views),
        volume=volume_iou(model, truth),
        solid=is_one_solid(asset.vertices, asset.faces),
        janus=None if signs is None else signs.is_janus,
        found=(kind, *colours_found(views, item)),
        signs=() if signs is None else dataclasses.astuple(signs),
        seconds=seconds,
    )


def failed_score(prompt: str, seed: int, problem: str) -> Score:
    """The score of a run that made no asset: wrong in everything; a Janus it is not."""
    janus = False if parse_prompt(prompt).kind in ASYMMETRIC else None
    return Score(prompt, seed, janus=janus, problem=problem)


class ScoreFolder:
    """Assets, sheets and scores by prompt and seed.

    Args:
        path: As `AssetFolder`'s.
    """

    def __init__(self, path: Path):
        self.path = path
        self._kept = AssetFolder(path)

    def score(self, prompt: str, seed: int) -> Score | None:
        """What was stored, measured again if the definitions have changed since; None where nothing is."""
        name = file_name(prompt, seed)
        stored = self._kept.read(name)
        if stored is None:
            return None
        if stored.pop("metrics") == METRICS_VERSION:
            return Score(**{**stored, "found": tuple(stored["found"]), "signs": tuple(stored["signs"])})
        if stored["problem"]:
            score = failed_score(prompt, seed, stored["problem"])
        else:
            score = score_asset(self._kept.asset(name), prompt, seed, stored["seconds"])
        self._write(score)
        return score

    def keep(self, score: Score, asset: Asset | None) -> None:
        """Store the asset with its sheet, and last the score."""
        if asset is not None:
            name = file_name(score.prompt, score.seed)
            self._kept.keep_asset(name, asset)
            self._kept.keep_sheet(name, contact_sheet(asset, tile=192))
        self._write(score)

    def _write(self, score: Score) -> None:
        name = file_name(score.prompt, score.seed)
        self._kept.write(name, {"metrics": METRICS_VERSION, **dataclasses.asdict(score)})
