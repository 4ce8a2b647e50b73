"""Weight files from outside, read so that nothing in them can run and every kind of trouble gets its own words.

Knows safetensors, published pickles (zip and the older form, `weights_only=True`), Lightning files, diffusers folders,
and what half a download looks like. Knows no model: key maps are in `published`, families are told by `families`.
Imports no torch before it reads tensors, so that the model store and the command line may look at files at once.
"""

from __future__ import annotations

import glob
import json
import logging
import pickletools
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .families import Family, check_family, family_of
from .weight_errors import (
    DamagedWeights,
    EmptyWeights,
    MissingWeights,
    NotWeights,
    PointerFile,
    UnfinishedDownload,
    UnsafeWeights,
    WebPage,
    WeightsError,
    WrongFamily,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "DamagedWeights",
    "EmptyWeights",
    "Family",
    "MissingWeights",
    "NotWeights",
    "PointerFile",
    "UnfinishedDownload",
    "UnsafeWeights",
    "WeightsError",
    "WebPage",
    "WrongFamily",
    "check_content",
    "check_family",
    "check_whole",
    "family_of",
    "keys_of",
    "pickle_names",
    "read_component",
    "read_weights",
]

log = logging.getLogger(__name__)

LONGEST_HEADER = 100_000_000  # bytes; the safetensors format's own limit
PARTIAL_SUFFIXES = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2", ".tmp")
# A Lightning file remembers its trainer beside the weights. These packages' names are answered with an empty class, so
# that nothing of theirs is imported or run; any other name that torch does not know is refused.
TRAINERS = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "numpy.", "typing.", "pathlib.")
# All that published files name beside that. torch still refuses whatever of these packages builds no tensors.
FAMILIAR = ("torch.", "collections.", "_codecs.encode", "builtins.", "__builtin__.", *TRAINERS)
_DOWNLOAD = "Delete it and download it again (`dreamlift models pull`)."


def read_weights(path: Path, family: Family | tuple[Family, ...] | None = None) -> dict[str, Tensor]:
    """All tensors of one weight file, on the CPU; whatever its suffix says, its first bytes decide how it is read.

    Args:
        path: `.safetensors`, or a published pickle (`.pt`, `.ckpt`, `.bin`); Lightning's `state_dict` is unwrapped.
        family: What it must be, or one of several; None takes any.

    Returns:
        Tensors by published key; memory-mapped, so do not write into them.

    Raises:
        WeightsError: One of its subclasses; says what is wrong with this file and what to do.
    """
    path = Path(path)
    check_whole(path)
    state = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    if family is not None:
        check_family(state, family, path)
    return state


def read_component(folder: Path, component: str) -> dict[str, Tensor]:
    """Tensors of one part of a diffusers-layout folder, such as "unet"; one file or shards with an index.

    Args:
        folder: Holds one folder for each part.
        component: "unet", "vae", "text_encoder", "image_encoder"...; "" reads weights that lie in `folder` itself.

    Raises:
        MissingWeights: There is no such part, or it holds no weights; says which files would do.
        WeightsError: As `read_weights`.
    """
    part = Path(folder) / component
    stems = ("diffusion_pytorch_model", "model", "pytorch_model")
    names = [f"{stem}{kind}{end}" for end in (".safetensors", ".bin") for stem in stems for kind in ("", ".fp16")]
    for name in names:
        if (index := part / f"{name}.index.json").is_file():
            return _read_shards(index)
        if (part / name).is_file() or (part / name).is_symlink():
            return read_weights(part / name)
    raise MissingWeights(
        part,
        f"{part} holds no weights.",
        f"A diffusers folder has {names[0]} or {names[1]} there, or model.safetensors.",
    )


def keys_of(path: Path) -> list[str]:
    """Names of a weight file's tensors, without reading the tensors of a safetensors file; errors as `read_weights`."""
    check_whole(Path(path))
    if _is_safetensors(Path(path)):
        return [key for key in _header(Path(path)) if key != "__metadata__"]
    return list(_read_pickle(Path(path)))


def check_whole(path: Path) -> None:
    """Look at name, size, head and tail of a file, without reading it: is it there, whole and a weight file at all?

    Args:
        path: The file.

    Raises:
        MissingWeights: No such file, or a link that leads nowhere.
        EmptyWeights: No bytes.
        UnfinishedDownload: Cut short, still being downloaded, or a pointer in its place (`PointerFile`).
        WebPage: An error page was saved under the file's name.
        DamagedWeights: Its header or archive index cannot be.
        NotWeights: It is something else.
    """
    path = Path(path)
    if not path.exists():
        _say_missing(path)
    if path.is_dir():
        raise NotWeights(path, f"{path} is a folder, and one file is wanted here.", "Name the weight file in it.")
    if path.name.endswith(PARTIAL_SUFFIXES):
        what = f"{path} is a download that has not finished ({path.stat().st_size} bytes so far)."
        raise UnfinishedDownload(path, what, "Let it finish, or run `dreamlift models pull` to go on.")
    check_content(path)


