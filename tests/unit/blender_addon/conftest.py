"""The extension's package without Blender: its `__init__` needs no bpy, and `protocol` lies beside it as in the zip."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import blender_addon  # noqa: E402

if str(ROOT) not in blender_addon.__path__:
    blender_addon.__path__.append(str(ROOT))  # so that blender_addon.protocol is the folder protocol/
