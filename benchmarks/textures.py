"""Does refining a texture bring it nearer to the truth? The mini MVDream's objects with and without, on one mesh.

    python benchmarks/textures.py "a red mushroom" "a white house with a red roof"

Each prompt is distilled once; its baked and its refined texture are compared with the true object from eight sides
(azimuth 0, 45, ..., elevation 15, 128 pixels, 2 x 2 samples, grey behind). Both have the painted light on, the truth is
under that light. Prints PSNR of the whole picture and inside both silhouettes, variance of the luma's Laplacian (x 1e4)
two pixels inside both silhouettes, mean chroma, and processor seconds of the refinement; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from dreamlift.assets.contact_sheet import sample_texture
from dreamlift.assets.finish import on_the_ground
from dreamlift.assets.normals import face_normals
from dreamlift.evaluation.mini_mvdream import SilentContext
from dreamlift.evaluation.models import key_of, model_of_truth
from dreamlift.pipelines.context import Asset, Request
from dreamlift.pipelines.field_asset import finish_asset
from dreamlift.pipelines.field_optimisation import Optimisation, always, optimise
from dreamlift.pipelines.mvdream_prior import encode_condition, load_prior
from dreamlift.pipelines.mvdream_settings import MINI
from dreamlift.pipelines.texture_refinement import refined
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.rasterization import Raster, interpolate, rasterize
from dreamlift.training.prompts import parse_prompt
from dreamlift.training.render import shade

PROMPTS = (
    "a blue car with a white roof", "a white house with a red roof", "a red mushroom", "a white rocket with red fins",
    "a green tree", "a red and white striped mug", "a yellow and blue checkered cube",
)  # fmt: skip
CAMERAS = orbit([45.0 * k for k in range(8)], 15.0, 2.6, 40.0)
PIXELS, SAMPLES = 128, 2


def made(prompt: str, seed: int) -> tuple[Asset, np.ndarray, float]:
    """The asset with its baked texture, the refined one, and the processor seconds that it took."""
    context, request = SilentContext(), Request(prompt=prompt, seed=seed)
    settings = replace(MINI, painted_light=None)
    prior = load_prior(request, str(context.device))
    job = Optimisation(settings, prior, always(encode_condition(prior, request, settings)), seed, context)
    optimise(job)
    found: list[np.ndarray | float] = []

    def both(surface, uvs, texture):
        started = time.process_time()
        found.extend([refined(job, surface, uvs, texture), time.process_time() - started])
        return texture

    return finish_asset(job, request, time.monotonic(), both), *found


def drawn(vertices: np.ndarray, faces: np.ndarray, colour: Callable[[Raster], Tensor]) -> tuple[Tensor, Tensor]:
    """Pictures (8, 3, 128, 128) over grey and coverage (8, 128, 128)."""
    vertices = torch.from_numpy(vertices).clone()
    vertices[:, 2] -= (vertices[:, 2].max() + vertices[:, 2].min()) / 2
    raster = rasterize(vertices, torch.from_numpy(faces), CAMERAS, PIXELS * SAMPLES)
    pictures = torch.full((*raster.mask.shape, 3), 0.5)
    pictures[raster.mask] = colour(raster).float()
    pool = torch.nn.functional.avg_pool2d
    return pool(pictures.permute(0, 3, 1, 2), SAMPLES), pool(raster.mask.float()[:, None], SAMPLES)[:, 0]


def of_asset(asset: Asset, texture: np.ndarray) -> tuple[Tensor, Tensor]:
    """What a texture shows, unlit."""
    faces, uvs = torch.from_numpy(asset.faces), torch.from_numpy(asset.uvs)

    def colour(raster: Raster) -> Tensor:
        return torch.from_numpy(sample_texture(texture, interpolate(raster, faces, uvs)[raster.mask].numpy()))

    return drawn(on_the_ground(asset.vertices, 1.0), asset.faces, colour)


def of_truth(prompt: str) -> tuple[Tensor, Tensor]:
    """The true object under the training light."""
    model = model_of_truth(key_of(parse_prompt(prompt)))
    normals = torch.from_numpy(face_normals(model.vertices, model.faces)[0])
    lit = lambda raster: shade(model.albedo(raster), normals[raster.face_ids[raster.mask].long()])  # noqa: E731
    return drawn(model.vertices, model.faces, lit)


def numbers(asset: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor]) -> dict[str, float]:
    """The measures that the module's docstring names."""
    (own, cover), (wanted, other) = asset, truth
    error = (own - wanted).square().mean(1)
    both = (cover == 1) & (other == 1)
    inside = torch.stack([view[mask].mean() for view, mask in zip(error, both, strict=True)])
    core = np.stack([ndimage.binary_erosion(mask, iterations=2) for mask in both.numpy()])
    luma = (own * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1).numpy()
    edges = [ndimage.laplace(view)[mask].var() for view, mask in zip(luma, core, strict=True)]
    chroma = (own.amax(1) - own.amin(1))[both].mean()
    whole = error.mean((1, 2))
    decibel = [float((-10 * value.log10()).mean()) for value in (whole, inside)]
    return dict(zip(("psnr", "psnr_inside"), decibel, strict=True)) | {
        "sharpness": 1e4 * float(np.mean(edges)),
        "chroma": float(chroma),
    }


def main() -> None:
    """Print a line a prompt, the means, and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = []
    for prompt in arguments.prompts:
        asset, better, seconds = made(prompt, arguments.seed)
        truth = of_truth(prompt)
        before, after, true = (
            numbers(pictures, truth) for pictures in (of_asset(asset, asset.texture), of_asset(asset, better), truth)
        )
        rows.append({"prompt": prompt, "seconds": seconds, "baked": before, "refined": after, "truth": true})
        shown = "  ".join(f"{key} {before[key]:.2f} -> {after[key]:.2f} ({true[key]:.2f})" for key in before)
        print(f"{prompt}: {shown}  {seconds:.1f} s", flush=True)
    for key in ("psnr", "psnr_inside", "sharpness", "chroma"):
        print(
            f"mean {key}: " + " -> ".join(f"{np.mean([row[k][key] for row in rows]):.2f}" for k in ("baked", "refined"))
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
