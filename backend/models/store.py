"""Where published models lie on this machine: one or several folders, found, told apart and locked.

Knows paths, JSON notes and locks. Knows no network (`pull`) and no model (`convert`). Imports no torch.

    <folder>/<model id>/published/...   as the authors published it
    <folder>/<model id>/converted/...   safetensors that Dreamlift wrote, with the licence beside them
    <folder>/<model id>/about.json      source, commit, SHA-256 and licence of what was fetched

What somebody copied by hand may also lie straight in the folder, or in the model's folder: `sd-v2.1-base-4view.pt`
with `tokenizer/` beside it.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamlift import __version__
from dreamlift.models.catalogue import Model, Published
from dreamlift.models.errors import ModelError
from dreamlift.priors.files import PARTIAL_SUFFIXES, check_whole
from dreamlift.priors.weight_errors import DamagedWeights, UnsafeWeights, WeightsError
from dreamlift.protocol.connection_file import home_folder

VARIABLE = "DREAMLIFT_MODELS"
WEIGHT_SUFFIXES = (".pt", ".ckpt", ".bin", ".safetensors")
log = logging.getLogger(__name__)


class State(enum.Enum):
    """How much of a model is here; the value is for people."""

    ABSENT = "not here"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"
    PUBLISHED = "downloaded"
    CONVERTED = "ready"


@dataclass(frozen=True)
class Presence:
    """What the store found of one model.

    Args:
        state: How much there is.
        folder: `converted`, or the folder of the published files; None where nothing is.
        size: Bytes of it.
        problem: What is wrong, in words; empty where nothing is.
    """

    state: State
    folder: Path | None = None
    size: int = 0
    problem: str = ""


class Store:
    """The model folders of this machine.

    Args:
        folders: Searched in this order; the first that can be written to takes what is fetched.
    """

    def __init__(self, folders: Sequence[Path]):
        self.folders = tuple(Path(folder).expanduser().absolute() for folder in folders)

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Store:
        """The store that the environment names: DREAMLIFT_MODELS (several with the system's path separator), else
        `models` in Dreamlift's own folder."""
        named = [part for part in environment.get(VARIABLE, "").split(os.pathsep) if part.strip()]
        return cls([Path(part) for part in named] or [Path(home_folder(environment, sys.platform)) / "models"])

    def writable(self) -> Path:
        """The first folder that can be written to; it is made where it is missing.

        Raises:
            ModelError: "store_read_only" where there is none.
        """
        for folder in self.folders:
            probe = folder / f".write-{uuid.uuid4().hex}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe.touch()
                probe.unlink()
            except OSError as error:
                log.debug("%s cannot be written to: %s", folder, error)
                continue
            return folder
        names = ", ".join(str(folder) for folder in self.folders)
        what = f"None of the model folders can be written to ({names})."
        raise ModelError("store_read_only", what, f"Put a folder of your own first in {VARIABLE}.")

    def find(self, model: Model, file: Published) -> Path | None:
        """Where a published file lies; None where it is in no folder. A link that leads nowhere counts as found."""
        for folder in self.folders:
            places = [folder / model.id / "published" / file.path, folder / model.id / file.path]
            places += [folder / file.path] if not model.is_folder else []
            for place in places:
                if place.is_file() or place.is_symlink():
                    return place
        return None

    def published(self, model: Model) -> Path | None:
        """The weight file, or the diffusers folder, as `from_published` takes it; None where it is not here."""
        first = self.find(model, model.files[0])
        if first is None or not model.is_folder:
            return first
        return first.parents[model.files[0].path.count("/")]

    def converted(self, model: Model) -> Path | None:
        """The folder that `convert` wrote, whole by its looks; None where there is none."""
        for folder in self.folders:
            place = folder / model.id / "converted"
            if (place / "model.safetensors").is_file() and (place / "config.json").is_file():
                return place
        return None

    def unfinished(self, model: Model) -> list[Path]:
        """Files of downloads that have not ended."""
        there = [folder / model.id for folder in self.folders if (folder / model.id).is_dir()]
        return [path for folder in there for path in folder.rglob("*") if path.name.endswith(PARTIAL_SUFFIXES)]

    def presence(self, model: Model) -> Presence:
        """How much of a model is here, by looking at names, sizes and headers; `verify` looks at every byte."""
        converted = self.converted(model)
        published = self.published(model)
        place = converted or (published if published is None or published.is_dir() else published.parent)
        if place is None:
            partial = self.unfinished(model)
            size = sum(path.stat().st_size for path in partial)
            return Presence(State.UNFINISHED, partial[0].parent, size) if partial else Presence(State.ABSENT)
        try:
            if converted:
                check_whole(converted / "model.safetensors")
                return Presence(State.CONVERTED, converted, _size(converted.iterdir()))
            return self._published_presence(model, place)
        except (DamagedWeights, UnsafeWeights) as error:
            return Presence(State.DAMAGED, place, 0, str(error))
        except WeightsError as error:
            return Presence(State.UNFINISHED, place, 0, str(error))

    def _published_presence(self, model: Model, place: Path) -> Presence:
        paths = {file.path: self.find(model, file) for file in model.files}
        recorded = self.about(model).get("files", {})
        paths |= {path: self.find(model, Published(path)) for path in recorded if path not in paths}
        missing = [path for path, found in paths.items() if found is None]
        there = [found for found in paths.values() if found is not None]
        for path in there:
            if path.suffix in WEIGHT_SUFFIXES:
                check_whole(path)
        if missing:
            return Presence(State.UNFINISHED, place, _size(there), f"{', '.join(missing)} is missing.")
        for path, found in paths.items():
            wanted = recorded.get(path, {}).get("size", found.stat().st_size)
            if wanted != found.stat().st_size:
                raise DamagedWeights(found, f"{found} has {found.stat().st_size} of {wanted} bytes.", "Pull it again.")
        return Presence(State.PUBLISHED, place, _size(there))

    def about(self, model: Model) -> dict[str, Any]:
        """What `pull` noted about a model; empty where it was copied by hand.

        The note comes from a folder that others may write to: only its JSON is read, and it decides no path outside.
        """
        for folder in self.folders:
            try:
                told = json.loads((folder / model.id / "about.json").read_text(encoding="utf-8"))
                files = told["files"]
                good = all(isinstance(entry, dict) and _is_inside(path) for path, entry in files.items())
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                log.warning("%s is not readable and is ignored: %s", folder / model.id / "about.json", error)
                continue
            if good:
                return told
            log.warning("%s names files outside its folder and is ignored", folder / model.id / "about.json")
        return {}

    @contextlib.contextmanager
    def locked(self, model: Model) -> Iterator[Path]:
        """The model's folder in the first writable folder, for this process alone.

        Raises:
            ModelError: "model_busy" where another process is at it, "store_read_only" where nothing can be written.
        """
        place = self.writable() / model.id
        place.mkdir(parents=True, exist_ok=True)
        with open(place / ".lock", "a+", encoding="utf-8") as file:
            try:
                _lock(file)
            except OSError as error:
                what = f"Another process is fetching, converting or removing {model.id} in {place}."
                raise ModelError("model_busy", what, "Wait for it, then run the command again.") from error
            yield place

    def remove(self, model: Model, published_only: bool = False) -> int:
        """Delete a model from the first writable folder; shares that cannot be written to keep theirs.

        Args:
            model: What to delete.
            published_only: Whether to keep the converted copy.

        Returns:
            Bytes freed.

        Raises:
            ModelError: As `locked`.
        """
        with self.locked(model) as place:
            kept = {place / ".lock"} | ({place / "converted", place / "about.json"} if published_only else set())
            gone = [path for path in place.iterdir() if path not in kept]
            freed = sum(_size(path.rglob("*")) if path.is_dir() else path.stat().st_size for path in gone)
            for path in gone:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if not published_only:
            (place / ".lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody put something there meanwhile: it stays
                place.rmdir()
        return freed


def licence_note(model: Model) -> dict[str, Any]:
    """Name, address and terms of a model's licences, for notes and provenance."""
    return {
        "name": model.licence.name,
        "url": model.licence.url,
        "commercial_use": model.licence.commercial.value,
        "note": model.licence.note,
        "parts": {part: {"name": own.name, "url": own.url, "commercial_use": own.commercial.value}
                  for part, own in model.sub_licences},
    }  # fmt: skip


def write_note(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON note in one step: it is there whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    dated = {**content, "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "dreamlift": __version__}
    new.write_text(json.dumps(dated, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(new, path)


def _is_inside(path: str) -> bool:
    parts = Path(path).parts
    return bool(parts) and not Path(path).is_absolute() and ".." not in parts


def _size(paths: Iterator[Path] | list[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def _lock(file: Any) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
