"""`dreamlift evaluate images`: the papers' own metrics on any set of pictures, as far as their weights are given.

Knows which metric needs what, and at which size it looks. A metric whose weights, reference or prompt is not given is
"unavailable" and says why; a file that is given and cannot be read is an error. Definitions: docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dreamlift.evaluation.benchmark.measures import psnr, ssim
from dreamlift.evaluation.published.clip import LocalClip, image_scores, r_precision, text_scores
from dreamlift.evaluation.published.contextual import BANDWIDTH, read_contextual
from dreamlift.evaluation.published.inception import quality_scores, read_inception
from dreamlift.evaluation.published.lpips import NETWORKS, read_lpips
from dreamlift.pipelines.context import RequestError
from dreamlift.preprocessing.decoding import read_picture

ENDINGS = (".png", ".jpg", ".jpeg")
PSNR_SIZE, LPIPS_SIZE, CONTEXTUAL_SIZE, CLIP_SIZE = 800, 224, 512, 512  # pixels; CLIP's tower resizes once more


@dataclass(frozen=True)
class Value:
    """One metric over the pictures.

    Args:
        name: With what it is measured by.
        mean: Over the pictures; None where it is unavailable.
        first: Of the first picture, which is the reference view by the papers' convention; None where there is none.
        why: Why it is unavailable, or the settings that belong in a report.
    """

    name: str
    mean: float | None = None
    first: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Pictures:
    """What is judged.

    Args:
        views: Pictures (3, H, W) in [0, 1] on white, in the order of their names.
        reference: The same, of the reference; None where there is none.
    """

    views: list[Tensor]
    reference: Tensor | None

    def sized(self, size: int) -> Iterator[Tensor]:
        """The views, (1, 3, size, size), one after the other."""
        return (_resized(view, size) for view in self.views)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options; `run` takes what they parse to."""
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="PNG and JPEG files, by name")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="the picture they are compared with")
    parser.add_argument("--prompt", help="what they show, in words")
    parser.add_argument("--pool", type=Path, metavar="FILE", help="all prompts, one a line, for R-precision")
    parser.add_argument("--clip", type=Path, metavar="FOLDER", help="a CLIP model as transformers saves it")
    parser.add_argument("--lpips", type=Path, metavar="FILE", help="state of lpips.LPIPS, backbone and heads")
    parser.add_argument("--lpips-net", choices=NETWORKS, default="alex", help="which backbone (default: alex)")
    parser.add_argument("--vgg19", type=Path, metavar="FILE", help="torchvision's VGG19, for the contextual distance")
    parser.add_argument("--bandwidth", type=float, default=BANDWIDTH, help=f"its h (default: {BANDWIDTH})")
    parser.add_argument("--inception", type=Path, metavar="FILE", help="torchvision's Inception v3, for QIS")
    parser.add_argument("--legacy-alpha", action="store_true", help="paint only wholly transparent pixels white")
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="dreamlift evaluate images", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def run(args: argparse.Namespace) -> int:
    """Measure, print the table and as the last line JSON. 0 whatever the figures.

    Raises:
        RequestError: There are no pictures, or one cannot be read.
        FileNotFoundError: A file that was named is missing.
        WeightsError: Weights that were named cannot be used.
    """
    files = sorted(file for file in args.images.iterdir() if file.suffix.lower() in ENDINGS)
    if not files:
        what = f"There are no pictures in {args.images}."
        raise RequestError("no_image", what, f"Put files there that end in {', '.join(ENDINGS)}.")
    reference = read_on_white(args.reference, args.legacy_alpha) if args.reference else None
    pictures = Pictures([read_on_white(file, args.legacy_alpha) for file in files], reference)
    values = [value for metric in (_plain, _lpips, _contextual, _clip, _inception) for value in metric(args, pictures)]
    report = {"images": len(files), "values": {value.name: vars(value) for value in values}}
    if not args.json:
        _show(values, len(files))
    print(json.dumps(report))
    return 0


def read_on_white(file: Path, legacy_alpha: bool = False) -> Tensor:
    """A picture on white, (3, H, W) in [0, 1].

    Args:
        file: PNG or JPEG.
        legacy_alpha: Paint only pixels with alpha 0 white and leave half-transparent ones as they are, as the
            published script does.
    """
    rgba = torch.from_numpy(read_picture(file.read_bytes()).pixels.astype(np.float32) / 255).permute(2, 0, 1)
    share = (rgba[3:] > 0).float() if legacy_alpha else rgba[3:]
    return rgba[:3] * share + (1 - share)


