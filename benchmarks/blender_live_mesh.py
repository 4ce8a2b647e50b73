"""What a live preview costs Blender's main thread, in a real window, beside GLB import of the same mesh.

    python benchmarks/blender_live_mesh.py [--triangles 100000] [--repeats 40]

Starts a service and Blender ($BLENDER, or shared/tools/blender-box), installs the built extension and measures its own
code: replacing a mesh with edges, colours and UVs (`LiveObjects.show`), moving its vertices, one idle tick of the pump
with the server connected, and `import_scene.gltf` of the same mesh in the same run. Limits: 16 ms a replacement, 0.3 ms
an idle tick, as medians of the main thread's CPU time; the wall clock stands beside it and is the same on a machine
that does nothing else. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

try:
    import bpy
except ImportError:
    bpy = None

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Blender does not do that for --python
import blender_window  # noqa: E402
from blender_window import ROOT, part  # noqa: E402

LIMITS = {"replace": 16.0, "idle_tick": 0.3}


# -- inside Blender --------------------------------------------------------------------------------


def torus(triangles: int, phase: float):
    """A bumpy torus as the wire would bring it: vertices, faces, colours, UVs."""
    around = int(round((triangles / 2) ** 0.5))
    across = max(3, triangles // 2 // around)
    u, w = np.meshgrid(np.arange(around) * 2 * np.pi / around, np.arange(across) * 2 * np.pi / across, indexing="ij")
    r = 0.3 + 0.03 * np.sin(9 * u + phase) * np.cos(7 * w)
    ring = 0.6 + r * np.cos(w)
    vertices = np.stack([ring * np.cos(u), ring * np.sin(u), r * np.sin(w)], -1).reshape(-1, 3).astype(np.float32)
    i, j = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")
    a, b = i * across + j, (i + 1) % around * across + j
    c, d = (i + 1) % around * across + (j + 1) % across, i * across + (j + 1) % across
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3).astype(np.int32)
    colors = np.ones((len(vertices), 4), np.float32)
    colors[:, :3] = np.clip(vertices * 0.5 + 0.5, 0, 1)
    uvs = np.stack([u, w], -1).reshape(-1, 2).astype(np.float32)[faces] / np.float32(2 * np.pi)
    return vertices, faces, colors, uvs


def edges_of(faces: np.ndarray, vertex_count: int):
    """Every edge once, and each face's three: what the backend sends."""
    sides = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], -1).reshape(-1, 2), axis=1)
    keys = sides[:, 0].astype(np.int64) * vertex_count + sides[:, 1]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return sides[first].astype(np.int32), inverse.reshape(-1, 3).astype(np.int32)


def timed(function, repeats: int) -> list[tuple[float, float]]:
    """Milliseconds of each call as (main thread's CPU, wall); the argument is its number."""
    times = []
    for number in range(repeats):
        began, began_wall = time.thread_time(), time.perf_counter()
        function(number)
        times.append(((time.thread_time() - began) * 1e3, (time.perf_counter() - began_wall) * 1e3))
    return times


