"""A service whose worker needs no model: it streams an object that grows from a ball into a mushroom.

    python tests/fakes/growing.py serve --home FOLDER      the real service with this worker
    python tests/fakes/growing.py worker                   what the service starts

The prompt steers it: "in 20 s" sets the time, "of 5000 triangles" the size, "that fails" ends it with an error that
suggests a setting. Of a job from a picture the cap and the stem have the mean colours of the picture's upper and lower
half, so that whoever looks sees that it came. Everything else on the way (service, worker process, wire, GLB, cutting a
picture out) is the real thing.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import time
from pathlib import Path

import numpy as np

from dreamlift.pipelines.context import (
    Asset,
    MeshPreview,
    Progress,
    Provenance,
    Request,
    RequestError,
    SeedViews,
    StagePlan,
    Stop,
    Stopped,
    ViewsPreview,
)

STEP_SECONDS = 0.1
SIDES = ("front", "right", "back", "left")
PREVIEW_STEPS = 4
RED, CREAM = np.array([0.72, 0.10, 0.08]), np.array([0.90, 0.84, 0.70])
# Radius and height of a mushroom's outline from the tip of the cap to the foot.
OUTLINE = np.array(
    [
        (0, 0.8),
        (0.35, 0.74),
        (0.62, 0.55),
        (0.78, 0.28),
        (0.7, 0.12),
        (0.25, 0.08),
        (0.2, -0.3),
        (0.28, -0.8),
        (0, -0.8),
    ]
)


class GrowingPipeline:
    """`plan` and `run` like a real pipeline's.

    Args:
        seconds: Of a job whose prompt does not say.
    """

    def __init__(self, seconds: float = 5.0):
        self.seconds = seconds

    def _steps(self, request: Request) -> int:
        asked = re.search(r"in ([\d.]+) s", request.prompt)
        return int((float(asked[1]) if asked else self.seconds) / STEP_SECONDS)

    def plan(self, request: Request, device) -> list[StagePlan]:
        """One stage."""
        return [StagePlan("shape", *[self._steps(request)] * 2, 1 << 20)]

    def run(self, request: Request, context) -> Asset:
        """Grow, show, finish."""
        if "that fails" in request.prompt:
            raise RequestError(
                "out_of_memory", "The texture does not fit.", "Use a smaller one.", {"texture_size": 512}
            )
        started, steps = time.monotonic(), self._steps(request)
        paint = paint_of(request)
        triangles = int((re.search(r"of (\d+) triangles", request.prompt) or [0, 4000])[1])
        state = context.restore() or {}
        for step in range(int(state.get("step", 0)), steps):
            stop = context.should_stop()
            if stop is Stop.FINISH:
                break
            if stop is not None:
                context.checkpoint({"step": step})
                raise Stopped(stop)
            grown = step / steps
            left = (steps - step) * STEP_SECONDS
            context.progress(Progress("shape", 0, 2, step, steps, left))
            if step % PREVIEW_STEPS == 0:
                context.publish(preview(grown, triangles, paint))
                context.publish(views(grown))
            time.sleep(STEP_SECONDS)
        context.progress(Progress("asset", 1, 2, 0, 1, 0.5))
        return asset(request, time.monotonic() - started)

    def sample_views(self, request: Request, context) -> SeedViews:
        """Each seed's mushroom in a colour of its own; the pictures get clearer in about two seconds."""
        if "that fails" in request.prompt:
            raise RequestError("out_of_memory", "The pictures do not fit.", "Use another device.")
        started, steps = time.monotonic(), self._steps(request)
        for step in range(1, steps + 1):
            stop = context.should_stop()
            if stop in (Stop.CANCEL, Stop.PAUSE):
                raise Stopped(stop)
            context.progress(Progress("views", 0, 1, step, steps, (steps - step) * STEP_SECONDS))
            images = seed_pictures(request.seeds, step / steps)
            if step % PREVIEW_STEPS == 0 or step == steps:
                context.publish(ViewsPreview(images.reshape(-1, *images.shape[2:]), SIDES, request.seeds))
            if stop is Stop.FINISH:
                break
            time.sleep(STEP_SECONDS)
        return SeedViews(images, SIDES, request.seeds, provenance(request, time.monotonic() - started))


