"""From the click on Generate to the first mesh in the Blender scene, against a real backend, warm and cold.

    python benchmarks/blender_first_mesh.py [--prompt "a red mushroom"] [--image thing.png] [--watch 30]
                                            [--server "COMMAND"]

Starts `dreamlift serve` with an empty home, and Blender ($BLENDER, or shared/tools/blender-box) with the built
extension. Cold: the service has just started and its worker still imports torch. Warm: the same again with the worker
idle. With --image a picture was dropped and cut out before the first click, and the time from the drop to the cut-out
is said too. Then it watches how often a newer mesh reaches the scene. Limits on 2 cores with the mini preset: 20 s
cold, 10 s warm, a new one at least every 3 s. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

try:
    import bpy
except ImportError:
    bpy = None

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Blender does not do that for --python
import blender_window  # noqa: E402
from blender_window import app, part, until  # noqa: E402

LIMITS = {"cold": 20.0, "warm": 10.0, "longest_pause": 3.0}
REAL_SERVER = [sys.executable, "-m", "dreamlift.cli", "serve", "--home"]


def measure(prompt: str, watch: float, image: str | None):
    """Click twice; returns seconds, and the moments at which the scene changed."""
    result = {"blender": bpy.app.version_string, "prompt": prompt}
    if image:
        result["cut_out"] = yield from cut_out(image)
    result["cold"], _ = yield from first_mesh(prompt, 0.0)
    yield from until(lambda: any(device.state == "idle" for device in refreshed()), 120)
    result["warm"], moments = yield from first_mesh(prompt, watch)
    pauses = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)]
    result["meshes"], result["longest_pause"] = len(moments), round(max(pauses, default=0.0), 2)
    result["median_pause"] = round(sorted(pauses)[len(pauses) // 2], 2) if pauses else 0.0
    return result


def cut_out(image: str):
    """Drop a picture; seconds until its subject is seen."""
    dropped = time.monotonic()
    with bpy.context.temp_override(**blender_window.view3d()):
        assert bpy.ops.dreamlift.drop_image(filepath=image) == {"FINISHED"}
    yield from until(lambda: app().session.picture and app().session.picture.has_subject, 120)
    seconds = time.monotonic() - dropped
    yield from until(lambda: app().snapshot.source == "IMAGE" and not app().snapshot.needs, 20)
    return round(seconds, 2)


def refreshed():
    """The server's devices as they are now."""
    session = app().session
    if session.connection.conversation.ready and time.monotonic() - session._refreshed > 1.0:
        session._refresh(time.monotonic())
    return session.welcome.devices


def first_mesh(prompt: str, watch: float):
    """Click, wait for geometry, watch it change for a while, cancel."""
    bpy.context.scene.dreamlift.prompt = prompt
    written = []
    live = app().live
    show = live.show

    def noted(job_id, arrays):
        outcome = show(job_id, arrays)
        written.append(time.monotonic())
        return outcome

    live.show = noted  # the moment at which the scene holds the mesh, not the one at which somebody looks
    clicked = time.monotonic()
    assert bpy.ops.dreamlift.generate() == {"FINISHED"}
    job = next(iter(app().session.book))
    yield from until(lambda: written or (job.state and job.state.is_terminal), 240)
    if not written:
        raise RuntimeError(f"the job ended without a mesh: {job.state}, {job.problem}")
    first = written[0] - clicked
    end = time.monotonic() + watch
    yield from until(lambda: time.monotonic() > end or job.state.is_terminal, watch + 10)
    live.show = show
    if not job.state.is_terminal:
        bpy.ops.dreamlift.command(job_id=job.id, command="CANCEL")
        yield from until(lambda: job.state.is_terminal, 60)
    part("pump").request_redraw()
    return round(first, 2), written


def show(result: dict) -> int:
    """The table and the JSON line; 1 where a limit is broken."""
    print(f"Blender {result['blender']}, window, mini preset, {result['prompt']!r}, {result['meshes']} meshes watched")
    names = {
        "cold": "click to first mesh, worker cold",
        "warm": "click to first mesh, worker warm",
        "longest_pause": "longest pause between two meshes",
    }
    for key, label in names.items():
        print(f"{label:36}{result[key]:8.2f} s   limit {LIMITS[key]:.0f} s")
    if "cut_out" in result:
        print(f"{'drop to cut-out':36}{result['cut_out']:8.2f} s")
    print(json.dumps({"benchmark": "blender_first_mesh", **result}))
    return int(any(result[key] > limit for key, limit in LIMITS.items()))


def main() -> int:
    """Parse what belongs to us; inside Blender that comes after `--`."""
    own = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else ([] if bpy else sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", default="a red mushroom")
    parser.add_argument("--watch", type=float, default=30.0, help="seconds to count meshes for (%(default)s)")
    parser.add_argument("--image", help="a picture of one thing, to make the object from")
    parser.add_argument("--server", help="another service's command; its home is appended")
    parser.add_argument("--zip", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args(own)
    if bpy is not None:
        chosen = arguments.prompt, arguments.watch, arguments.image
        blender_window.inside(arguments.zip, arguments.folder, lambda: measure(*chosen))
        return 0
    own = ["--prompt", arguments.prompt, "--watch", str(arguments.watch)]
    if arguments.image:
        own += ["--image", str(Path(arguments.image).resolve())]
    server = shlex.split(arguments.server) if arguments.server else REAL_SERVER
    result = blender_window.run_in_window(__file__, own, server)
    return 1 if result is None else show(result)


if __name__ == "__main__":
    status = main()
    if bpy is None:
        sys.exit(status)
