"""Shared by the benchmarks that run in a real Blender window: build and install the extension, start a service.

Knows processes and Blender's context. Measures nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "bl_ext.user_default.dreamlift"


def run_in_window(
    script: str,
    arguments: list[str],
    server: list[str],
    seconds: float = 580,
    outside: Callable[[str], None] | None = None,
) -> dict | None:
    """Run a script in Blender's window beside a service and give back the result it wrote.

    Args:
        script: The benchmark's own file; it calls `inside` when it finds bpy.
        arguments: Passed on after `--`.
        server: Command of the service; the folder of its files is appended.
        seconds: After this the run is given up.
        outside: Does what the script cannot do itself, such as a picture of the screen; called with what `ask` was.

    Returns:
        The result, or None after Blender's output was printed to stderr.
    """
    sys.path.insert(0, str(ROOT))
    import build_addon

    command = os.environ["BLENDER"].split() if os.environ.get("BLENDER") else None
    command = command or [str(ROOT.parent / "shared" / "tools" / "blender-box"), "gui"]
    with tempfile.TemporaryDirectory(prefix="dreamlift-bench-") as name:
        folder = Path(name)
        zip_path = build_addon.build(folder / "dist", build_addon.default_cache(), ("linux-x64",))[0]
        home = folder / "home"
        service = subprocess.Popen([*server, str(home)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        environment = {**os.environ, "DREAMLIFT_HOME": str(home), "BLENDER_USER_RESOURCES": str(folder / "blender")}
        own = [*arguments, "--zip", str(zip_path), "--folder", str(folder)]
        log = folder / "blender.log"
        try:
            with open(log, "wb") as output:
                blender = subprocess.Popen(
                    [*command, "--factory-startup", "--python", str(Path(script).resolve()), "--", *own],
                    env={**environment, "BLENDER_BOX_BIND": str(ROOT)},
                    cwd=ROOT,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            _attend(blender, folder / "ask", outside, seconds)
        finally:
            service.terminate()
            service.wait(30)
        found = folder / "result.json"
        if found.exists():
            return json.loads(found.read_text())
        print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
        return None


def _attend(blender: subprocess.Popen, ask_path: Path, outside: Callable[[str], None] | None, seconds: float) -> None:
    """Wait for Blender's end and answer what it asks meanwhile; kill it when its time is over."""
    until_time = time.monotonic() + seconds
    while blender.poll() is None:
        if time.monotonic() > until_time:
            os.killpg(blender.pid, signal.SIGKILL)
            blender.wait()
        if outside is not None and ask_path.exists():
            outside(ask_path.read_text())
            ask_path.unlink()
        time.sleep(0.05)


def ask(folder: str, wish: str):
    """In Blender: something only the process outside can do; waits until it is done."""
    path = Path(folder, "ask")
    unfinished = path.with_suffix(".new")
    unfinished.write_text(wish)
    os.replace(unfinished, path)
    yield from until(lambda: not path.exists(), 60)


def part(name: str):
    """A module of the installed extension."""
    return import_module(f"{NAME}.{name}")


def app():
    """The extension's running instance."""
    return part("state").current()


def inside(zip_path: str, folder: str, measure: Callable) -> None:
    """In Blender: install, wait for the server, play `measure`, write what it returns, quit.

    Args:
        zip_path: The built extension.
        folder: Where the result goes.
        measure: A generator function; it yields to let Blender live and returns the result.
    """
    import bpy

    bpy.context.preferences.view.show_splash = False
    bpy.context.preferences.system.use_online_access = True
    bpy.ops.extensions.package_install_files(
        filepath=zip_path, repo="user_default", enable_on_install=True, overwrite=True
    )

    def play():
        yield from until(lambda: app().snapshot.can_generate, 60)
        return (yield from measure())

    steps = play()

    def step():
        try:
            with bpy.context.temp_override(**view3d()):
                next(steps)
            return 0.01
        except StopIteration as ended:
            Path(folder, "result.json").write_text(json.dumps(ended.value))
        finally:
            if steps.gi_frame is None:
                bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(step, first_interval=2.0)


def view3d() -> dict:
    """What `temp_override` needs for operators of the 3D viewport."""
    import bpy

    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(each for each in area.regions if each.type == "WINDOW")}


def until(condition, seconds: float):
    """Let Blender live until the condition holds; TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing happened in {seconds} s; snapshot {app().snapshot}")
        yield
