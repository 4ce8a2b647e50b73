"""A worker with a scripted pipeline, for tests and campaigns: no torch, no model, ends fast.

The prompt is the script, words of key=value: steps=20 pause=0.01 crash_at=5 fail=internal preview=1 hang_at=3 trace=1.
What every attempt did is appended to the file named by DREAMLIFT_TEST_JOURNAL, one JSON line each, for tests to count.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np

from dreamlift.pipelines.context import (
    MeshPreview,
    Progress,
    Provenance,
    RequestError,
    SeedViews,
    StagePlan,
    Stop,
    Stopped,
    ViewsPreview,
)
from dreamlift.workers.main import WorkerParts, run_worker
from dreamlift.workers.results import write_results

FAN = 12


def script(prompt: str) -> dict[str, str]:
    """The prompt's words."""
    return dict(word.split("=", 1) for word in prompt.split() if "=" in word)


def note(what: str, prompt: str) -> None:
    """One line in the journal; whole lines only, also when killed."""
    path = os.environ.get("DREAMLIFT_TEST_JOURNAL")
    if path:
        line = json.dumps({"what": what, "prompt": prompt, "pid": os.getpid(), "at": time.time()}) + "\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def mesh(step: int) -> MeshPreview:
    """A fan of triangles that rises with the step."""
    angles = np.linspace(0, 2 * np.pi, FAN, endpoint=False)
    rim = np.stack([np.cos(angles), np.sin(angles), np.full(FAN, step * 0.001)], axis=1)
    vertices = np.concatenate([rim, [[0, 0, 1]]]).astype(np.float32)
    around = np.arange(FAN, dtype=np.int32)
    faces = np.stack([around, (around + 1) % FAN, np.full(FAN, FAN, np.int32)], axis=1)
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])
    face_edges = np.stack([around, around + FAN, (around - 1) % FAN + FAN], axis=1).astype(np.int32)
    return MeshPreview(vertices, faces, edges, face_edges, np.ones((FAN + 1, 4), np.float32))


class ScriptedPipeline:
    """Does what the prompt says."""

    def plan(self, request, device):
        """One stage."""
        if "refuse" in script(request.prompt):
            raise RequestError("unknown_words", "The words are unknown.", "Use others.", {"steps": 5})
        return [StagePlan("Shape", int(script(request.prompt).get("steps", 5)), 1.0, 0)]

    def run(self, request, context):
        """Steps with progress and previews; the result is the prompt itself."""
        words = script(request.prompt)
        steps = int(words.get("steps", 5))
        note("start", request.prompt)
        for step in range(steps):
            time.sleep(float(words.get("pause", 0.01)))
            if "trace" in words:
                note("step", request.prompt)
            if int(words.get("crash_at", -1)) == step:
                os._exit(9)
            while int(words.get("hang_at", -1)) == step:
                time.sleep(0.1)
            if "memory" in words:
                raise MemoryError
            if "fail" in words:
                raise ValueError(words["fail"])
            if "warn" in words and step == 0:
                context.warn("few_steps", "Few steps.", "Use more.")
            context.progress(Progress("Shape", 0, 1, step, steps, float(steps - step)))
            if context.wants_preview() or "preview" in words:
                context.publish(mesh(step))
                context.publish(ViewsPreview(np.full((1, 8, 8, 3), step % 255, np.uint8), ("front",)))
            wish = context.should_stop()
            if wish is Stop.FINISH:
                break
            if wish is not None:
                note(wish.value, request.prompt)
                raise Stopped(wish)
        note("done", request.prompt)
        return request.prompt

    def sample_views(self, request, context):
        """As many steps; one grey picture a side, the seed's own grey."""
        words = script(request.prompt)
        steps = int(words.get("steps", 5))
        images = np.zeros((len(request.seeds), 2, 8, 8, 3), np.uint8)
        for row, seed in enumerate(request.seeds):
            images[row] = seed % 256
        for step in range(steps):
            context.progress(Progress("views", 0, 1, step, steps, float(steps - step)))
            context.publish(ViewsPreview(images.reshape(-1, 8, 8, 3), ("front", "back"), request.seeds))
            wish = context.should_stop()
            if wish not in (None, Stop.FINISH):
                raise Stopped(wish)
            time.sleep(float(words.get("pause", 0.01)))
        about = Provenance("mvdream", "mini", request.prompt, "", request.seeds[0], "none", "CC0-1.0", True, "0", 1.0)
        return SeedViews(images, ("front", "back"), request.seeds, about)


def save(result, folder: Path) -> None:
    """The prompt as the GLB's bytes; views as the real worker writes them."""
    if isinstance(result, SeedViews):
        write_results(result, folder)
        return
    (folder / "asset.glb").write_bytes(result.encode() * 1000)
    (folder / "provenance.json").write_text(json.dumps({"prompt": result}))


if __name__ == "__main__":
    pipeline = ScriptedPipeline()
    run_worker(WorkerParts(lambda name: pipeline, save, lambda wanted: ("Scripted", 16 << 30), lambda wanted: None))
