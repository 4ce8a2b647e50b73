"""Speed of our two grid kernels beside their peers, one thread, forward and backward.

The hash grid's peer is its own torch twin; the voxel grid's is torch's `grid_sample`. Best of several runs, so that
other work on the machine shows as little as possible.

    OMP_NUM_THREADS=1 python benchmarks/hash_grid.py [--points 100000] [--full]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Callable

import torch

from dreamlift.representations import _hash_grid_torch as twin
from dreamlift.representations.hash_grid import hash_encode
from dreamlift.representations.trilinear import trilinear

SMALL = twin.HashGridSettings(levels=8, log2_table=15, base=16, growth=(256 / 16) ** (1 / 7))


def best_ms(function: Callable[[], None], runs: int) -> float:
    """Shortest of some runs after one to warm up, milliseconds."""
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return round(1e3 * min(times), 1)


def hash_grid_row(settings: twin.HashGridSettings, points: torch.Tensor, runs: int) -> dict[str, float]:
    """Milliseconds of kernel and twin: forward, forward and backward, and with the gradient in the points."""
    layout = twin.HashGridLayout.of(settings)
    table = torch.randn(layout.rows, 2, device=points.device, requires_grad=True)
    moving = points.clone().requires_grad_()

    def forward(encode):
        with torch.no_grad():
            encode(points, table, layout)

    def both(encode, where):
        table.grad = moving.grad = None
        encode(where, table, layout).square().mean().backward()

    row = {}
    for name, encode in (("warp", hash_encode), ("torch", twin.hash_encode)):
        row[f"{name} forward"] = best_ms(lambda encode=encode: forward(encode), runs)
        row[f"{name} forward+backward"] = best_ms(lambda encode=encode: both(encode, points), runs)
        row[f"{name} with d/dx"] = best_ms(lambda encode=encode: both(encode, moving), runs)
    row["ratio forward+backward"] = round(row["torch forward+backward"] / row["warp forward+backward"], 1)
    return row


def voxel_row(points: torch.Tensor, runs: int) -> dict[str, float]:
    """Milliseconds of the voxel kernel and of `grid_sample` on a 40^3 grid with four channels."""
    last = torch.randn(40, 40, 40, 4, device=points.device, requires_grad=True)
    first = last.detach().permute(3, 2, 1, 0)[None].contiguous().requires_grad_()
    where = points * 2 - 1

    def ours():
        last.grad = None
        trilinear(where, last).square().mean().backward()

    def theirs():
        first.grad = None
        grid = where.view(1, 1, 1, -1, 3)
        torch.nn.functional.grid_sample(first, grid, align_corners=True).square().mean().backward()

    row = {"warp forward+backward": best_ms(ours, runs), "grid_sample forward+backward": best_ms(theirs, runs)}
    row["ratio"] = round(row["grid_sample forward+backward"] / row["warp forward+backward"], 1)
    return row


def main() -> None:
    """Print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--full", action="store_true", help="also the published size: 16 levels, 2^19 rows a level")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    points = torch.rand(args.points, 3, device=device)
    rows = {
        "voxel grid 40^3": voxel_row(points, args.runs),
        "hash grid, small": hash_grid_row(SMALL, points, args.runs),
    }
    if args.full:
        rows["hash grid, published"] = hash_grid_row(twin.HashGridSettings(), points, args.runs)
    for name, row in rows.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    where = (
        torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor() or platform.machine()}, 1 thread"
    )
    print(json.dumps({"benchmark": "hash_grid", "device": where, "commit": commit, "points": args.points, **rows}))


if __name__ == "__main__":
    main()
