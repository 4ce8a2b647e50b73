"""A picture of the views of several seeds, one row a seed with its number below, for people to choose from.

Knows pictures. Knows no priors and no jobs. Its sister for finished objects is `contact_sheet`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dreamlift.pipelines.context import SeedViews

ROW_WIDTH = 1024  # pixels that a row of a few views takes
SMALLEST_TILE, LARGEST_TILE = 96, 256  # pixels a side
PAPER, INK, GREY = (250, 250, 250), (35, 35, 40), (120, 120, 125)


def view_sheet(views: SeedViews, tile: int | None = None) -> np.ndarray:
    """All views, seed by seed, with the seed under each row, the sides above and the prompt below.

    Args:
        views: What to show.
        tile: Pixels a side of one view; None chooses by how many there are. Pictures are enlarged without smoothing, so
            that what the model drew can be judged.

    Returns:
        (height, tile * views, 3) uint8 sRGB.
    """
    rows, columns = views.images.shape[:2]
    tile = tile or min(max(ROW_WIDTH // columns, SMALLEST_TILE), LARGEST_TILE)
    line = max(18, tile // 9)
    sheet = Image.new("RGB", (tile * columns, line + rows * (tile + line) + line), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(line * 0.62)
    for column, name in enumerate(views.names):
        draw.text((tile * (column + 0.5), line / 2), name, GREY, font, anchor="mm")
    for row, seed in enumerate(views.seeds):
        top = line + row * (tile + line)
        for column in range(columns):
            picture = Image.fromarray(views.images[row, column])
            kind = Image.Resampling.NEAREST if picture.width < tile else Image.Resampling.LANCZOS
            sheet.paste(picture.resize((tile, tile), kind), (column * tile, top))
        draw.text((line / 2, top + tile + line / 2), f"seed {seed}", INK, font, anchor="lm")
    about = f"{views.provenance.prompt or '(no prompt)'}   {views.provenance.weights}"
    while len(about) > 2 and draw.textlength(about, font) > tile * columns - line:
        about = about[:-2].rstrip(".") + "."
    draw.text((line / 2, sheet.height - line / 2), about, GREY, font, anchor="lm")
    return np.asarray(sheet)


def write_views(views: SeedViews, folder: Path) -> list[Path]:
    """Each view as a PNG of its own, at the model's size.

    Args:
        views: What to write.
        folder: Must exist; files of these names are replaced.

    Returns:
        The files, such as "seed-7-front.png", in the order of the pictures.

    Raises:
        OSError: The folder cannot be written to.
    """
    paths = []
    for seed, row in zip(views.seeds, views.images, strict=True):
        for number, (name, picture) in enumerate(zip(views.names, row, strict=True)):
            word = "".join(letter for letter in name if letter.isascii() and letter.isalnum()) or str(number)
            paths.append(folder / f"seed-{seed}-{word}.png")
            Image.fromarray(picture).save(paths[-1])
    return paths
