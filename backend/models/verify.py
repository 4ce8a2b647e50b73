"""SHA-256 of model files: computed, and compared with what was noted when they were fetched or written.

Knows hashes and notes. Knows no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dreamlift.models.catalogue import Model, Published
from dreamlift.models.store import WEIGHT_SUFFIXES, Store
from dreamlift.priors.files import check_whole
from dreamlift.priors.weight_errors import WeightsError

CHUNK = 8 << 20
Tell = Callable[[int], None]  # bytes read since the last call


@dataclass(frozen=True)
class Checked:
    """One file after a look at every byte. `good` is None where nothing was noted to compare with."""

    path: Path
    sha256: str
    good: bool | None
    what: str


def sha256_of(path: Path, tell: Tell = lambda count: None) -> str:
    """Hash a file as 64 hex digits.

    Args:
        path: The file.
        tell: Called with the bytes of every piece.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
            tell(len(piece))
    return digest.hexdigest()


def verify(store: Store, model: Model, tell: Tell = lambda count: None) -> list[Checked]:
    """Read every byte of a model's files, published and converted.

    Args:
        store: Where to look.
        model: What to check.
        tell: Called with the bytes of every piece that was read.

    Returns:
        One entry a file; empty where nothing of the model is here.
    """
    recorded = store.about(model).get("files", {})
    paths = dict.fromkeys([*(file.path for file in model.files), *recorded])
    found = {path: store.find(model, Published(path)) for path in paths}
    checked = [
        _check(place, str(recorded.get(path, {}).get("sha256", "")), tell) for path, place in found.items() if place
    ]
    if any(found.values()):
        checked += [
            Checked(store.folders[0] / model.id / path, "", False, "is missing") for path, at in found.items() if not at
        ]
    return checked + (_converted(folder, tell) if (folder := store.converted(model)) else [])


def bytes_of(store: Store, model: Model) -> int:
    """How much `verify` will read, for a progress bar."""
    folder = store.converted(model)
    paths = [store.find(model, file) for file in model.files] + (list(folder.iterdir()) if folder else [])
    return sum(path.stat().st_size for path in paths if path is not None and path.is_file())


def _check(path: Path, wanted: str, tell: Tell) -> Checked:
    try:
        if path.suffix in WEIGHT_SUFFIXES:
            check_whole(path)
        found = sha256_of(path, tell)
    except WeightsError as error:
        return Checked(path, "", False, error.what)
    except OSError as error:
        return Checked(path, "", False, f"cannot be read ({error.strerror})")
    if not wanted:
        return Checked(path, found, None, "whole; no hash was noted to compare with")
    if found != wanted:
        return Checked(path, found, False, f"is {found[:12]}..., must be {wanted[:12]}...")
    return Checked(path, found, True, "as noted")


def _converted(folder: Path, tell: Tell) -> list[Checked]:
    try:
        lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").split("\n")
    except OSError as error:
        return [Checked(folder / "SHA256SUMS", "", False, f"cannot be read ({error.strerror})")]
    pairs = [line.split("  ", 1) for line in lines if "  " in line]
    return [_check(folder / Path(name).name, wanted, tell) for wanted, name in pairs]
