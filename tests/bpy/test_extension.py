"""The built zip installed into the `bpy` modules of Blender 4.5 and 5.0 and driven against a live service.

Each version lives in a virtual environment under ~/.cache/dreamlift-bpy, made on first use; where pip cannot fetch it
the tests are skipped with the reason. What is played stands in inside.py.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
VERSIONS = {"4.5": "bpy==4.5.15", "5.0": "bpy==5.0.1"}  # both need Python 3.11
SECONDS = 420

sys.path.insert(0, str(ROOT))
import build_addon  # noqa: E402

pytestmark = pytest.mark.timeout(3 * SECONDS)


def scenario_names() -> list[str]:
    """Read from the file that runs in bpy, which cannot be imported here."""
    tree = ast.parse((HERE / "inside.py").read_text(encoding="utf-8"))
    start = next(node.lineno for node in tree.body if getattr(node, "name", "").startswith("it_enables"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and start <= node.lineno][:-1]


def python_with_bpy(version: str) -> Path:
    """The environment's Python; made on first use."""
    folder = Path.home() / ".cache" / "dreamlift-bpy" / version
    python = folder / "bin" / "python"
    if (folder / "complete").exists() or _has_bpy(python):
        return python
    base = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if base is None:
        pytest.skip("bpy 4.5 and 5.0 need python3.11, which is not here")
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([base, "-m", "venv", str(folder)], check=True)
    wanted = [VERSIONS[version], "numpy<2"]  # pyzmq and msgpack come with the extension's own wheels
    done = subprocess.run([python, "-m", "pip", "install", "-q", *wanted], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {VERSIONS[version]}: {done.stderr.strip().splitlines()[-1]}")
    (folder / "complete").touch()
    return python


def _has_bpy(python: Path) -> bool:
    return python.exists() and not subprocess.run([python, "-c", "import bpy"], capture_output=True).returncode


@pytest.fixture(scope="module", params=VERSIONS)
def report(request, tmp_path_factory):
    """Plays all scenarios of one version once; {scenario: "" or its trace}."""
    version = request.param
    python = python_with_bpy(version)
    folder = tmp_path_factory.mktemp(f"bpy {version} é")  # paths with spaces and accents are paths
    try:
        zip_path = build_addon.build(folder / "dist", build_addon.default_cache(), ("linux-x64",))[0]
    except build_addon.BuildError as error:
        pytest.skip(f"the extension cannot be built: {error}")
    environment = {**os.environ, "DREAMLIFT_HOME": str(folder / "home"), "BLENDER_USER_RESOURCES": str(folder / "user")}
    (folder / "user").mkdir()
    growing = [sys.executable, str(ROOT / "tests" / "fakes" / "growing.py"), "serve", "--home", str(folder / "home")]
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(growing, stdout=log, stderr=log)
    try:
        done = subprocess.run(
            [python, str(HERE / "inside.py"), str(zip_path), str(folder / "report.json")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    finally:
        server.terminate()
        server.wait(20)
    found = folder / "report.json"
    assert found.exists(), f"the extension could not be installed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return json.loads(found.read_text())


@pytest.mark.parametrize("scenario", scenario_names())
def test_in_bpy(report, scenario):
    assert report.get(scenario) == "", report.get(scenario, "was not played")
