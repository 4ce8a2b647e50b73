"""Imports point one way, and nothing from outside is executed: walks the syntax trees of the whole repository.

The arrows are those of docs/architecture.md. Every rule is also shown a snippet that breaks it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TOOLS = {"assets", "distillation", "mini", "priors", "rendering", "representations"}  # what a pipeline is made of
BASICS = {"dreamlift", "pipelines.context"}
# A room may import itself and these. "pipelines" covers every module in it, "pipelines.catalog" that one alone.
ARROWS = {
    "protocol": set(),
    **{room: TOOLS | BASICS for room in TOOLS},
    "memory": BASICS | {"priors"},
    "preprocessing": BASICS | {"models"},
    "models": BASICS | {"priors", "protocol.connection_file"},
    "pipelines": TOOLS | BASICS | {"models", "memory", "preprocessing"},
    "training": TOOLS | BASICS | {"preprocessing"},
    "evaluation": TOOLS | BASICS | {"pipelines", "preprocessing", "training"},
    "workers": BASICS | {"pipelines", "preprocessing", "protocol", "assets", "memory", "threads", "checkpoints"},
    "service": BASICS | {"protocol", "pipelines.catalog", "memory"},
    "client": BASICS | {"protocol", "pipelines.catalog"},
}
NO_TORCH = ("service", "protocol", "client", "pipelines.catalog", "pipelines.context", "preprocessing", "blender_addon")
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "torchvision"}


@dataclass(frozen=True)
class Module:
    """One file: its dotted name without `dreamlift.`, and whether it is a package's `__init__`."""

    name: str
    is_package: bool

    @property
    def room(self) -> str:
        return self.name.split(".")[0]


def module_of(path: Path) -> Module:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "backend":
        parts = parts[1:]
    if parts[-1] == "__init__":
        return Module(".".join(parts[:-1]) or "dreamlift", True)
    return Module(".".join(parts), False)


def imports(tree: ast.AST, module: Module) -> Iterator[tuple[int, str, bool]]:
    """(line, dotted name, only for type checking) of everything imported; ours without the leading `dreamlift.`."""
    typing_lines = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for line in range(statement.lineno, statement.end_lineno + 1)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                depth = node.level - (1 if module.is_package else 0)
                parents = module.name.split(".")
                base = ".".join(parents[: len(parents) - depth] + ([node.module] if node.module else []))
                base = f"dreamlift.{base}" if base else "dreamlift"
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            yield node.lineno, name, node.lineno in typing_lines


def arrow_problems(source: str, module: Module) -> list[str]:
    """Imports of `source` that its room must not make."""
    found = []
    allowed = ARROWS.get(module.room)
    for line, name, typing_only in imports(ast.parse(source), module):
        ours = name.removeprefix("dreamlift.") if name.startswith("dreamlift.") else None
        outside = name.split(".")[0]
        if outside == "bpy" and module.room not in ("blender_addon", "tests"):
            found.append(f"{line}: bpy belongs to blender_addon")
        if outside == "torch" and not typing_only and module.name.startswith(NO_TORCH):
            found.append(f"{line}: {module.name} must not import torch")
        if module.room == "blender_addon" and outside == "dreamlift" and (ours or "").split(".")[0] != "blender_addon":
            found.append(f"{line}: the extension must not import the backend ({name})")
        if allowed is not None and ours is not None and not _may(module, ours, allowed):
            found.append(f"{line}: {module.room} must not import {ours}")
    return found


def _may(module: Module, name: str, allowed: set[str]) -> bool:
    own_constants = name.count(".") == 0 and "dreamlift" in allowed and name.startswith("__")
    rooms = {module.room, *allowed}
    return own_constants or any(name == room or name.startswith(room + ".") for room in rooms)