def check_content(path: Path) -> None:
    """As `check_whole` for a file that is there, whatever it is called; for what was just downloaded."""
    size = path.stat().st_size
    if size == 0:
        raise EmptyWeights(path, f"{path} is empty (0 bytes).", _DOWNLOAD)
    with path.open("rb") as file:
        head = file.read(512)
    _refuse_text(path, head)
    if _is_safetensors(path):
        _header(path)
    elif head.startswith(b"PK\x03\x04"):
        _check_archive(path, size)
    elif not head.startswith(b"\x80"):  # that would be a bare pickle: only reading it tells
        what = f"{path} starts with {head[:8].hex(' ')}, which no weight file does."
        raise NotWeights(path, what, "Give a .safetensors file, or the .pt, .ckpt or .bin as it was published.")


def _say_missing(path: Path) -> None:
    if path.is_symlink():
        target = path.readlink()
        if "annex" in target.parts or ".git" in target.parts:
            raise PointerFile(
                path, f"{path} is a git-annex link whose content is not here.", "Run `git annex get` for it."
            )
        raise MissingWeights(path, f"{path} is a link to {target}, which is not there.", "Download the file again.")
    beside = path.parent.glob(f"{glob.escape(path.name)}*") if path.parent.is_dir() else ()
    for partial in beside:
        if partial.name.endswith(PARTIAL_SUFFIXES):
            what = f"{path} is not there; {partial.name} beside it is a download that has not finished."
            raise UnfinishedDownload(path, what, "Let it finish, or run `dreamlift models pull` to go on.")
    raise MissingWeights(
        path, f"{path} is not there.", "Give the path of the weight file, or run `dreamlift models pull`."
    )


def _refuse_text(path: Path, head: bytes) -> None:
    """Pointers and web pages that stand where the weights should be."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"version https://git-lfs") or text.startswith(b"version https://hawser"):
        size = next((line[5:].decode("ascii", "replace") for line in text.splitlines() if line[:5] == b"size "), "?")
        what = f"{path} is only a git-lfs pointer; the {size} bytes of weights are not here."
        raise PointerFile(path, what, "Run `git lfs pull` in that repository, or `dreamlift models pull`.")
    if text.startswith(b"/annex/objects/") or text.startswith(b"../") and b".git/annex" in text:
        what = f"{path} is only a git-annex pointer; the weights are not here."
        raise PointerFile(path, what, "Run `git annex get` for it in that repository.")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        what = f"{path} is a web page, not weights: the server answered with an error or a log-in page."
        raise WebPage(path, what, "Delete it; a gated model needs a token: see `dreamlift models licences`.")
    if text.startswith((b'{"error', b'{"message', b"access to model", b"repository not found", b"entry not found")):
        what = f"{path} is a server's error message, not weights: {text[:80].decode('utf-8', 'replace')!r}."
        raise WebPage(path, what, "Delete it; a gated model needs a token: see `dreamlift models licences`.")


def _is_safetensors(path: Path) -> bool:
    """By content first: a header length may begin like a pickle or an archive does."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] <= LONGEST_HEADER:
        return True
    return path.suffix == ".safetensors" and not head.startswith((b"PK\x03\x04", b"\x80"))


