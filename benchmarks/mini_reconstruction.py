"""How well the mini preset's field and renderer can do: MV-SDS with a prior that knows the answer.

The oracle's x0 is a picture of the true object, so what is missing at the end is the representation's and the
optimiser's fault, not the prior's. With --prior FOLDER the trained prior takes its place, to be measured the same way;
with --controller the mini ImageDream does, shown a picture of the object that was taken as in its training. Limit: 1.0
in both IoUs.

    OMP_NUM_THREADS=1 python benchmarks/mini_reconstruction.py --prompts "a red cube" "a blue chair" [--prior FOLDER]
    OMP_NUM_THREADS=1 python benchmarks/mini_reconstruction.py --controller pixel [--set background_match=off]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dreamlift.commands.requests import read_setting
from dreamlift.pipelines import field_previews, imagedream, imagedream_settings, mvdream, mvdream_settings
from dreamlift.pipelines.catalog import PIPELINES
from dreamlift.pipelines.context import Request, Stop
from dreamlift.pipelines.field_optimisation import Optimisation, always, optimise
from dreamlift.pipelines.field_settings import FieldSettings
from dreamlift.priors.imagedream import ImageDreamPrior
from dreamlift.rendering.cameras import Cameras, camera_rays, orbit
from dreamlift.rendering.volume import volume_render
from dreamlift.training.image_prompts import random_camera, random_light, recentred
from dreamlift.training.objects import ProceduralObject
from dreamlift.training.prompts import parse_prompt
from dreamlift.training.render import over, render

PROMPTS = ("a red cube", "a blue ring", "a yellow chair", "a red car", "a green snowman", "a white mug", "a red table")


class OraclePrior:
    """Answers with pictures of one known object, in the latents of a VAE.

    Args:
        item: The object.
        vae: An AutoencoderKL whose latents to use; without one a "latent" is the picture at half size, times three.
    """

    name, licence, commercial_use, image_size = "oracle", "none", True, 64
    alphas_cumprod = torch.linspace(0.9999, 0.0, 1000)

    def __init__(self, item: ProceduralObject, vae=None):
        self.item, self.vae = item, vae
        self.seconds = 0.0

    def unknown_words(self, prompt: str) -> list[str]:
        """None."""
        return []

    def encode_text(self, prompts) -> torch.Tensor:
        """Nothing worth reading."""
        return torch.zeros(len(prompts), 1, 1)

    def encode_images(self, images: torch.Tensor, generator=None) -> torch.Tensor:
        """Remembers the background, which the top left corner shows."""
        self.background, self.seen = images.detach()[:, :, :1, :1], images.shape[-1]
        return self._latents(images, generator)

    def _latents(self, images: torch.Tensor, generator=None) -> torch.Tensor:
        if self.vae is None:
            return torch.nn.functional.avg_pool2d(images, 2) * 3
        posterior = self.vae.encode(images * 2 - 1).latent_dist
        return (posterior.sample(generator) if generator else posterior.mean) * self.vae.config.scaling_factor

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """The picture of its latents."""
        if self.vae is None:
            return torch.nn.functional.interpolate(latents / 3, (self.seen, self.seen), mode="nearest")
        return (self.vae.decode(latents / self.vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)

    def predict_x0(self, x_t, t, context, cameras: Cameras, views: int = 4) -> torch.Tensor:
        """The truth, whatever the noise."""
        start = time.perf_counter()
        picture = over(render(self.item, cameras[:views], self.seen, 1), self.background)
        answer = self._latents(picture).repeat(len(x_t) // views, 1, 1, 1)  # the same on both sides of the guidance
        self.seconds += time.perf_counter() - start
        return answer


class QuietContext:
    """Stores nothing, shows nothing."""

    device, plan = torch.device("cpu"), None

    def __init__(self, previews: bool = False):
        self.previews = previews
        self.published = []

    def progress(self, progress) -> None:
        """Nothing."""

    def publish(self, preview) -> None:
        """Kept with its time."""
        self.published.append((time.perf_counter(), type(preview).__name__))

    def wants_preview(self) -> bool:
        """As told; at most one a second."""
        last = self.published[-1][0] if self.published else 0.0
        return self.previews and time.perf_counter() - last > 1.0

    def warn(self, code, what, remedy) -> None:
        """Print it."""
        print("warning:", what, remedy)

    def checkpoint(self, state) -> None:
        """Nothing."""

    def restore(self) -> None:
        """Nothing."""

    def should_stop(self) -> Stop | None:
        """Never."""


@torch.no_grad()
def measure(job: Optimisation, item: ProceduralObject) -> tuple[dict[str, float], torch.Tensor]:
    """Silhouette IoU over 8 views, volume IoU at several levels, share of the volume outside its largest part."""
    cameras = orbit([45.0 * k + 10 for k in range(8)], 15.0, 2.7, 40.0)
    origins, directions = (rays.reshape(-1, 3) for rays in camera_rays(cameras, 64))
    stage = job.settings.stages[-1]
    seen = volume_render(job.field, origins, directions, stage.volume, job.occupied(stage))
    true = render(item, cameras, 64)
    mine = (seen.opacity.view(8, 64, 64) > 0.5).float()
    theirs = (true[:, 3] > 0.5).float()
    silhouette = ((mine * theirs).sum((1, 2)) / ((mine + theirs) > 0).float().sum((1, 2))).mean()
    ticks = torch.linspace(-1, 1, 96)
    grid = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), -1)
    inside = item.sdf(grid.view(-1, 3)).view(96, 96, 96) < 0
    values = job.field.level_values(96)
    levels = {}
    for level in (-0.04, -0.02, 0.0, 0.02, 0.04, 0.06):
        filled = values > -level
        levels[level] = round(float((filled & inside).sum() / (filled | inside).sum()), 3)
    scores = {"sil": round(float(silhouette), 3), "vol": levels[0.0], "levels": levels}
    images = (seen.colour + (1 - seen.opacity) * 0.5).view(8, 64, 64, 3)
    truth = over(true, torch.tensor(0.5)).permute(0, 2, 3, 1)
    scores["psnr"] = round(float(-10 * (images - truth).square().mean((1, 2, 3)).log10().mean()), 2)
    opacity = seen.opacity.view(8, 64, 64, 1).expand(-1, -1, -1, 3)
    sheet = torch.cat([torch.cat(list(row), 1) for row in (images, opacity, truth)], 0)
    return scores, sheet


def picture_of(item: ProceduralObject, seed: int) -> torch.Tensor:
    """A picture as an artist might bring one: any front view, lens and light. (4, 64, 64), not premultiplied."""
    rng = random.Random(seed)
    square = recentred(render(item, random_camera(rng), 128, 1, random_light(rng))[0], 64)
    return torch.cat([square[:3] / square[3:].clamp_min(1e-3), square[3:]]).clamp(0, 1)


def reconstruct(
    prompt: str, settings: FieldSettings, prior, seed: int, captioned: bool = False
) -> tuple[dict[str, float], torch.Tensor]:
    """Optimise one prompt and measure. `prior` may be a whole prior, a VAE for the oracle, or None.

    `captioned` gives the prompt to ImageDream beside the picture.
    """
    item = parse_prompt(prompt)
    prior = OraclePrior(item, prior) if not hasattr(prior, "unet") else prior
    context = QuietContext()
    if isinstance(prior, ImageDreamPrior):
        text = prior.encode_text([prompt if captioned else "", settings.negative_prompt])
        told = imagedream.ImagePrompt(prior, picture_of(item, seed), text, settings.picture)
    else:
        told = always(mvdream.encode_condition(prior, Request(prompt=prompt, seed=seed), settings))
    job = Optimisation(settings, prior, told, seed, context)
    start = time.perf_counter()
    optimise(job)
    seconds = time.perf_counter() - start
    scores, sheet = measure(job, item)
    scores |= {"s": round(seconds, 1), "ms_step": round(1e3 * seconds / job.step)}
    if isinstance(prior, OraclePrior):
        scores["ms_step_without_oracle"] = round(1e3 * (seconds - prior.seconds) / job.step)
    start = time.perf_counter()
    field_previews.mesh_preview(job.field, settings.preview_grid)
    scores["ms_preview"] = round(1e3 * (time.perf_counter() - start))
    return scores, sheet


def main() -> None:
    """Print one line a prompt, the means, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--prior", type=Path, help="folder of a trained prior; without it the oracle")
    parser.add_argument("--vae", type=Path, help="folder of an AutoencoderKL for the oracle's latents")
    parser.add_argument("--controller", choices=("pixel", "local", "global"), help="the mini ImageDream's")
    parser.add_argument("--caption", action="store_true", help="with --controller: the prompt is the picture's caption")
    parser.add_argument("--folder", type=Path, help="of the controller's weights; without it the embedded ones")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the mini preset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="PNG: renderings, opacity and truth of every prompt")
    args = parser.parse_args()
    pipeline = "imagedream" if args.controller else "mvdream"
    known = {setting.key: setting for setting in PIPELINES[pipeline].settings}
    request = Request(pipeline, settings=dict(read_setting(word, known) for word in args.set))
    settings = (imagedream_settings if args.controller else mvdream_settings).settings_for(request)
    prior = None
    if args.controller:
        prior = ImageDreamPrior.mini(args.controller, args.folder).requires_grad_(False).eval()
    elif args.prior:
        from dreamlift.priors.mvdream import MVDreamPrior

        prior = MVDreamPrior.from_folder(args.prior).requires_grad_(False).eval()
    elif args.vae:
        from diffusers import AutoencoderKL

        prior = AutoencoderKL.from_pretrained(args.vae).requires_grad_(False).eval()
    rows, sheets = {}, []
    for prompt in args.prompts:
        rows[prompt], sheet = reconstruct(prompt, settings, prior, args.seed, args.caption)
        sheets.append(sheet)
        print(f"{prompt:24}", rows[prompt], flush=True)
    means = {
        key: round(float(np.mean([row[key] for row in rows.values()])), 3) for key in ("sil", "vol", "psnr", "ms_step")
    }
    if args.sheet:
        Image.fromarray((torch.cat(sheets).clamp(0, 1).numpy() * 255).astype(np.uint8)).save(args.sheet)
    print(
        json.dumps(
            {"benchmark": "mini_reconstruction", "prior": str(args.prior or args.controller or "oracle"), **means}
        )
    )


if __name__ == "__main__":
    main()