def danger_problems(source: str) -> list[str]:
    """Places in `source` that could execute data from outside."""
    tree = ast.parse(source)
    found = []
    for line, name, _ in imports(tree, Module("anywhere", False)):
        if name.split(".")[0] in FORBIDDEN_MODULES:
            found.append(f"{line}: import of {name}")
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in ("eval", "exec", "builtins.eval", "builtins.exec"):
            found.append(f"{node.lineno}: {called}()")
        if called == "torch.load" and keywords.get("weights_only") != "True":
            found.append(f"{node.lineno}: torch.load without weights_only=True")
        if keywords.get("allow_pickle") == "True":
            found.append(f"{node.lineno}: {called} with allow_pickle=True")
    return found


def sources(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in files if not {"__pycache__", "build", "dist"} & set(path.parts))


@pytest.mark.parametrize("folder", ["backend", "protocol", "blender_addon"])
def test_every_import_follows_the_arrows(folder):
    problems = [
        f"{path.relative_to(ROOT)}:{problem}"
        for path in sources(folder)
        for problem in arrow_problems(path.read_text(encoding="utf-8"), module_of(path))
    ]
    assert not problems, "\n".join(problems)


def test_nothing_executes_data_from_outside():
    files = sources("backend", "protocol", "blender_addon", "benchmarks", "tests") + sorted(ROOT.glob("*.py"))
    problems = [
        f"{path.relative_to(ROOT)}:{problem}"
        for path in files
        for problem in danger_problems(path.read_text(encoding="utf-8"))
    ]
    assert len(files) > 10, "the walk found no files"
    assert not problems, "\n".join(problems)


def test_every_room_is_packaged():
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {"dreamlift.protocol"}
    for init in (ROOT / "backend").rglob("__init__.py"):
        parts = init.parent.relative_to(ROOT / "backend").parts
        there.add(".".join(("dreamlift", *parts)))
    assert there == listed, f"pyproject.toml misses {there - listed} and lists {listed - there} that are not there"


@pytest.mark.parametrize("statement", ["import dreamlift.cli", "from dreamlift.service.server import Service"])
def test_the_service_and_the_command_line_start_without_torch(statement):
    code = f"{statement}; import sys; print([m for m in ('torch', 'warp', 'diffusers', 'bpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "snippet"),
    [
        ("protocol.codec", "import dreamlift.service.queue"),
        ("protocol.codec", "from ..service import queue"),
        ("rendering.volume", "from dreamlift.pipelines import mvdream"),
        ("assets.glb", "from dreamlift.protocol import codec"),
        ("pipelines.mvdream", "from dreamlift.workers import main"),
        ("service.queue", "from dreamlift.workers import main"),
        ("service.queue", "def late():\n    import torch"),
        ("pipelines.catalog", "from torch import Tensor"),
        ("workers.main", "import bpy"),
        ("blender_addon.pump", "from dreamlift.protocol import codec"),
        ("blender_addon.client.connection", "import torch"),
        ("client.session", "from dreamlift.service import store"),
    ],
)
def test_a_planted_forbidden_import_is_found(name, snippet):
    assert arrow_problems(snippet, Module(name, False))


@pytest.mark.parametrize(
    ("name", "snippet"),
    [
        ("pipelines.mvdream", "from dreamlift.priors.mvdream import MVDreamPrior"),
        ("pipelines.mvdream", "from dreamlift import __version__"),
        ("pipelines.context", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("service.queue", "from dreamlift.pipelines.catalog import PIPELINES"),
        ("blender_addon.client.connection", "from ..protocol import codec"),
        ("protocol.codec", "from .version import VERSION"),
        ("cli", "from dreamlift.service import server"),
    ],
)
def test_an_allowed_import_is_let_through(name, snippet):
    assert not arrow_problems(snippet, Module(name, False))


@pytest.mark.parametrize(
    "snippet",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "exec(open('x').read())",
        "torch.load('weights.pt')",
        "torch.load('weights.pt', weights_only=False)",
        "np.load('x.npy', allow_pickle=True)",
    ],
)
def test_planted_danger_is_found(snippet):
    assert danger_problems(snippet)


def test_harmless_namesakes_are_let_through():
    assert not danger_problems("model.eval()\ntorch.load('w.pt', weights_only=True)\nnp.load('x.npy')")
