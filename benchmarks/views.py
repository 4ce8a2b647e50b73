"""Views before geometry: seconds that several seeds of the embedded model take, against the limit of 20 s on 2 cores.

    python benchmarks/views.py [--seeds 4] [--runs 3] [--out FOLDER] ["a red mushroom" ...]

Loading is measured apart. Clock and processor seconds, best of the runs: on a machine that does other work the clock
says how busy it was, the processor seconds divided by the threads are about what an idle one would take. `--out` also
writes the sheets. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path

from dreamlift.threads import prepare_threads

THREADS = prepare_threads()

import torch  # noqa: E402
from PIL import Image  # noqa: E402

from dreamlift.assets.view_sheet import view_sheet  # noqa: E402
from dreamlift.pipelines import mvdream  # noqa: E402
from dreamlift.pipelines.context import Request  # noqa: E402

LIMIT = 20.0  # seconds for four seeds on 2 cores, after the model is loaded
PROMPTS = ("a red mushroom", "a blue chair", "a yellow duck")


class Silent:
    """A context that shows nothing, as the command line's."""

    device = torch.device("cpu")
    plan = None

    def progress(self, progress):
        """Nothing."""

    def publish(self, preview):
        """Nothing."""

    def wants_preview(self):
        """Never."""
        return False

    def warn(self, code, what, remedy):
        """On stdout."""
        print(f"warning: {what}")

    def should_stop(self):
        """Never."""
        return None


def timed(function) -> tuple[object, float, float]:
    """The result, clock seconds and processor seconds of one call."""
    clock, processor = time.monotonic(), time.process_time()
    result = function()
    return result, time.monotonic() - clock, time.process_time() - processor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{platform.processor() or platform.machine()}, {THREADS} threads, load {load:.1f}, commit {commit}")
    prior, clock, processor = timed(lambda: mvdream.load_prior(Request(), "cpu"))
    print(f"load the model     {clock:6.1f} s clock  {processor:6.1f} s processor")
    rows = {}
    for prompt in arguments.prompts:
        request = Request(prompt=prompt, goal="views", seeds=tuple(range(arguments.seeds)))
        runs = [timed(lambda r=request: mvdream.sample_views(r, Silent(), prior)) for _ in range(arguments.runs)]
        clock, processor = min(run[1] for run in runs), min(run[2] for run in runs)
        rows[prompt] = {"clock_s": round(clock, 2), "processor_s": round(processor, 2)}
        share = clock / LIMIT
        print(
            f"{prompt:18} {clock:6.1f} s clock  {processor:6.1f} s processor  {share:.2f} of the limit ({LIMIT:.0f} s)"
        )
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            Image.fromarray(view_sheet(runs[-1][0])).save(arguments.out / f"{prompt.replace(' ', '-')}.png")
    print(json.dumps({"seeds": arguments.seeds, "threads": THREADS, "load": load, "limit_s": LIMIT, "prompts": rows}))


if __name__ == "__main__":
    main()
