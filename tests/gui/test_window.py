"""The extension in a real Blender window: generate, undo, files, Edit Mode, deletion, cancel, a server that dies.

Needs $BLENDER with a display, or shared/tools/blender-box installed; else every test is skipped with the reason. The
pictures it takes lie in the folder that $DREAMLIFT_SHOTS names, for somebody to look at.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
GROWING = ROOT / "tests" / "fakes" / "growing.py"
DISPLAY = os.environ.get("DREAMLIFT_TEST_DISPLAY", ":78")
SECONDS = 900

sys.path.insert(0, str(ROOT))
import build_addon  # noqa: E402

pytestmark = [pytest.mark.timeout(SECONDS + 60)]


def scenario_names() -> list[str]:
    """Read from the file that runs in Blender, which cannot be imported here."""
    tree = ast.parse((HERE / "inside.py").read_text(encoding="utf-8"))
    chosen = next(node for node in tree.body if ast.unparse(node).startswith("SCENARIOS = "))
    return [name.id for name in chosen.value.elts]


def blender_with_window() -> tuple[list[str], list[str]]:
    """How to start Blender, and how to take a picture of its screen."""
    box = ROOT.parent / "shared" / "tools" / "blender-box"
    installed = Path.home() / ".cache" / "blender-box" / "sid" / "usr" / "bin" / "blender"
    pytest.importorskip("Xlib", reason="python-xlib drags the files; pip install -e .[test] has it")
    if os.environ.get("BLENDER"):
        if not os.environ.get("DISPLAY"):
            pytest.skip("BLENDER is set but there is no DISPLAY for its window")
        return os.environ["BLENDER"].split(), ["import", "-window", "root"]
    if not (box.exists() and installed.exists()):
        pytest.skip("no Blender with a window: set BLENDER, or run shared/tools/blender-box install")
    return [str(box), "gui"], [str(box), "shot"]


def forget_stale_mounts(folders: list[Path]) -> None:
    """Let the box show these folders anew.

    The box mounts each path once and keeps it. Where a checkout was deleted and made again at the same path, as CI
    does, the box would go on showing the deleted one, which is empty.
    """
    box = Path.home() / ".cache" / "blender-box" / "sid"
    for folder in folders:
        inside = box / folder.relative_to("/")
        if inside.exists() and not inside.samefile(folder):  # not `is_mount`: it knows no bind mount of one disk
            subprocess.run(["umount", "--lazy", str(inside)], check=False)  # fails where none was mounted: well


def forget_dead_screen() -> None:
    """Remove what a killed virtual screen of our number left.

    The box takes a socket's file for a running screen, so that after one kill no window would open here any more.
    """
    number = DISPLAY.lstrip(":").split(".")[0]
    file = Path(f"/tmp/.X11-unix/X{number}")
    if not file.exists():
        return
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(str(file))
        except ConnectionRefusedError:  # nobody listens
            file.unlink()
            Path(f"/tmp/.X{number}-lock").unlink(missing_ok=True)


class Outside:
    """What the scenarios cannot do from inside Blender."""

    def __init__(self, folder: Path, home: Path, shot: list[str]):
        self.folder, self.home, self.shot = folder, home, shot
        self.server: subprocess.Popen | None = None
        self._desktop = None
        self.shots = Path(os.environ.get("DREAMLIFT_SHOTS") or folder)
        self.shots.mkdir(parents=True, exist_ok=True)

    def answer(self) -> None:
        path = self.folder / "ask.json"
        if not path.exists():
            return
        wish = json.loads(path.read_text())
        if wish["do"] == "shot":
            subprocess.run([*self.shot, str(self.shots / f"{wish['name']}.png")], check=True, env=display())
        elif wish["do"] == "drop":
            self.desktop().drop(Path(wish["path"]), wish["x"], wish["y"])
        elif wish["do"] == "click":
            self.desktop().click(wish["x"], wish["y"])
        elif wish["do"] == "press":
            self.desktop().press(wish["key"])
        elif wish["do"] == "stroke":
            self.desktop().stroke([tuple(point) for point in wish["points"]])
        elif wish["do"] == "start server":
            self.start()
        elif wish["do"] == "kill server":
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
        path.unlink()

    def desktop(self):
        """The mouse and the file manager; made on first use, when the screen is there."""
        if self._desktop is None:
            from tests.gui.desktop import Desktop

            self._desktop = Desktop(os.environ["DISPLAY"] if os.environ.get("BLENDER") else DISPLAY)
        return self._desktop

    def start(self) -> None:
        with open(self.folder / "server.log", "ab") as log:
            self.server = subprocess.Popen(
                [sys.executable, str(GROWING), "serve", "--home", str(self.home)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        if self._desktop is not None:
            self._desktop.close()
        if self.server is not None and self.server.poll() is None:
            self.server.terminate()
            self.server.wait(20)


def display() -> dict[str, str]:
    return {**os.environ, "BLENDER_BOX_DISPLAY": DISPLAY}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Plays everything once; {scenario: "" or its trace}."""
    blender, shot = blender_with_window()
    folder = tmp_path_factory.mktemp("gui")
    home = folder / "home"
    try:
        zip_path = build_addon.build(folder / "dist", build_addon.default_cache(), ("linux-x64",))[0]
    except build_addon.BuildError as error:
        pytest.skip(f"the extension cannot be built: {error}")
    command = folder / "dreamlift"  # what the artist would have installed
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{GROWING}" "$@" --home "{home}"\n')
    command.chmod(0o755)
    shown = [ROOT, Path(sys.executable).resolve().parents[1]]
    if not os.environ.get("BLENDER"):
        forget_stale_mounts(shown)
        forget_dead_screen()
    environment = {
        **display(),
        "DREAMLIFT_HOME": str(home),
        "DREAMLIFT_TEST_COMMAND": str(command),
        "BLENDER_USER_RESOURCES": str(folder / "blender"),
        "BLENDER_BOX_BIND": ":".join(map(str, shown)),
    }
    outside = Outside(folder, home, shot)
    if os.environ.get("DREAMLIFT_TEST_ONLY"):
        outside.start()
    before = _screens()
    with open(folder / "blender.log", "wb") as log:
        process = subprocess.Popen(
            [*blender, "--factory-startup", "--python", str(HERE / "inside.py"), "--", str(zip_path), str(folder)],
            env=environment,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < until:
            outside.answer()
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        outside.stop()
        for pid in _screens() - before:
            os.kill(pid, signal.SIGTERM)
        if outside.shots != folder:
            shutil.copy(folder / "blender.log", outside.shots / "blender.log")
    found = folder / "report.json"
    results = json.loads(found.read_text()) if found.exists() else {}
    assert "ended" in results, f"Blender ended early:\n{(folder / 'blender.log').read_text()[-4000:]}"
    return results


def _screens() -> set[int]:
    """Virtual screens of our number; the box starts one and leaves it running."""
    found = subprocess.run(["pgrep", "-f", f"Xvfb {DISPLAY} "], capture_output=True, text=True).stdout
    return {int(line) for line in found.split()}


@pytest.mark.parametrize("scenario", scenario_names())
def test_in_the_window(report, scenario):
    if os.environ.get("DREAMLIFT_TEST_ONLY") and scenario not in report:
        pytest.skip("not chosen by DREAMLIFT_TEST_ONLY")
    assert report.get(scenario) == "", report.get(scenario, "was not played")


def test_blender_printed_no_error_of_ours(report, tmp_path_factory):
    log = next(tmp_path_factory.getbasetemp().glob("gui*/blender.log")).read_text(errors="replace")
    lines = [
        line for line in log.splitlines() if "dreamlift" in line.lower() and ("Error" in line or "Warning" in line)
    ]
    assert not lines, "\n".join(lines)
