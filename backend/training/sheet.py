"""Sample sheets: what a prior draws for a list of prompts, four views each, beside nothing that would flatter it.

Knows sampling and pictures; knows no scores (`dreamlift.evaluation`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..priors.imagedream import ImageDreamPrior
from ..priors.mvdream import MVDreamPrior
from ..priors.sampling import sample_views
from ..rendering.cameras import Cameras, orthogonal_views
from .dataset import DISTANCE, FOVY, VIEWS
from .render import over

SHEET_PROMPTS = (
    "a red mushroom", "a white snowman", "a purple rocket", "a brown table", "a yellow chair", "a blue mug",
    "a green tree", "a white house with a red roof", "a yellow lamp", "a green bottle", "a black hat", "a red car",
    "a yellow duck", "a pink cube", "a cyan ring", "a red and white striped ball", "a blue cube with white dots",
    "a brown cone on a cyan cube", "a green car", "a blue chair",
)  # fmt: skip
_CAPTION = 16  # pixels under each row


def sample_sheet(prior: MVDreamPrior, prompts: Sequence[str] = SHEET_PROMPTS, seed: int = 0, columns: int = 2) -> Image:
    """One picture of all prompts: azimuths 20, 110, 200 and 290 degrees, elevation 15, 25 DDIM steps, guidance 4.

    Args:
        prior: Draws.
        prompts: One a cell.
        seed: Of the noise.
        columns: Cells a row.
    """
    set_of_four = orthogonal_views(20.0, 15.0, DISTANCE, FOVY, VIEWS)
    size = prior.image_size
    rows = -(-len(prompts) // columns)
    sheet = Image.new("RGB", (columns * (VIEWS * size + 8), rows * (size + _CAPTION)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for start in range(0, len(prompts), 8):
        part = prompts[start : start + 8]
        cameras = Cameras(set_of_four.c2w.repeat(len(part), 1, 1), set_of_four.fovy.repeat(len(part)))
        views = sample_views(prior, part, cameras, steps=25, guidance=4.0, seed=seed + start)
        for k, prompt in enumerate(part):
            row, column = divmod(start + k, columns)
            x, y = column * (VIEWS * size + 8), row * (size + _CAPTION)
            pixels = torch.cat(list(views[k * VIEWS : (k + 1) * VIEWS]), dim=2).permute(1, 2, 0)
            sheet.paste(Image.fromarray((pixels * 255).round().byte().cpu().numpy()), (x, y))
            pen.text((x + 2, y + size), prompt, fill="black", font=font)
    return sheet


@torch.no_grad()
def image_sheet(
    prior: ImageDreamPrior,
    pictures: Tensor,
    captions: Sequence[str],
    guidance: float = 2.0,
    seed: int = 0,
    columns: int = 2,
) -> Image:
    """One picture of image prompts and what is drawn from each with its caption: the views of `sample_sheet`.

    Args:
        prior: Draws.
        pictures: Premultiplied RGBA, recentred. (B, 4, S, S) uint8.
        captions: One each.
        guidance: w of classifier-free guidance.
        seed: Of the noise.
        columns: Cells a row.
    """
    set_of_four, size = orthogonal_views(20.0, 15.0, DISTANCE, FOVY, VIEWS), prior.image_size
    width = (VIEWS + 1) * size + 16
    sheet = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * (size + 4)), "white")
    chance = torch.Generator().manual_seed(seed)
    for k, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        prompt = over(picture[None].float() / 255, torch.full((1, 1, 1, 1), 0.5))
        told, nothing = prior.encode([caption], prompt), prior.encode([""], None)
        noise = torch.randn(VIEWS, prior.unet.config.out_channels, size // 4, size // 4, generator=chance)
        latents = prior.ddim_views(noise.to(prior.device), told, nothing, set_of_four, steps=25, guidance=guidance)
        row = torch.cat([prompt[0], *prior.decode_latents(latents).cpu()], dim=2).permute(1, 2, 0)
        pixels = Image.fromarray((row * 255).round().byte().numpy())
        sheet.paste(pixels, (k % columns * width, k // columns * (size + 4)))
    return sheet
