"""Picture files that a command line names, by the role that they play in a request.

Knows paths. What is in a file is looked at where it is used (`preprocessing`), by its bytes and not by its name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dreamlift.commands.outcomes import CommandError

MOST_BYTES = 64 << 20


def add_images(parser: argparse.ArgumentParser) -> None:
    """The options that name pictures.

    Args:
        parser: Takes them.
    """
    parser.add_argument("--image", type=Path, metavar="FILE", help="picture to start from, of one object")
    parser.add_argument("--mask", type=Path, metavar="PNG", help="white where that object is, of the picture's size")


def images_of(args: argparse.Namespace) -> dict[str, bytes]:
    """The files that `--image` and `--mask` name, by role.

    Args:
        args: Of a command that has them; one without takes no pictures.

    Raises:
        CommandError: "bad_image" of a file that is not there or too large, "usage" of a mask without a picture.
    """
    image, mask = vars(args).get("image"), vars(args).get("mask")
    if mask is not None and image is None:
        raise CommandError("--mask says where the object is in a picture.", "Name the picture with --image, too.")
    named = {"reference": image, "mask": mask}
    return {role: read_image(path) for role, path in named.items() if path is not None}


def read_image(path: Path) -> bytes:
    """The bytes of a picture file.

    Args:
        path: As the user wrote it.

    Raises:
        CommandError: "bad_image": not there, or too large.
    """
    try:
        with open(path.expanduser(), "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}.", "Name a picture file.", "bad_image") from error
    if len(data) > MOST_BYTES:
        what = f"{path} has more than {MOST_BYTES >> 20} MiB."
        raise CommandError(what, "Save it smaller.", "bad_image")
    return data