def measure(triangles: int, repeats: int, folder: Path) -> dict:
    """All measurements; Blender is idle between them."""
    live_object, mesh_writer = part("scene.live_object"), part("scene.mesh_writer")
    arrays = []
    for count, phase in ((triangles, 0.0), (triangles, 1.0), (triangles * 9 // 10, 0.0)):
        vertices, faces, colors, uvs = torus(count, phase)
        arrays.append(mesh_writer.MeshArrays(vertices, faces, *edges_of(faces, len(vertices)), colors, uvs))
    full, moved, other = arrays
    live = live_object.LiveObjects()
    live.expect("benchmark", "Benchmark", live_object.Placement((0, 0, 0), 1.0, bpy.context.scene.session_uid))
    times = {}
    # Two meshes in turn, each a full replacement; every second call writes the full size and counts.
    both = timed(lambda number: live.show("benchmark", (other, full)[number % 2]), 2 * repeats + 4)
    times["replace"] = both[5::2]
    live.show("benchmark", full)
    times["move_only"] = timed(lambda number: live.show("benchmark", (moved, full)[number % 2]), repeats + 2)[2:]
    written = bpy.data.objects["Benchmark"]
    problems = written.data.validate()
    counts = {"triangles": len(written.data.polygons), "edges": len(written.data.edges), "mended": problems}
    times["glb_import"] = import_times(written, folder / "same.glb", max(5, repeats // 8))
    app = part("state").current()
    tick = part("pump").timer
    for _ in range(50):
        tick()
        time.sleep(0.01)
    assert app.snapshot.online, app.snapshot
    times["idle_tick"] = timed(lambda _: tick(), 3000)
    return {"blender": bpy.app.version_string, "background": bpy.app.background, **counts, "ms": summary(times)}


def import_times(written, path: Path, repeats: int) -> list[float]:
    """Import of a GLB that Blender itself exported from the same mesh."""
    for each in bpy.context.selected_objects:
        each.select_set(False)
    written.select_set(True)
    bpy.ops.export_scene.gltf(filepath=str(path), export_format="GLB", use_selection=True)

    def once(_):
        bpy.ops.import_scene.gltf(filepath=str(path))

    times = []
    for _ in range(repeats):
        before = set(bpy.data.objects)
        times += timed(once, 1)
        for added in set(bpy.data.objects) - before:
            mesh = added.data
            bpy.data.objects.remove(added)
            bpy.data.meshes.remove(mesh)
    return times


def summary(times: dict[str, list[tuple[float, float]]]) -> dict:
    """Median, minimum and 95th percentile of the main thread's CPU time, and the wall clock beside it."""
    table = {}
    for name, values in times.items():
        cpu, wall = np.array(values).T
        table[name] = {
            "median": round(float(np.median(cpu)), 3),
            "min": round(float(cpu.min()), 3),
            "p95": round(float(np.percentile(cpu, 95)), 3),
            "wall_median": round(float(np.median(wall)), 3),
            "wall_min": round(float(wall.min()), 3),
            "calls": len(values),
        }
    return table


# -- outside ---------------------------------------------------------------------------------------


def show(result: dict) -> int:
    """The table and the JSON line; 1 where a limit is broken."""
    milliseconds = result["ms"]
    print(f"Blender {result['blender']}, window, {result['triangles']} triangles, {result['edges']} edges")
    print(f"{'':34}{'median':>9}{'min':>9}{'p95':>9}{'limit':>9}{'wall':>9}{'min':>9}   ms")
    names = {
        "replace": "replace (edges, colours, UVs)",
        "move_only": "move vertices only",
        "idle_tick": "idle tick of the pump, connected",
        "glb_import": "GLB import of the same mesh",
    }
    broken = False
    for key, label in names.items():
        row, limit = milliseconds[key], LIMITS.get(key)
        broken |= limit is not None and row["median"] > limit
        shown = f"{limit:9.1f}" if limit is not None else " " * 9
        numbers = f"{row['median']:9.3f}{row['min']:9.3f}{row['p95']:9.3f}{shown}"
        print(f"{label:34}{numbers}{row['wall_median']:9.3f}{row['wall_min']:9.3f}")
    ratio = milliseconds["glb_import"]["median"] / milliseconds["replace"]["median"]
    print(f"GLB import takes {ratio:.0f} times as long")
    print(json.dumps({"benchmark": "blender_live_mesh", **result, "glb_import_ratio": round(ratio, 1)}))
    return int(broken)


def main() -> int:
    """Parse what belongs to us; inside Blender that comes after `--`."""
    inside = bpy is not None
    own = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else ([] if inside else sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triangles", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--zip", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args(own)
    if inside:

        def measured():
            yield
            return measure(arguments.triangles, arguments.repeats, Path(arguments.folder))

        blender_window.inside(arguments.zip, arguments.folder, measured)
        return 0
    own = ["--triangles", str(arguments.triangles), "--repeats", str(arguments.repeats)]
    server = [sys.executable, str(ROOT / "tests" / "fakes" / "growing.py"), "serve", "--home"]
    result = blender_window.run_in_window(__file__, own, server)
    return 1 if result is None else show(result)


if __name__ == "__main__":
    status = main()
    if bpy is None:
        sys.exit(status)
