"""The Warp z-buffer beside its torch twin: milliseconds a view, and how many face ids agree.

    OMP_NUM_THREADS=1 python benchmarks/rasterization.py [--device cuda]

A bumpy ball of 20,480 and 81,920 triangles. Best of a few calls on one view; the last line is JSON. With
`--device cuda` the CPU's picture is compared too.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time

import torch
import trimesh

from dreamlift.rendering import _rasterization_torch, _rasterization_warp
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.rasterization import rasterize


def bumpy_ball(subdivisions: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """A ball with bumps: small triangles, some behind others."""
    mesh = trimesh.creation.icosphere(subdivisions)
    vertices = torch.tensor(mesh.vertices, dtype=torch.float32)
    vertices = vertices * (0.8 + 0.15 * torch.sin(5 * vertices[:, :1]) * torch.sin(4 * vertices[:, 1:2]))
    return vertices.to(device), torch.tensor(mesh.faces, device=device)


def best_ms(function, device: torch.device, repeats: int) -> float:
    """Best wall-clock milliseconds; the first call, which may compile, does not count."""
    function()
    best = float("inf")
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 1000 * best


def main() -> None:
    """Print a row a size, then JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", type=torch.device)
    device = parser.parse_args().device
    camera, rows = orbit([30.0], [20.0], 2.7, 40.0).to(device), []
    for subdivisions in (5, 6):
        vertices, faces = bumpy_ball(subdivisions, device)
        for resolution in (128, 256, 512, 1024):
            calls = {
                name: lambda draw=draw, mesh=(vertices, faces), size=resolution: rasterize(
                    *mesh, camera, size, draw=draw
                )
                for name, draw in (("warp", _rasterization_warp.draw), ("torch", _rasterization_torch.draw))
            }
            row = {"triangles": len(faces), "resolution": resolution}
            row |= {f"{name}_ms": round(best_ms(call, device, 5), 2) for name, call in calls.items()}
            seen = calls["warp"]().face_ids
            row["agree"] = float((seen == calls["torch"]().face_ids).float().mean())
            if device.type == "cuda":
                here = rasterize(vertices.cpu(), faces.cpu(), camera.to("cpu"), resolution).face_ids
                row["agree_with_cpu"] = float((seen.cpu() == here).float().mean())
            rows.append(row)
            print(" ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    ratio = min(row["torch_ms"] / row["warp_ms"] for row in rows)
    print(json.dumps({"least_speedup": ratio, "device": name, "commit": commit.stdout.strip(), "rows": rows}))


if __name__ == "__main__":
    main()
