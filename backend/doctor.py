"""What this machine has, what is missing, and what to do about it.

Knows how to look: Python, torch, GPU, memory, disk, kernels, weights, the service. Changes nothing and prints nothing
(`commands/doctor.py` prints). Each check is a function that returns findings and survives broken finds.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from dreamlift import __version__
from dreamlift.client.finding import ClientError
from dreamlift.client.session import Client
from dreamlift.memory.cards import Card, card_of
from dreamlift.memory.fit import plan_or_refuse
from dreamlift.memory.plan import least_bytes
from dreamlift.pipelines.catalog import PIPELINES
from dreamlift.pipelines.context import RequestError
from dreamlift.protocol.pairing import PairingError
from dreamlift.service.home import Home, read_connection
from dreamlift.service.keys import last_port
from dreamlift.service.settings import default_home

Level = Literal["ok", "warning", "problem"]
GIB = 1024**3
LEAST_MEMORY = 2 * GIB  # a mini job: torch, diffusers and Warp loaded, the model and the run
LEAST_DISK = 1 * GIB  # kernels, previews and assets of a day
MINI_FOLDER = Path(__file__).parent / "mini"
SUMS = "SHA256SUMS"
RASTERIZER_VARIABLE = "DREAMLIFT_RASTERIZER"  # rendering/_nvdiffrast.py
TORCH_INDEX = "https://download.pytorch.org/whl"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        name: What was looked at, in a word or two.
        level: "ok", "warning" (Dreamlift works, but not as well as it could) or "problem" (something will fail).
        what: What was found.
        remedy: What to do; empty where there is nothing to do.
    """

    name: str
    level: Level
    what: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which one would mend things. Takes a few seconds: torch and Warp are imported."""
    for check in CHECKS:
        yield from check()


def check_python() -> Iterator[Finding]:
    """Python's version and where Dreamlift runs from."""
    running = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding("python", "ok", running)
    else:
        yield Finding(
            "python", "problem", f"{running}; Dreamlift needs 3.11 to 3.13.", "Make a venv with one of those."
        )
    yield Finding("dreamlift", "ok", f"{__version__} in {Path(__file__).parent}")