def _resized(picture: Tensor, size: int) -> Tensor:
    """Area filter, as OpenCV's INTER_AREA when reducing. (3, H, W) -> (1, 3, size, size)."""
    if max(picture.shape[1:]) < size:
        return F.interpolate(picture[None], (size, size), mode="bilinear", align_corners=False)
    return F.interpolate(picture[None], (size, size), mode="area")


def _each(name: str, values: Sequence[float], why: str = "") -> Value:
    return Value(name, float(np.mean(values)), float(values[0]), why)


def _against_reference(
    name: str, pictures: Pictures, size: int, measure: Callable[[Tensor, Tensor], float], why: str = ""
) -> Value:
    if pictures.reference is None:
        return Value(name, why="needs --reference")
    reference = _resized(pictures.reference, size)
    return _each(name, [measure(view, reference) for view in pictures.sized(size)], why)


def _plain(args: argparse.Namespace, pictures: Pictures) -> list[Value]:
    size = f"{PSNR_SIZE} px, on white"
    return [
        _against_reference("PSNR, dB", pictures, PSNR_SIZE, psnr, size),
        _against_reference("SSIM", pictures, PSNR_SIZE, ssim, size),
    ]


def _lpips(args: argparse.Namespace, pictures: Pictures) -> list[Value]:
    name = f"LPIPS ({args.lpips_net})"
    if args.lpips is None:
        return [Value(name, why="needs --lpips")]
    distance = read_lpips(args.lpips, args.lpips_net)
    return [_against_reference(name, pictures, LPIPS_SIZE, lambda a, b: float(distance(a, b)), f"{LPIPS_SIZE} px")]


def _contextual(args: argparse.Namespace, pictures: Pictures) -> list[Value]:
    name = "contextual distance"
    if args.vgg19 is None:
        return [Value(name, why="needs --vgg19")]
    distance = read_contextual(args.vgg19, args.bandwidth)
    why = f"relu5_4, {CONTEXTUAL_SIZE} px, h = {args.bandwidth:g}"
    return [_against_reference(name, pictures, CONTEXTUAL_SIZE, lambda a, b: distance(a[0], b[0]), why)]


def _clip(args: argparse.Namespace, pictures: Pictures) -> list[Value]:
    to_text, to_image, precision = "CLIP score (text)", "CLIP score (image)", "R-precision"
    if args.clip is None:
        return [Value(name, why="needs --clip") for name in (to_text, to_image, precision)]
    towers, views, about = LocalClip(args.clip), torch.cat(list(pictures.sized(CLIP_SIZE))), args.clip.name
    values = [Value(to_text, why="needs --prompt"), Value(precision, why="needs --prompt and --pool")]
    if args.prompt:
        values[0] = _each(to_text, text_scores(towers, views, args.prompt).tolist(), about)
    if args.prompt and args.pool:
        pool = [line.strip() for line in args.pool.read_text(encoding="utf-8").splitlines() if line.strip()]
        size = len({args.prompt, *pool})
        share = r_precision(towers, views, args.prompt, pool)
        values[1] = Value(precision, share, why=f"{about}, {size} prompts")

    def likeness(view: Tensor, reference: Tensor) -> float:
        return float(image_scores(towers, view, reference[0]))

    return [values[0], _against_reference(to_image, pictures, CLIP_SIZE, likeness, about), values[1]]


def _inception(args: argparse.Namespace, pictures: Pictures) -> list[Value]:
    if args.inception is None:
        return [Value("QIS", why="needs --inception")]
    network = read_inception(args.inception)
    return [
        _each("QIS", [float(quality_scores(network, view[None])) for view in pictures.views], "Inception v3, 299 px")
    ]


def _show(values: Sequence[Value], count: int) -> None:
    table = Table(title=f"the papers' metrics over {count} pictures")
    for head in ("metric", "mean", "first picture", "how, or why not"):
        table.add_column(head)
    for value in values:
        mean = "unavailable" if value.mean is None else f"{value.mean:.4f}"
        table.add_row(value.name, mean, "-" if value.first is None else f"{value.first:.4f}", value.why)
    Console().print(table)