def _header(path: Path) -> dict[str, dict]:
    """Header of a safetensors file, checked against the file's size."""
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        if size >= 8 and (length > LONGEST_HEADER or length < 2):
            raise DamagedWeights(path, f"{path} says its header is {length} bytes long, which cannot be.", _DOWNLOAD)
        if 8 + length > size:
            what = f"{path} ends inside its header ({size} of at least {8 + length} bytes)."
            raise UnfinishedDownload(path, what, _DOWNLOAD)
        text = file.read(length)
    try:
        header = json.loads(text)
        ends = [tensor["data_offsets"][1] for key, tensor in header.items() if key != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise DamagedWeights(path, f"The header of {path} cannot be read ({error}).", _DOWNLOAD) from error
    if whole > size:
        what = f"{path} has {size} of {whole} bytes ({100 * size // whole} %): the download was cut."
        raise UnfinishedDownload(path, what, _DOWNLOAD)
    if whole < size:
        what = f"{path} is {size - whole} bytes longer than its header says."
        raise DamagedWeights(path, what, _DOWNLOAD)
    return header


def _check_archive(path: Path, size: int) -> None:
    if not zipfile.is_zipfile(path):
        what = f"{path} begins like a checkpoint but its end is missing ({size} bytes): the download was cut."
        raise UnfinishedDownload(path, what, _DOWNLOAD)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DamagedWeights(path, f"The index of {path} cannot be read ({error}).", _DOWNLOAD) from error
    if not any(name.endswith("data.pkl") for name in names):
        what = f"{path} is a zip archive without weights (it holds {', '.join(names[:3]) or 'nothing'})."
        raise NotWeights(path, what, "Unpack it, and give the weight file inside.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _header(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise DamagedWeights(path, f"{path} cannot be read ({error}).", _DOWNLOAD) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    import torch

    names = pickle_names(path)
    if foreign := sorted(name for name in names if not name.startswith(FAMILIAR)):
        raise _unsafe(path, ", ".join(foreign[:5]))
    inert = [(_Forgotten, name) for name in sorted(names) if name.startswith(TRAINERS)]
    archive = zipfile.is_zipfile(path)
    try:
        with torch.serialization.safe_globals(inert):
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=archive or None)
    except Exception as error:  # torch raises what it likes on a bad pickle; each becomes one of our own errors
        raise _unreadable(path, error) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    tensors = {k: v for k, v in loaded.items() if isinstance(v, torch.Tensor)} if isinstance(loaded, Mapping) else {}
    if not tensors:
        what = f"{path} holds a {type(loaded).__name__} without tensors, not weights."
        raise NotWeights(path, what, "Give the checkpoint itself, not a configuration or an optimiser state.")
    return tensors


class _Forgotten:
    """Stands for an object of the trainer that wrote a file: takes anything, keeps and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> _Forgotten:
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _unsafe(path: Path, names: str) -> UnsafeWeights:
    what = f"{path} carries code beside weights ({names}); it was refused and nothing ran."
    return UnsafeWeights(path, what, "Do not open it elsewhere. Take the file from the model's own page.")


def _unreadable(path: Path, error: Exception) -> WeightsError:
    text = str(error).strip()
    told = re.search(r"WeightsUnpickler error: (.+)", text)
    short = (told[1] if told else text.splitlines()[0] if text else type(error).__name__)[:160]
    if any(words in text for words in ("Unsupported global", "Unsupported class", "Trying to", "blocklisted")):
        name = re.search(r"(?:GLOBAL|class|function|to call) ([\w.]+)", short)
        return _unsafe(path, name[1] if name else short)
    if isinstance(error, EOFError) or "Ran out of input" in str(error):
        return UnfinishedDownload(path, f"{path} ends too early ({path.stat().st_size} bytes).", _DOWNLOAD)
    if isinstance(error, MemoryError):
        return DamagedWeights(path, f"{path} asks for more memory than there is.", _DOWNLOAD)
    return DamagedWeights(path, f"{path} cannot be read as weights ({short}).", _DOWNLOAD)


def pickle_names(path: Path) -> set[str]:
    """What a pickled checkpoint would import, found by reading its instructions, never by following them.

    Args:
        path: A torch file, zip or old form, or any pickle.

    Returns:
        Dotted names, such as "torch.FloatStorage" or "os.system"; as far as a damaged file can be read.

    Raises:
        DamagedWeights: The archive's index lies about where its instructions are.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return set().union(*(_names(file) for _ in range(5)))  # the older form is up to five pickles in a row
    found: set[str] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".pkl"):
                    with archive.open(name) as file:
                        found |= _names(file)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise DamagedWeights(path, f"{path} cannot be unpacked ({error}).", _DOWNLOAD) from error
    return found


def _names(file: BinaryIO) -> set[str]:
    found: set[str] = set()
    said: list[str] = ["?", "?"]
    memory: dict[int, str] = {}
    try:
        for operation, argument, _ in pickletools.genops(file):
            kind = operation.name
            if kind in ("GLOBAL", "INST"):
                found.add(str(argument).replace(" ", ".", 1))
            elif kind == "STACK_GLOBAL":
                found.add(f"{said[-2]}.{said[-1]}")
            elif kind == "MEMOIZE" or "PUT" in kind:
                memory[len(memory) if argument is None else int(argument)] = said[-1]
            elif "GET" in kind:
                said.append(memory.get(int(argument), "?"))
            elif isinstance(argument, str):
                said.append(argument)
    except (ValueError, IndexError, EOFError, OverflowError, UnicodeDecodeError) as error:
        log.debug("instructions end early: %s", error)  # the reader will say what is wrong; the names so far count
    return found


def _read_shards(index: Path) -> dict[str, Tensor]:
    try:
        shards: Iterable[str] = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedWeights(index, f"{index} is no list of shards ({error}).", _DOWNLOAD) from error
    state: dict[str, Tensor] = {}
    for name in shards:
        if Path(name).name != name:
            raise UnsafeWeights(index, f"{index} names {name!r}, outside its folder.", "Do not use this folder.")
        state |= read_weights(index.parent / name)
    return state