def check_torch() -> Iterator[Finding]:
    """torch, and the package that most often breaks it."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "problem", f"torch cannot be imported: {error}", "Run: pip install -c constraints.txt .")
        return
    yield Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if importlib.util.find_spec("torchvision") is not None:
        try:
            importlib.import_module("torchvision")
        except Exception as error:  # any failure counts: transformers and diffusers import it where they find it
            what = f"torchvision is installed but does not fit this torch: {error}"
            yield Finding(
                "torchvision", "problem", what, "Run: pip uninstall torchvision (Dreamlift does not need it)."
            )


def check_device() -> Iterator[Finding]:
    """Where jobs will be computed, and the CUDA-only packages where there is CUDA."""
    try:
        import torch
    except (ImportError, OSError):
        return  # check_torch has said so
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(index)
            what = f"{device.name}, {device.total_memory / GIB:.0f} GiB, CUDA {torch.version.cuda}"
            yield Finding(f"cuda:{index}", "ok", what)
        yield from _cuda_packages()
    elif shutil.which("nvidia-smi"):
        what = f"An NVIDIA driver is here, but torch {torch.__version__} cannot use a GPU."
        yield Finding(
            "cuda", "warning", what, f"Run: pip install torch --index-url {TORCH_INDEX}/cu130, or see nvidia-smi."
        )
    else:
        yield Finding("device", "ok", f"CPU, {psutil.cpu_count(logical=False)} cores; the mini preset is made for it.")
    yield rasterizer_finding(_version("nvdiffrast"), os.environ.get(RASTERIZER_VARIABLE, "").strip().lower())


def _cuda_packages() -> Iterator[Finding]:
    if _version("gsplat"):
        yield Finding("gsplat", "ok", f"{_version('gsplat')}")
        if not shutil.which("nvcc"):
            what = "gsplat builds its kernels on first use and needs nvcc, which is not on PATH."
            yield Finding(
                "nvcc", "warning", what, "Install the CUDA toolkit; until then the plain Warp kernels are used."
            )
    else:
        what = "Gaussian splatting uses the plain Warp kernels."
        yield Finding("gsplat", "warning", what, "For more speed run: pip install 'dreamlift[cuda]' (needs nvcc).")


def rasterizer_finding(installed: str | None, choice: str) -> Finding:
    """Which rasterizer draws; nvdiffrast only on CUDA and where the user chose it (`rendering/_nvdiffrast.py`).

    Args:
        installed: nvdiffrast's version, None where it is not installed.
        choice: What the environment variable says.
    """
    licence = "its licence forbids commercial use (docs/licences.md)"
    if choice not in ("", "warp", "nvdiffrast"):
        what = f"{RASTERIZER_VARIABLE} is {choice!r}, which is no rasterizer."
        return Finding("rasterizer", "problem", what, f"Set {RASTERIZER_VARIABLE} to warp or nvdiffrast, or unset it.")
    if choice == "nvdiffrast" and not installed:
        what = f"{RASTERIZER_VARIABLE} asks for nvdiffrast, which is not installed."
        return Finding("rasterizer", "problem", what, f"Unset {RASTERIZER_VARIABLE}, or install it: {licence}.")
    if choice == "nvdiffrast":
        return Finding("rasterizer", "ok", f"nvdiffrast {installed} on CUDA, by your choice; {licence}")
    if installed:
        what = f"our own kernels; nvdiffrast {installed} is there and not used ({RASTERIZER_VARIABLE}=nvdiffrast would)"
        return Finding("rasterizer", "ok", f"{what}; {licence}")
    return Finding("rasterizer", "ok", f"our own kernels; nvdiffrast is not installed, not needed; {licence}")


def check_presets() -> Iterator[Finding]:
    """Which presets fit each device, and how they would run there. Estimated: see docs/performance.md."""
    try:
        import torch
    except (ImportError, OSError):
        return  # check_torch has said so
    if torch.cuda.is_available():
        cards = {f"cuda:{k}": card_of(torch.device("cuda", k)) for k in range(torch.cuda.device_count())}
    else:
        cards = {"the CPU": card_of(None)}
    for place, card in cards.items():
        yield from preset_findings(place, card)


def preset_findings(place: str, card: Card) -> Iterator[Finding]:
    """One finding for each way in which presets run, or do not, on a device.

    Args:
        place: What the device is called.
        card: What it is.
    """
    for name, pipeline in PIPELINES.items():
        alike: dict[tuple[str, str, str], list[str]] = {}
        for preset in pipeline.presets:
            alike.setdefault(_preset_words(name, preset.name, card), []).append(preset.name)
        for (level, what, remedy), presets in alike.items():
            yield Finding(f"{name} {', '.join(presets)} on {place}", level, what, remedy)


def _preset_words(pipeline: str, preset: str, card: Card) -> tuple[Level, str, str]:
    try:
        plan = plan_or_refuse(pipeline, preset, card)
    except RequestError as error:
        smaller = error.suggestion.get("preset")
        needed = least_bytes(pipeline, preset, card) / GIB
        what = f"does not fit: needs about {needed:.1f} GiB, there are {card.usable_bytes / GIB:.1f}"
        if smaller or not PIPELINES[pipeline].makes_objects:  # nothing is lost: objects are made without it
            return "ok", f"{what}; {smaller} does" if smaller else what, ""
        return "warning", what, error.remedy
    if plan is None:
        return "ok", "nothing is known of its memory", ""
    slow = "" if card.kind == "cuda" or preset == "mini" else "; made for a GPU, very slow here"
    return "ok", f"fits: {plan.words()} of {card.usable_bytes / GIB:.1f}{slow}", ""


def check_room() -> Iterator[Finding]:
    """Memory and disk."""
    memory = psutil.virtual_memory()
    what = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    if memory.available < LEAST_MEMORY:
        remedy = f"A mini job needs about {LEAST_MEMORY // GIB} GiB; close something."
        yield Finding("memory", "warning", what, remedy)
    else:
        yield Finding("memory", "ok", what)
    for name, folder in (("disk", _existing(default_home())), ("temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        what = f"{free / GIB:.1f} GiB free in {folder}"
        few = free < LEAST_DISK
        yield Finding(name, "warning" if few else "ok", what, "Free some space there." if few else "")


def check_kernels() -> Iterator[Finding]:
    """Warp compiles our kernels on first use: it must import and be able to write its cache."""
    try:
        import warp

        from dreamlift.rendering.warp_bridge import initialise
    except (ImportError, OSError) as error:
        yield Finding("warp", "problem", f"Warp cannot be imported: {error}", "Run: pip install -c constraints.txt .")
        return
    try:
        initialise()
        cache = Path(warp.config.kernel_cache_dir)
        with tempfile.NamedTemporaryFile(dir=_existing(cache)):
            pass
    except (OSError, RuntimeError) as error:
        remedy = "Give this user a HOME that it can write to, or set WARP_CACHE_PATH to such a folder."
        yield Finding("warp", "problem", f"Warp {warp.config.version} cannot keep compiled kernels: {error}", remedy)
        return
    yield Finding("warp", "ok", f"{warp.config.version}, kernels in {cache}")


def check_weights(folder: Path = MINI_FOLDER) -> Iterator[Finding]:
    """The embedded models: every file that its SHA256SUMS names is there and whole.

    Args:
        folder: Holds one folder for each model, or folders of such folders.
    """
    models = sorted(path.parent for path in folder.rglob("config.json"))
    if not models:
        what = f"No embedded model in {folder}."
        yield Finding("weights", "problem", what, "Reinstall Dreamlift: pip install --force-reinstall --no-deps .")
    for model in models:
        name = "-".join(model.relative_to(folder).parts)
        bad = [file for file, expected in _sums(model) if _sha256(model / file) != expected]
        if bad:
            what = f"mini-{name} is damaged: {', '.join(bad)}."
            yield Finding(f"weights {name}", "problem", what, "Reinstall: pip install --force-reinstall --no-deps .")
        else:
            yield Finding(f"weights {name}", "ok", f"mini-{name}, hashes verified")


def check_matting() -> Iterator[Finding]:
    """Whether a matting model of the user's own is here, and can be opened; none is needed."""
    from dreamlift.preprocessing.matting import find, find_file

    path = find_file()
    if path is None:
        yield Finding("matting", "ok", "no model here: pictures are cut out by their colours")
        return
    model, remarks = find()
    for remark in remarks:
        yield Finding("matting", "warning", remark.what, remark.remedy)
    if model is not None:
        yield Finding("matting", "ok", f"{path.name} cuts pictures out")


