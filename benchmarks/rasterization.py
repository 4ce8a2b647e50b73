"""The rasterizer beside its torch twin and beside supersampled truth.

    OMP_NUM_THREADS=1 python benchmarks/rasterization.py [speed] [gradients] [--device cuda]

speed: visibility, and a whole differentiable picture forward and backward (rasterize, interpolate four channels,
antialias, gradients in vertices and attributes), a bumpy ball of 20,480 and 81,920 triangles, one view.
Goal: 25 ms for 20,480 triangles at 256 pixels on one core [issue 4]. "agree" is the share of equal face ids.

gradients: area and moments of the opacity under translation and scaling, several meshes and cameras, against central
differences of pictures with 10 x 10 samples a pixel. The error is in per cent of the true value, or of a fifth of the
largest of the four movements where that is more. Goal: 10 % at 20,000 triangles and 128 pixels [issue 4].

Best of many calls, in wall-clock and in processor time: on a machine that is shared the second is the one to read.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from dreamlift.rendering import (
    _antialias_torch,
    _antialias_warp,
    _blending_warp,
    _interpolation_warp,
    _rasterization_torch,
    _rasterization_warp,
)
from dreamlift.rendering.antialias import antialias, mesh_edges
from dreamlift.rendering.cameras import Cameras, orbit
from dreamlift.rendering.rasterization import interpolate, rasterize

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fakes.meshes import bumpy_ball, directions, house, rods, rolled, slope_of, torus, true_change  # noqa: E402

WARP = (_rasterization_warp.draw, _interpolation_warp.weigh, (_antialias_warp, _blending_warp))
TORCH = (_rasterization_torch.draw, _rasterization_torch.weigh, (_antialias_torch, _antialias_torch))
MESHES = {"ball": lambda: bumpy_ball(5), "torus": torus, "house": house, "rods": rods, "coarse ball": bumpy_ball}
CAMERAS = [(30.0, 28.0, 2.7, 45.0), (250.0, 50.0, 2.4, 50.0), (110.0, -25.0, 3.2, 40.0), (0.0, 5.0, 2.8, 45.0)]
ROLLS = (7.0, 29.0)  # degrees: of edges along rows of pixels the samples of the truth all change sides at once


def best_ms(function: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, float]:
    """Best milliseconds, wall-clock and of this process; the first call, which may compile, does not count."""
    function()
    wall = busy = math.inf
    for _ in range(repeats):
        _wait(device)
        start, spent = time.perf_counter(), time.process_time()
        function()
        _wait(device)
        wall, busy = min(wall, time.perf_counter() - start), min(busy, time.process_time() - spent)
    return round(1000 * wall, 2), round(1000 * busy, 2)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def picture(vertices, faces, colours, weights, camera, implementation, edges=None) -> None:
    """Forward and backward, as an optimisation step does it."""
    draw, weigh, kernels = implementation
    vertices, colours = vertices.detach().requires_grad_(), colours.detach().requires_grad_()
    raster = rasterize(vertices, faces, camera, len(weights), draw=draw)
    colour = interpolate(raster, faces, colours, weigh=weigh)
    image = antialias(colour, raster, vertices, faces, camera, edges=edges, kernels=kernels)
    (image[0] * weights).sum().backward()


def speed(device: torch.device) -> list[dict]:
    """A row a size."""
    rows = []
    for subdivisions in (5, 6):
        mesh = tuple(x.to(device) for x in bumpy_ball(subdivisions))
        for size in (128, 256, 512):
            rows.append(speed_of(mesh, size, device))
            print(" ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    return rows


def speed_of(mesh, size: int, device: torch.device) -> dict:
    """One mesh at one size; a pair of milliseconds is wall-clock and processor time."""
    camera = orbit([30.0], [20.0], 2.7, 40.0).to(device)
    colours, weights = torch.rand(len(mesh[0]), 4, device=device), torch.rand(size, size, 4, device=device)
    row = {"triangles": len(mesh[1]), "resolution": size}
    for name, way, repeats in (("warp", WARP, 40), ("torch", TORCH, 5)):
        row[f"{name}_draw_ms"] = best_ms(partial(rasterize, *mesh, camera, size, draw=way[0]), device, repeats)
        step = partial(picture, *mesh, colours, weights, camera, way)
        row[f"{name}_both_ways_ms"] = best_ms(step, device, repeats)
    step = partial(picture, *mesh, colours, weights, camera, WARP, mesh_edges(mesh[1]))
    row["warp_kept_edges_ms"] = best_ms(step, device, 40)
    seen, twin = (rasterize(*mesh, camera, size, draw=way[0]).face_ids for way in (WARP, TORCH))
    row["agree"] = float((seen == twin).double().mean())
    if device.type == "cuda":
        here = rasterize(*(x.cpu() for x in mesh), camera.to("cpu"), size).face_ids
        row["agree_with_cpu"] = float((seen.cpu() == here).double().mean())
    return row | {"ratio": round(row["torch_both_ways_ms"][1] / row["warp_both_ways_ms"][1], 1)}


def errors_of(mesh, camera: Cameras, size: int) -> list[float]:
    """Per cent, of every measure under every movement."""
    ticks = (torch.arange(size) + 0.5) / size
    weights = [torch.ones(size, size), ticks.expand(size, size), ticks[:, None].expand(size, size)]
    moves = directions(mesh[0])
    changes = {name: true_change(mesh, move, camera, size, 10) for name, move in moves.items()}
    errors = []
    for weight in weights:
        gradient = slope_of(lambda image, weight=weight: (image * weight).mean(), mesh, camera, size)
        truths = {name: float((change * weight).mean()) for name, change in changes.items()}
        largest = max(abs(truth) for truth in truths.values())
        for name, move in moves.items():
            error = abs(float((gradient * move).sum()) - truths[name])
            errors.append(100 * error / max(abs(truths[name]), 0.2 * largest))
    return errors


def gradients(size: int = 128) -> list[dict]:
    """A row a mesh."""
    rows = []
    for name, make in MESHES.items():
        mesh, errors = make(), []
        for camera in CAMERAS:
            for degrees in ROLLS:
                errors += errors_of(mesh, rolled(orbit(*([x] for x in camera)), degrees), size)
        found = torch.tensor(errors)
        row = {"mesh": name, "triangles": len(mesh[1]), "resolution": size, "measured": len(errors)}
        row |= {"median_percent": round(float(found.median()), 2), "p90_percent": round(float(found.quantile(0.9)), 2)}
        row |= {"worst_percent": round(float(found.max()), 1), "above_10": int((found > 10).sum())}
        rows.append(row)
        print(" ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows


def main() -> None:
    """Print a row each, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["speed", "gradients"], default=["speed", "gradients"])
    parser.add_argument("--device", default="cpu", type=torch.device)
    arguments = parser.parse_args()
    what, result = arguments.what, {}
    if "speed" in what:
        result["speed"] = speed(arguments.device)
        result["least_ratio"] = min(row["ratio"] for row in result["speed"])
    if "gradients" in what:
        result["gradients"] = gradients()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    cuda = arguments.device.type == "cuda"
    result |= {"device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()}
    print(json.dumps(result | {"commit": commit.stdout.strip(), "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