def paint_of(request: Request) -> np.ndarray:
    """(2, 3) colours in [0, 1] of cap and stem: the picture's upper and lower half where there is one."""
    if "reference" not in request.images:
        return np.stack([RED, CREAM])
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(request.images["reference"])).convert("RGBA")) / 255
    rows = np.flatnonzero(pixels[..., 3].any(1))
    if not len(rows):
        raise RequestError("no_subject", "The picture is wholly transparent.", "Mark the subject.")
    middle = (rows[0] + rows[-1] + 1) // 2
    halves = pixels[rows[0] : middle], pixels[middle : rows[-1] + 1]
    return np.stack([(half[..., :3] * half[..., 3:]).sum((0, 1)) / half[..., 3].sum() for half in halves])


def preview(grown: float, triangles: int = 4000, paint: np.ndarray | None = None) -> MeshPreview:
    """The object at one moment. `grown` is 0 to 1; the number of triangles changes with it, as a real one's does."""
    from dreamlift.assets.edges import edges_of

    vertices, faces, colors = revolved(grown, int(triangles * (0.8 + 0.2 * grown)), paint)
    edges, corners = edges_of(faces)
    return MeshPreview(vertices, faces, edges, corners, colors)


def revolved(
    grown: float, triangles: int, paint: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(V, 3) vertices, (F, 3) faces and (V, 4) colours of an outline turned about z, between ball and mushroom."""
    segments = max(8, int(np.sqrt(triangles)))
    rings = max(4, triangles // (2 * segments))
    along = np.linspace(0, 1, rings + 1)
    ball = np.stack([np.sin(np.pi * along), np.cos(np.pi * along)], 1) * 0.5
    at = np.linspace(0, 1, len(OUTLINE))
    outline = np.stack([np.interp(along, at, OUTLINE[:, k]) for k in (0, 1)], 1)
    profile = (1 - grown) * ball + grown * outline
    turn = np.arange(segments) * (2 * np.pi / segments)
    # A nose towards the front (+x): whoever looks at the result sees which way it faces.
    nose = (
        0.25
        * np.exp(-((along[1:-1] - 0.3) ** 2) / 0.004)[:, None]
        * np.exp(-(np.minimum(turn, 2 * np.pi - turn) ** 2) / 0.03)
    )
    radius = profile[1:-1, :1] + nose
    inner = np.stack(
        [radius * np.cos(turn), radius * np.sin(turn), np.broadcast_to(profile[1:-1, 1:], radius.shape)], -1
    ).reshape(-1, 3)
    vertices = np.concatenate([[[0, 0, profile[0, 1]]], inner, [[0, 0, profile[-1, 1]]]]).astype(np.float32)
    ring, j = np.arange(rings - 2)[:, None] * segments + 1, np.arange(segments)
    k = (j + 1) % segments
    sides = np.stack([[ring + j, ring + segments + j, ring + segments + k], [ring + j, ring + segments + k, ring + k]])
    foot = 1 + (rings - 2) * segments
    top = np.stack([np.zeros_like(j), 1 + j, 1 + k], 1)
    bottom = np.stack([np.full_like(j, len(vertices) - 1), foot + k, foot + j], 1)
    faces = np.concatenate([top, sides.transpose(0, 2, 3, 1).reshape(-1, 3), bottom]).astype(np.int32)
    share = np.concatenate([[0], np.repeat(along[1:-1], segments), [1]])[:, None]
    colors = np.ones((len(vertices), 4), np.float32)
    cap, stem = (RED, CREAM) if paint is None else paint
    colors[:, :3] = np.where(share < 0.55, cap, stem)
    return vertices, faces, colors


def views(grown: float, size: int = 96) -> ViewsPreview:
    """Four shaded pictures of a ball, each lit from another side; the stem grows below it."""
    y, x = np.mgrid[1 : -1 : size * 1j, -1 : 1 : size * 1j]
    pictures = []
    for k in range(4):
        squash = 1 + 0.5 * grown
        inside = x**2 + ((y - 0.3 * grown) * squash) ** 2 < 0.5
        stem = (abs(x) < 0.18 * grown) & (y < 0.2) & (y > -0.8)
        light = np.clip(0.65 + 0.35 * (x * np.cos(k * np.pi / 2) + y), 0.15, 1)[..., None]
        picture = np.full((size, size, 3), 0.16)
        picture = np.where(stem[..., None], CREAM * light, picture)
        picture = np.where(inside[..., None], RED * light, picture)
        pictures.append((picture * 255).astype(np.uint8))
    return ViewsPreview(np.stack(pictures), SIDES)


def seed_pictures(seeds: tuple[int, ...], clear: float) -> np.ndarray:
    """(S, 4, 96, 96, 3): the mushroom tinted by its seed, out of noise as `clear` goes from 0 to 1."""
    rows = []
    for seed in seeds:
        chance = np.random.default_rng(seed)
        tint = 0.4 + 0.6 * chance.random(3)
        pictures = views(0.4 + 0.6 * chance.random()).images * tint
        noise = chance.integers(0, 256, pictures.shape)
        rows.append(clear * pictures + (1 - clear) * noise)
    return np.stack(rows).astype(np.uint8)


def asset(request: Request, seconds: float) -> Asset:
    """The finished mushroom."""
    vertices, faces, _ = revolved(1.0, 3000)
    cap, stem = (np.clip(paint_of(request), 0, 1) * 255).astype(np.uint8)
    size = float(request.settings.get("size_m", 1.0))
    low, high = vertices.min(0), vertices.max(0)
    vertices = (vertices - [*(low + high)[:2] / 2, low[2]]) * (size / (high - low).max())
    red = revolved(1.0, 3000)[2][faces][:, :, 0].mean(1) < 0.8
    uvs = np.where(
        red[:, None, None],
        np.array([[0.1, 0.6], [0.4, 0.6], [0.1, 0.9]]),
        np.array([[0.6, 0.6], [0.9, 0.6], [0.6, 0.9]]),
    )
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:, :32], texture[:, 32:] = cap, stem
    about = provenance(request, seconds)
    return Asset(vertices.astype(np.float32), faces, uvs.astype(np.float32), texture, about)


def provenance(request: Request, seconds: float) -> Provenance:
    """That nothing made it."""
    return Provenance(
        pipeline=request.pipeline,
        preset=request.preset,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        weights="none (scripted)",
        licence="CC0-1.0",
        commercial_use=True,
        dreamlift="0",
        seconds=seconds,
    )


def save(finished: Asset | SeedViews, folder: Path) -> None:
    """The GLB alone, because a contact sheet would need the renderer; or the views as the real worker writes them."""
    if isinstance(finished, SeedViews):
        from dreamlift.workers.results import write_results

        return write_results(finished, folder)
    from dreamlift.assets.glb import write_glb

    write_glb(finished, folder / "asset.glb")


def main() -> int:
    """Serve, or be the worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("serve", "worker"))
    parser.add_argument("--home", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a job whose prompt does not say")
    arguments = parser.parse_args()
    if arguments.role == "worker":
        from dreamlift.workers.main import WorkerParts, run_worker

        pipeline = GrowingPipeline(arguments.seconds)
        return run_worker(WorkerParts(lambda _: pipeline, save, lambda _: ("Scripted", 1 << 30), lambda _: None))
    from dreamlift.service.server import run_service
    from dreamlift.service.settings import ServiceSettings

    command = (sys.executable, str(Path(__file__).resolve()), "worker", "--seconds", str(arguments.seconds))
    settings = ServiceSettings(home=arguments.home.absolute(), port=arguments.port, worker_command=command)
    return run_service(settings, lambda endpoint: print(f"listening on {endpoint.port}", flush=True))


if __name__ == "__main__":
    sys.exit(main())
