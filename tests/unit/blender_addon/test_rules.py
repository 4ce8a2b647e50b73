"""House rules of the extension, read from its syntax trees: bpy.data only in scene/, no threads, licence lines."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ADDON = Path(__file__).resolve().parents[3] / "blender_addon"
FILES = sorted(path for path in ADDON.rglob("*.py") if "__pycache__" not in path.parts)
WITHOUT_BPY = ("client", "jobs", "session.py", "snapshot.py", "local_backend.py", "protocol")


def touches_data(tree: ast.AST) -> list[int]:
    """Lines that read `bpy.data` or `context.blend_data`."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (ast.unparse(node) == "bpy.data" or node.attr == "blend_data")
        or isinstance(node, ast.ImportFrom)
        and node.module == "bpy"
        and any(alias.name == "data" for alias in node.names)
    ]


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ADDON)))
def test_every_file_keeps_the_rules(path):
    text = path.read_text(encoding="utf-8")
    tree, room = ast.parse(text), path.relative_to(ADDON).parts[0]
    assert text.startswith("# SPDX-License-Identifier: GPL-3.0-or-later\n")
    if room != "scene":
        assert not touches_data(tree), f"bpy.data at lines {touches_data(tree)}"
    forbidden = {"threading", "multiprocessing", "concurrent", "asyncio", "torch", "ctypes", "dreamlift"}
    assert not imported(tree) & forbidden
    if room in WITHOUT_BPY:
        assert "bpy" not in imported(tree)
    assert "sys.path" not in text and "modal" not in {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("snippet", ["bpy.data.meshes.new('x')", "context.blend_data.objects", "from bpy import data"])
def test_a_planted_use_of_blender_data_is_found(snippet):
    assert touches_data(ast.parse(snippet))


def test_drawing_computes_nothing():
    """Panels read the snapshot: they import neither the session nor the pump."""
    for path in (ADDON / "panels").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
        names = {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level for a in n.names}
        assert not {"session", "pump", "client", "scene"} & (modules | names), path.name
