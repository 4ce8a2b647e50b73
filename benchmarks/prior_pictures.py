"""How near to the truth are the pictures that distillation is told to come to? The mini ImageDream on the benchmark's
objects.

Its own four pictures of an object (azimuth 0, 90, 180, 270, elevation 15, as it was trained) are compared with the true
ones, caption and picture given, in three ways: drawn as `dreamlift views` does, at guidance 1.4; what it foresees at
once from pure noise, without guidance, which is the mean of what it holds possible; and what it foresees of the true
pictures under the noise of t = 900. Prints PSNR over the whole square on grey, 64 px; the last line is JSON.

    OMP_NUM_THREADS=1 python benchmarks/prior_pictures.py [--controller pixel] [--folder FOLDER] [--limit 10]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from dreamlift.distillation.mv_sds import BothSides, Guidance, add_noise, guided_x0
from dreamlift.evaluation.benchmark.measures import psnr
from dreamlift.evaluation.benchmark.objects import OBJECTS, BenchmarkObject
from dreamlift.evaluation.runner import SilentContext
from dreamlift.pipelines.context import Request
from dreamlift.pipelines.imagedream_prior import cut_out, laid_on, on_square
from dreamlift.pipelines.imagedream_views import CAMERAS_MINI, ImageDreamViews
from dreamlift.priors.imagedream import ImageDreamPrior
from dreamlift.priors.sampling import latent_shape, seed_noise
from dreamlift.rendering.cameras import Cameras
from dreamlift.training.render import over, render

GREY = torch.full((3,), 0.5)
SIZE, SEEDS, VIEWS = 64, (0, 1), 4
DRAWN = 1.4
FORESEEN = Guidance(1.0, 0.0, VIEWS)


@torch.no_grad()
def measure(prior: ImageDreamPrior, case: BenchmarkObject) -> dict[str, float]:
    """PSNR of the three kinds of pictures, dB, mean over views and seeds."""
    true = over(render(case.item, CAMERAS_MINI, SIZE), torch.tensor(0.5)).repeat(len(SEEDS), 1, 1, 1)
    request = Request("imagedream", prompt=case.caption, images={"reference": case.prompt_image})
    picture = laid_on(on_square(cut_out(request, SilentContext()), SIZE, 0.8), GREY)
    text = prior.encode_text([case.caption, ""])
    views = ImageDreamViews(prior, picture, (case.caption, ""))
    views.sampling = replace(views.sampling, guidance=DRAWN)
    *_, drawn = views.draw(SEEDS)
    sides = BothSides(prior.context(text[:1], picture), prior.context(text[1:], None))
    count = len(SEEDS)
    cameras = Cameras(CAMERAS_MINI.c2w.repeat(count, 1, 1), CAMERAS_MINI.fovy.repeat(count))
    noise = seed_noise(SEEDS, (VIEWS, *latent_shape(prior)))
    noisy = add_noise(prior.encode_images(true), noise, prior.alphas_cumprod[900])
    latents = {
        "foreseen": guided_x0(prior, noise, cameras, sides, 999, FORESEEN),
        "foreseen at 900": guided_x0(prior, noisy, cameras, sides, 900, FORESEEN),
    }
    pictures = {"drawn": drawn()} | {name: prior.decode_latents(value) for name, value in latents.items()}
    return {name: round(psnr(each.clamp(0, 1), true), 2) for name, each in pictures.items()}


def main() -> None:
    """Print one line an object, then the means as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--controller", choices=("pixel", "local", "global"), default="pixel")
    parser.add_argument("--folder", type=Path, help="of the controller's weights; without it the embedded ones")
    parser.add_argument("--limit", type=int, default=len(OBJECTS))
    args = parser.parse_args()
    prior = ImageDreamPrior.mini(args.controller, args.folder).requires_grad_(False).eval()
    rows = []
    for case in OBJECTS[: args.limit]:
        rows.append(measure(prior, case))
        print(f"{case.name:28}", rows[-1], flush=True)
    means = {name: round(sum(row[name] for row in rows) / len(rows), 2) for name in rows[0]}
    print(json.dumps({"benchmark": "prior_pictures", "controller": args.controller, "objects": len(rows), **means}))


if __name__ == "__main__":
    main()
