"""How fast a service answers after its start, and how much memory it keeps. Limits: 1 s and 80 MB.

Starts real services on a fresh home, measures from the start of the process to the answer to `hello`, then reads the
resident memory at rest and after a hundred scripted jobs with previews. Run: `python benchmarks/service_footprint.py`.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "faults"))
from service_process import ServiceProcess  # noqa: E402

from dreamlift.protocol.messages import JobRequest  # noqa: E402


def starts(count: int) -> list[float]:
    """Seconds from the start of the process to the first answer, a fresh home each time."""
    seconds = []
    for _ in range(count):
        with TemporaryDirectory() as folder, ServiceProcess(Path(folder)) as service:
            begun = time.monotonic()
            service.start()
            with service.client():
                seconds.append(time.monotonic() - begun)
    return seconds


def memory(jobs: int) -> tuple[float, float]:
    """Resident megabytes at rest and after some jobs."""
    with TemporaryDirectory() as folder, ServiceProcess(Path(folder)) as service:
        service.start()
        with service.client() as client:
            time.sleep(2.0)
            rest = psutil.Process(service.pid).memory_info().rss
            for _ in range(jobs):
                for event in client.follow(client.submit(JobRequest(prompt="steps=3 preview=1")), previews=True):
                    if type(event).__name__ == "PreviewWaiting":
                        client.preview(event.job, event.kind)
            return rest / 1e6, psutil.Process(service.pid).memory_info().rss / 1e6


def heavy_imports() -> list[str]:
    """Which of the heavy packages the service's module imports."""
    heavy = "('torch', 'warp', 'diffusers', 'transformers', 'scipy', 'trimesh', 'PIL')"
    code = f"import sys, dreamlift.service.server; print([m for m in {heavy} if m in sys.modules])"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], text=True).replace("'", '"'))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=100)
    args = parser.parse_args()
    seconds = starts(args.starts)
    rest, busy = memory(args.jobs)
    heavy = heavy_imports()
    print(f"start to first answer: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s (limit 1 s)")
    print(f"resident: {rest:.1f} MB at rest, {busy:.1f} MB after {args.jobs} jobs (limit 80 MB)")
    print(f"heavy imports: {heavy or 'none'}")
    result = {"start_s": statistics.median(seconds), "start_worst_s": max(seconds), "rest_mb": rest, "busy_mb": busy}
    print(json.dumps({**result, "heavy_imports": heavy}))


if __name__ == "__main__":
    main()
