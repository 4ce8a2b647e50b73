"""`dreamlift cutout`: what a job will take for the object of a picture, as a PNG to look at before the job starts.

Knows the order: check, cut out, write, say how. How it is cut out is in `preprocessing`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dreamlift.commands.generate import check_output
from dreamlift.commands.images import read_image
from dreamlift.commands.outcomes import CommandError, Exit, emit

EXAMPLES = """examples:
  dreamlift cutout photo.jpg                              into photo-cutout.png
  dreamlift cutout photo.jpg -o cut.png --threshold 0.7   keep only what is surely the object
  dreamlift cutout photo.jpg -o cut.png --mask mine.png   white where the object is
  dreamlift generate --image cut.png -o object.glb        then make it"""
METHODS = {
    "alpha": "its own transparency",
    "mask": "the mask",
    "matting": "the matting model",
    "plane": "the smooth background at its border",
    "grabcut": "its colours (GrabCut)",
}


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = "Cut the object out of a picture, to see what a job will make."
    parser = commands.add_parser(
        "cutout",
        parents=[common],
        help=text,
        description=text,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("picture", type=Path, help="PNG, JPEG, WebP, TIFF, GIF or BMP")
    parser.add_argument("-o", "--output", type=Path, metavar="PNG", help="with transparency (default: NAME-cutout.png)")
    parser.add_argument("--mask", type=Path, metavar="PNG", help="white where the object is, of the picture's size")
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="T",
        help="between 0 and 1: higher cuts away more, lower less (default: 0.5)",
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="also write picture, cut-out and what the model sees")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout")
    parser.add_argument("--quiet", action="store_true", help="only the result")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Cut out, write, and say how in one line."""
    if not 0 < args.threshold < 1:
        what = f"--threshold {args.threshold:g} is out of range."
        raise CommandError(what, "Give a number between 0 and 1, such as 0.7.", "bad_threshold")
    default = Path(f"{args.picture.stem or 'picture'}-cutout.png")
    output = check_output(args.output or default, ".png")
    sheet = check_output(args.sheet, ".png") if args.sheet else None
    data = read_image(args.picture)
    mask = read_image(args.mask) if args.mask else None
    from dreamlift.commands.display import choose_display
    from dreamlift.preprocessing.decoding import read_picture
    from dreamlift.preprocessing.sheet import cut_out_sheet
    from dreamlift.preprocessing.subject import subject

    with choose_display(args.quiet, args.json) as display:
        found = subject(data, mask, threshold=args.threshold)
        for remark in found.warnings:
            display.warning(*remark)
    write(found.rgba, output)
    if sheet is not None:
        write(cut_out_sheet(read_picture(data).pixels, found), sheet)
    share = float((found.rgba[..., 3] > 127).mean())
    if args.json:
        names = {"path": str(output), "sheet": str(sheet) if sheet else None}
        emit("done", **names, method=found.method, share=round(share, 4))
    else:
        also = f", {sheet}" if sheet else ""
        print(f"{output} (cut out by {METHODS[found.method]}, {share:.0%} of the picture){also}")
    return Exit.OK


def write(pixels, path: Path) -> None:
    """Write a PNG; the file appears whole or not at all.

    Args:
        pixels: (H, W, 3 or 4) uint8.
        path: Where to.

    Raises:
        CommandError: "no_space": the disk is full or not writable.
    """
    from PIL import Image

    whole = path.with_name(f".{path.stem}-{os.getpid()}.png")
    try:
        Image.fromarray(pixels).save(whole)
        whole.replace(path)
    except OSError as error:
        what = f"Cannot write {path}: {error.strerror or error}."
        raise CommandError(what, "Free some space, or name another disk.", "no_space", Exit.PROBLEM) from error
    finally:
        whole.unlink(missing_ok=True)
