"""Published weights to priors: opened as they are, or written once as safetensors that open quickly and run nothing.

Knows which class reads which model, by importing it. Knows no key maps (`priors`) and no network. The copy keeps its
papers: source, SHA-256 and licence lie beside it, and its version goes into the provenance of every asset.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamlift.models.catalogue import Model
from dreamlift.models.errors import ModelError, NoSpace
from dreamlift.models.store import Store, licence_note, write_note
from dreamlift.models.verify import Tell, sha256_of
from dreamlift.priors.families import Family
from dreamlift.priors.weight_errors import MissingWeights

if TYPE_CHECKING:
    from dreamlift.priors.contract import Prior

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reader:
    """How a model becomes a prior.

    Args:
        published: Opens the weight file, or the diffusers folder, as published.
        converted: Opens the folder that the prior's `save` wrote.
    """

    published: Callable[[Path], Prior]
    converted: Callable[[Path], Prior]


def reader_of(model: Model) -> Reader:
    """The class and configuration of a model. Imports torch.

    Args:
        model: One of the catalogue's.
    """
    if model.family is Family.V3D:
        from dreamlift.priors.v3d import V3DPrior
        from dreamlift.priors.v3d_config import V3D_512

        def published(path: Path) -> Prior:
            return V3DPrior.from_published(path, conditioner=path.parent / "svd_xt.safetensors", config=V3D_512)

        return Reader(published, lambda folder: V3DPrior.from_folder(folder, V3D_512))
    prior, config = _prior_of(model)
    # These copies hold their configuration, with the sizes that only the weights told.
    own = None if model.family in (Family.MVDREAM, Family.MVDREAM_15, Family.IMAGEDREAM) else config
    return Reader(lambda path: prior.from_published(path, config), lambda folder: prior.from_folder(folder, own))


def config_of(model: Model) -> Any:
    """Sizes, conventions and licence of a model, as its prior knows them. Imports torch.

    Args:
        model: One of the catalogue's.
    """
    if model.family is Family.V3D:
        from dreamlift.priors.v3d_config import V3D_512

        return V3D_512
    return _prior_of(model)[1]


def _prior_of(model: Model) -> tuple[Any, Any]:
    if model.family in (Family.MVDREAM, Family.MVDREAM_15):
        from dreamlift.priors.configs import MVDREAM_SD15, MVDREAM_SD21
        from dreamlift.priors.mvdream import MVDreamPrior

        return MVDreamPrior, MVDREAM_SD15 if model.family is Family.MVDREAM_15 else MVDREAM_SD21
    if model.family is Family.IMAGEDREAM:
        from dreamlift.priors.configs import IMAGEDREAM_LOCAL, IMAGEDREAM_PIXEL
        from dreamlift.priors.imagedream import ImageDreamPrior

        return ImageDreamPrior, IMAGEDREAM_LOCAL if model.id == "imagedream-local" else IMAGEDREAM_PIXEL
    if model.family is Family.ZERO123:
        from dreamlift.priors.zero123 import Zero123Prior
        from dreamlift.priors.zero123_config import STABLE_ZERO123, STABLE_ZERO123_C, ZERO123, ZERO123_XL

        own = {"zero123-xl": ZERO123_XL, "stable-zero123": STABLE_ZERO123, "stable-zero123-c": STABLE_ZERO123_C}
        return Zero123Prior, own.get(model.id, ZERO123)
    if model.family is Family.DEEPFLOYD:
        from dreamlift.priors.deepfloyd import DeepFloydPrior
        from dreamlift.priors.deepfloyd_config import IF_I_XL

        return DeepFloydPrior, IF_I_XL
    if model.family is Family.STABLE_DIFFUSION:
        from dreamlift.priors.stable_diffusion import StableDiffusionPrior
        from dreamlift.priors.stable_diffusion_config import SD15, SD21_BASE

        return StableDiffusionPrior, SD15 if model.id == "sd-1.5" else SD21_BASE
    raise ValueError(f"No prior reads {model.family.value}; {model.id} cannot be opened.")


def open_prior(store: Store, model: Model, reader: Reader | None = None) -> Prior:
    """The prior of a model: its converted copy where there is one, else the published files.

    Args:
        store: Where to look.
        model: Which.
        reader: None takes the catalogue's.

    Raises:
        MissingWeights: Neither is here; names the command that fetches it.
        WeightsError, CheckpointMismatch: The files cannot be used.
    """
    place = located(store, model)
    reader = reader or reader_of(model)
    return reader.converted(place) if place == store.converted(model) else reader.published(place)


def located(store: Store, model: Model) -> Path:
    """Where `open_prior` reads from.

    Args:
        store: Where to look.
        model: Which.

    Raises:
        MissingWeights: Neither converted nor published weights are here; names the command that fetches them.
    """
    place = store.converted(model) or store.published(model)
    if place is not None:
        return place
    folders = ", ".join(str(folder) for folder in store.folders)
    what = f"The weights of {model.label} ({model.id}) are not on this machine (looked in {folders})."
    raise MissingWeights(Path(model.id), what, f"Run `dreamlift models pull {model.id}`, or name their folder in "
                         "DREAMLIFT_MODELS.")  # fmt: skip


def convert(
    store: Store, model: Model, *, again: bool = False, reader: Reader | None = None, tell: Tell = lambda count: None
) -> Path:
    """Write a model's published weights as safetensors, once.

    Args:
        store: Has the published files; its first writable folder takes the copy.
        model: Which.
        again: Whether to replace a copy that is there; the old one stays until the new one is whole.
        reader: None takes the catalogue's.
        tell: Called with the bytes of every piece that was hashed.

    Returns:
        The folder of the copy; the published folder for models that are published as safetensors in parts.

    Raises:
        MissingWeights: The published files are not here.
        WeightsError, CheckpointMismatch: They cannot be used; what was there before still is.
        ModelError: "model_busy", "store_read_only", or no space.
    """
    source = store.published(model)
    if model.is_folder:
        return located(store, model)
    if (done := store.converted(model)) and not again:
        return done
    if source is None:
        located(store, model)  # raises where nothing is here at all
        what = f"The published files of {model.id} are gone, so its copy cannot be made again."
        raise MissingWeights(Path(model.id), what, f"Run `dreamlift models pull {model.id}`.")
    with store.locked(model) as place:
        _sweep(place)
        new = place / f"converted.{os.getpid()}.new"
        try:
            _write(store, model, source, new, reader or reader_of(model), tell)
            _swap(new, place / "converted")
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return place / "converted"


def _write(store: Store, model: Model, source: Path, new: Path, reader: Reader, tell: Tell) -> None:
    free = shutil.disk_usage(new.parent).free
    size = source.stat().st_size
    if size > free:
        what = f"The copy of {model.id} needs up to {size / 1e9:.1f} GB; {free / 1e9:.1f} GB are free in {new.parent}."
        raise NoSpace("no_space", what, "Free some space, or use the published file as it is.")
    noted = store.about(model).get("files", {}).get(model.files[0].path, {})
    sha256 = sha256_of(source, tell)
    if noted.get("sha256") not in (None, "", sha256):
        what = f"{source} is not the file that was fetched (SHA-256 {sha256[:12]}...)."
        raise ModelError("hash_changed", what, f"Run `dreamlift models pull {model.id}` again.")
    prior = reader.published(source)
    prior.save(new, f"published, sha256 {sha256[:12]}")
    if (source.parent / "tokenizer").is_dir():
        shutil.copytree(source.parent / "tokenizer", new / "tokenizer", dirs_exist_ok=True)
    paper = {"id": model.id, "source": noted.get("from") or model.source, "commit": noted.get("commit", "")}
    write_note(new / "provenance.json", {**paper, "sha256": sha256, "licence": licence_note(model)})


def _swap(new: Path, place: Path) -> None:
    old = place.with_name(f"converted.{os.getpid()}.old")
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Clear what a conversion that was killed left behind; the lock says that none is running."""
    for left in [*place.glob("converted.*.new"), *place.glob("converted.*.old")]:
        log.info("removed %s, left by a conversion that did not end", left)
        shutil.rmtree(left, ignore_errors=True)


def papers(folder: Path) -> dict[str, Any]:
    """What `convert` noted beside a copy: source, SHA-256 and licence; empty where there is no note."""
    try:
        return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