def _sums(model: Path) -> list[tuple[str, str]]:
    """(file, SHA-256) by `sha256sum`'s format; the list itself counts as damaged where it is missing."""
    try:
        lines = (model / SUMS).read_text(encoding="utf-8").split("\n")
    except OSError:
        return [(SUMS, "")]
    return [(name.strip(), digest) for digest, _, name in (line.partition("  ") for line in lines if line.strip())]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


_ANSWERED = ("key_refused", "wrong_server", "incompatible")  # errors of a client that did reach a server


def check_service(wait: float = 3.0) -> Iterator[Finding]:
    """The service of this account: its folder, connection file, port, and whether it answers.

    Args:
        wait: Seconds to wait for its answer.
    """
    home = Home(default_home())
    if not os.access(_existing(home.root), os.W_OK):
        what = f"{home.root} cannot be written: the service has no place for keys and jobs."
        yield Finding("home", "problem", what, "Set DREAMLIFT_HOME to a folder of yours.")
        return
    yield Finding("home", "ok", str(home.root))
    if not home.connection.exists():
        what = "none runs; only Blender and --server need one"
        port = last_port(home)
        if port and _is_taken(port):
            remedy = "The next start takes another one; paired computers then need a new pairing string."
            yield Finding("port", "warning", f"Port {port}, which the service used last, is taken.", remedy)
        yield Finding("service", "ok", what)
        return
    if os.name == "posix" and home.connection.stat().st_mode & 0o077:
        what = f"{home.connection} can be read by other accounts."
        yield Finding("connection file", "problem", what, f"Run: chmod 600 {home.connection}")
    try:
        with Client(wait=wait) as client:
            devices = ", ".join(f"{device.name} {device.state}" for device in client.welcome.devices)
            endpoint = read_connection(home).endpoint
            what = f"answers on {endpoint.host}:{endpoint.port}; {devices or 'no worker yet'}"
            yield Finding("service", "ok", what)
    except (ClientError, PairingError) as error:
        remedy = "If it should run, start it again: dreamlift serve; its log is in " + str(home.logs)
        what = f"{home.connection} is there, but nobody answers: {error}"
        if isinstance(error, ClientError) and error.code in _ANSWERED:
            what, remedy = error.what, error.remedy
        yield Finding("service", "warning", what, remedy)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_torch,
    check_device,
    check_kernels,
    check_weights,
    check_matting,
    check_presets,
    check_room,
    check_service,
)
