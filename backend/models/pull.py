"""Fetching published models from the hub, a mirror or the authors' server into the store, so that a cut costs nothing.

Knows the download, through huggingface_hub's loop; `hub` knows where from. Knows no model and no terminal: progress
goes to a callable. A file appears under its name only when its size, its SHA-256 (where the hub gives one) and its
first bytes are right; until then it is `<name>.<version>.part`, and the next pull goes on behind its last byte.
huggingface_hub's own `hf_hub_download` starts over after a cut (2.4), hence our loop around its `http_get`.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from dreamlift.models.catalogue import Model, Published
from dreamlift.models.errors import NoSpace, Unreachable
from dreamlift.models.hub import OFFLINE_VARIABLES, PullSettings, Remote, is_network, look_up
from dreamlift.models.store import WEIGHT_SUFFIXES, Store, licence_note, write_note
from dreamlift.models.verify import sha256_of
from dreamlift.priors.files import check_content
from dreamlift.priors.weight_errors import DamagedWeights, WeightsError

SPARE_BYTES = 1 << 30  # a full disk troubles more than this download
LARGEST_INDEX = 16 << 20  # bytes of a shard list
log = logging.getLogger(__name__)


# What `pull` reports: the file, its bytes so far, all its bytes (None while unknown).
Tell = Callable[[Published, int, int | None], None]


def pull(store: Store, model: Model, settings: PullSettings, tell: Tell = lambda *what: None) -> Path:
    """Fetch what is missing of a model.

    Args:
        store: Its first writable folder takes the files.
        model: What to fetch.
        settings: From where.
        tell: Called with (file, bytes so far, bytes of all or None) as they arrive.

    Returns:
        The folder of the published files.

    Raises:
        ModelError: The server, the licence, the token or the disk is in the way; each has its own class.
        WeightsError: What arrived is not the file. It was thrown away; what was there before still is.
    """
    if settings.offline:
        what = f"This machine is told to stay offline ({' or '.join(OFFLINE_VARIABLES)}), so {model.id} is not fetched."
        raise Unreachable("offline", what, "Pull it elsewhere and name that folder in DREAMLIFT_MODELS.")
    with store.locked(model) as place:
        folder = place / "published"
        note = store.about(model) if (place / "about.json").is_file() else {}
        known = dict(note.get("files", {}))
        wanted = [look_up(model, file, settings) for file in model.files if _is_wanted(folder, file, known)]
        _check_space(folder, wanted)
        for remote in wanted:
            for fetched in _fetch_with_shards(folder, model, remote, settings, tell):
                known[fetched.file.path] = _noted(folder, fetched)
                about = {"id": model.id, "source": model.source, "licence": licence_note(model), "files": known}
                write_note(place / "about.json", about)
    return folder


def _is_wanted(folder: Path, file: Published, known: Mapping[str, Any]) -> bool:
    """Whether a file must be fetched: it is not there, or it is not what the last pull noted."""
    path = folder / file.path
    if not path.is_file():
        return True
    if file.path.endswith(".index.json") and any(not (path.parent / name).is_file() for name in _shards(path)):
        return True
    size = known.get(file.path, {}).get("size")
    try:
        if path.suffix in WEIGHT_SUFFIXES:
            check_content(path)
    except WeightsError as error:
        log.warning("fetched again: %s", error)
        return True
    return size is not None and size != path.stat().st_size


def part_of(folder: Path, remote: Remote) -> Path:
    """Where the first bytes of a file wait for the rest; another version of the file waits elsewhere."""
    path = folder / remote.file.path
    return path.with_name(f"{path.name}.{remote.version[:12] or 'unknown'}.part")


def _check_space(folder: Path, wanted: list[Remote]) -> None:
    parts = [part_of(folder, remote) for remote in wanted]
    done = sum(part.stat().st_size for part in parts if part.is_file())
    needed = sum(remote.size or 0 for remote in wanted) - done
    free = shutil.disk_usage(folder.parent).free
    if needed + SPARE_BYTES > free and needed > 0:
        what = f"{needed / 1e9:.1f} GB are to be fetched and {free / 1e9:.1f} GB are free in {folder.parent}."
        raise NoSpace("no_space", what, "Free some space, or put another folder first in DREAMLIFT_MODELS.")


def _fetch_with_shards(folder: Path, model: Model, remote: Remote, settings: PullSettings, tell: Tell) -> list[Remote]:
    _fetch(folder, remote, tell)
    if not remote.file.path.endswith(".index.json"):
        return [remote]
    fetched = [remote]
    for name in _shards(folder / remote.file.path):
        own = remote.file.path.rsplit("/", 1)[0] + "/" if "/" in remote.file.path else ""
        shard = replace(remote.file, path=f"{own}{name}", name="", repository=remote.origin, mirrors=())
        if (folder / shard.path).is_file():
            continue
        found = look_up(model, shard, replace(settings, repository=""))
        _check_space(folder, [found])
        _fetch(folder, found, tell)
        fetched.append(found)
    return fetched


def _shards(index: Path) -> list[str]:
    """Names in a shard list; a name that leads out of the folder makes the list worthless."""
    try:
        if index.stat().st_size > LARGEST_INDEX:
            raise ValueError("too long")
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        bad = [name for name in names if not isinstance(name, str) or Path(name).name != name or name.startswith(".")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedWeights(index, f"{index} is no list of shards ({error}).", "Delete it and pull again.") from error
    if bad:
        raise DamagedWeights(index, f"{index} names {bad[0]!r}, outside its folder.", "Do not use this copy.")
    return names


def _fetch(folder: Path, remote: Remote, tell: Tell) -> None:
    path = folder / remote.file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(folder, remote)
    if not remote.version:  # nobody can say whether the part belongs to this version
        part.unlink(missing_ok=True)
    if remote.size is not None and part.is_file() and part.stat().st_size > remote.size:
        part.unlink()
    with open(part, "ab") as file:
        start = file.tell()
        tell(remote.file, start, remote.size)
        _stream(remote, file, start, tell)
        file.flush()
        os.fsync(file.fileno())
    _accept(part, path, remote)


def _stream(remote: Remote, file: BinaryIO, start: int, tell: Tell) -> None:
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):  # the bar is ours; huggingface_hub would draw one of its own
        def __init__(self, *args: object, **settings: object):
            super().__init__(*args, **{**settings, "disable": True})

    counted = _Counted(file, remote, tell)
    try:
        http_get(
            remote.url,
            counted,
            resume_size=start,
            headers=dict(remote.headers),
            expected_size=remote.size,
            tqdm_class=Silent,
        )
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace("no_space", f"The disk of {file.name} is full.", "Free some space; pull goes on.") from error
        raise _cut(remote, counted, error) from error
    except Exception as error:
        if not is_network(error) and getattr(error, "response", None) is None:
            raise
        raise _cut(remote, counted, error) from error


def _cut(remote: Remote, counted: _Counted, error: Exception) -> Unreachable:
    told = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
    of = f" of {remote.size}" if remote.size is not None else ""
    what = f"The download of {remote.file.path} was cut after {counted.tell()}{of} bytes ({told})."
    return Unreachable("interrupted_download", what, "Run the same command again: it goes on from there.")


class _Counted:
    """A file that tells how far it is; what `http_get` needs of one."""

    def __init__(self, file: BinaryIO, remote: Remote, tell: Tell):
        self._file, self._remote, self._tell = file, remote, tell

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._tell(self._remote.file, self._file.tell(), self._remote.size)
        return written

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def truncate(self) -> int:
        return self._file.truncate()


def _accept(part: Path, path: Path, remote: Remote) -> None:
    """Give a whole and right file its name; throw a wrong one away."""
    try:
        if path.suffix in WEIGHT_SUFFIXES:
            check_content(part)
        if remote.sha256 and (found := sha256_of(part)) != remote.sha256:
            what = f"{path.name} arrived with SHA-256 {found[:12]}..., and the hub says {remote.sha256[:12]}...."
            raise DamagedWeights(
                path, what, "It was thrown away; pull it again, from another network if it happens twice."
            )
    except WeightsError:
        part.unlink()
        raise
    os.replace(part, path)


def _noted(folder: Path, remote: Remote) -> dict[str, Any]:
    path = folder / remote.file.path
    return {
        "size": path.stat().st_size,
        "sha256": remote.sha256 or sha256_of(path),
        "hash_from": "server" if remote.sha256 else "computed here",
        "from": remote.origin,
        "commit": remote.commit,
    }
