"""Takes the pictures of docs/blender.md in a real Blender window and writes them beside this file.

    python docs/pictures/take_blender.py [--prompt "a red mushroom"] [--server "COMMAND"]
    python docs/pictures/take_blender.py --image thing.png [--prompt "a yellow duck"]      those of an image alone

Needs shared/tools/blender-box and Pillow. Without --server the real backend makes the object; its home is appended to
the command. With `--server "python tests/fakes/growing.py serve --seconds 40 --home"` no model is needed.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import bpy
except ImportError:
    bpy = None

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))
import blender_window  # noqa: E402
from blender_window import app, until  # noqa: E402

DISPLAY = ":79"
SIDEBAR_LEFT, SIDEBAR_TOP, SIDEBAR_WIDTH = 1074, 68, 238  # of a 1600 x 900 screen at a scale of 0.85
PICTURES = {  # name: left, top, width, height
    "first-run": (SIDEBAR_LEFT, SIDEBAR_TOP, SIDEBAR_WIDTH, 132),
    "generate": (SIDEBAR_LEFT, SIDEBAR_TOP, SIDEBAR_WIDTH, 210),
    "image": (SIDEBAR_LEFT, SIDEBAR_TOP, SIDEBAR_WIDTH, 560),
    "image-running": (400, 60, 912, 760),
    "image-finished": (400, 60, 912, 760),
    "seeds": (SIDEBAR_LEFT, SIDEBAR_TOP, SIDEBAR_WIDTH, 525),
    "running": (400, 60, 912, 480),
    "jobs": (400, 60, 912, 480),
    "preferences": (86, 110, 738, 486),
}


# -- inside Blender --------------------------------------------------------------------------------


def play(prompt: str, folder: str):
    """Everything that is to be seen, one after another."""
    yield from prepare_view()
    bpy.context.preferences.system.use_online_access = False
    yield from until(lambda: app().snapshot.card is not None, 20)
    yield from picture(folder, "first-run")
    bpy.context.preferences.system.use_online_access = True
    yield from until(lambda: app().snapshot.can_generate, 60)
    fields = bpy.context.scene.dreamlift
    fields.prompt = prompt
    yield from until(lambda: app().session.welcome.devices[0].state != "starting", 600)
    header = app().snapshot
    yield from picture(folder, "generate")
    assert bpy.ops.dreamlift.preview_seeds() == {"FINISHED"}
    yield from until(lambda: app().session.preview.complete and app().snapshot.seeds.line == "", 600)
    yield from picture(folder, "seeds")
    bpy.ops.dreamlift.drop_preview()
    assert bpy.ops.dreamlift.generate() == {"FINISHED"}
    job = next(iter(app().session.book))
    yield from until(lambda: job.fraction > 0.2 or job.state and job.state.is_terminal, 1200)
    yield from picture(folder, "running")
    yield from until(lambda: job.committed or job.state.value == "failed", 1200)
    bpy.context.window_manager.dreamlift.row_index = 0
    yield from picture(folder, "jobs")
    bpy.ops.dreamlift.show_servers()
    yield from pause(1.0)
    bpy.ops.dreamlift.test_server(name="This Computer")
    yield from until(lambda: app().session.tests["This Computer"].ok is not None, 30)
    yield from picture(folder, "preferences")
    return {"state": job.state.value, "seconds": job.seconds, "presets": len(header.presets)}


def play_image(prompt: str, image: str, folder: str):
    """An image becomes an object."""
    yield from prepare_view()
    bpy.context.preferences.system.use_online_access = True
    yield from until(lambda: app().snapshot.can_generate, 60)
    yield from until(lambda: app().session.welcome.devices[0].state != "starting", 600)
    bpy.context.scene.dreamlift.prompt = prompt
    with bpy.context.temp_override(**blender_window.view3d()):
        assert bpy.ops.dreamlift.drop_image(filepath=image) == {"FINISHED"}
    yield from until(lambda: app().session.picture and not app().snapshot.needs, 120)
    yield from picture(folder, "image")
    assert bpy.ops.dreamlift.generate() == {"FINISHED"}
    job = next(iter(app().session.book))
    yield from until(lambda: job.fraction > 0.3 or job.state and job.state.is_terminal, 1200)
    yield from picture(folder, "image-running")
    yield from until(lambda: job.committed or job.state.value == "failed", 1200)
    yield from picture(folder, "image-finished")
    return {"state": job.state.value, "seconds": job.seconds}


def prepare_view():
    """An empty scene, the tab, and a view on the cursor from the front."""
    bpy.context.preferences.view.ui_scale = 0.85
    area = blender_window.view3d()["area"]
    area.spaces[0].show_region_ui = True
    yield from pause(1.0)
    for region in area.regions:
        if region.type == "UI":
            region.active_panel_category = "Dreamlift"
    for each in list(bpy.data.objects):
        bpy.data.objects.remove(each)
    view = area.spaces[0].region_3d
    view.view_distance, view.view_location = 3.2, (-0.15, 0, 0.4)
    tilt, turn = math.radians(75) / 2, math.radians(20) / 2
    view.view_rotation = (
        math.cos(tilt) * math.cos(turn),
        math.sin(tilt) * math.cos(turn),
        math.sin(tilt) * math.sin(turn),
        math.cos(tilt) * math.sin(turn),
    )


def picture(folder: str, name: str):
    """Ask for a picture once the panels have glided to their places."""
    yield from pause(3.0)
    yield from blender_window.ask(folder, name)


def pause(seconds: float):
    """Let Blender live for a while."""
    import time

    end = time.monotonic() + seconds
    yield from until(lambda: time.monotonic() > end, seconds + 60)


# -- outside ---------------------------------------------------------------------------------------


def take(name: str) -> None:
    """Photograph the virtual screen and keep the part that the page shows."""
    from PIL import Image

    box = blender_window.ROOT.parent / "shared" / "tools" / "blender-box"
    left, top, width, height = PICTURES[name]
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        subprocess.run([str(box), "shot", file.name], check=True)
        whole = Image.open(file.name).convert("RGB")
    part = whole.crop((left, top, left + width, top + height))
    part.quantize(128).save(HERE / f"blender-{name}.png", optimize=True)
    print(f"blender-{name}.png", flush=True)


def main() -> int:
    """Parse what belongs to us; inside Blender that comes after `--`."""
    own = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else ([] if bpy else sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", default="a red mushroom")
    parser.add_argument("--image", help="a picture of one thing; only the pictures that show one are taken")
    parser.add_argument("--server", help="another service's command; its home is appended")
    parser.add_argument("--zip", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args(own)
    if bpy is not None:
        chosen = (lambda: play_image(arguments.prompt, arguments.image, arguments.folder)) if arguments.image else None
        chosen = chosen or (lambda: play(arguments.prompt, arguments.folder))
        blender_window.inside(arguments.zip, arguments.folder, chosen)
        return 0
    os.environ["BLENDER_BOX_DISPLAY"] = DISPLAY
    server = shlex.split(arguments.server or f"{sys.executable} -m dreamlift.cli serve --home")
    passed = ["--prompt", arguments.prompt]
    if arguments.image:
        passed += ["--image", str(Path(arguments.image).resolve())]
    result = blender_window.run_in_window(__file__, passed, server, 2400, take)
    print(result)
    return 0 if result else 1


if __name__ == "__main__":
    status = main()
    if bpy is None:
        sys.exit(status)
