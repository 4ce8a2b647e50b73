"""`dreamlift generate`: a prompt or a picture in, a GLB out, here or on a server.

Knows the order: check what can be checked before anything heavy starts, run, write. How a run is done is in
`local_run.py` and `remote_run.py`, which give back the same thing.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

from dreamlift.commands.images import add_images
from dreamlift.commands.outcomes import CommandError, Exit, emit

LOCAL_SERVER = "local"

EXAMPLES = """examples:
  dreamlift generate "a red mushroom" -o mushroom.glb
  dreamlift generate "a blue chair" --seed 7 --set steps=400 --sheet chair.png
  dreamlift generate --image chair.jpg -o chair.glb             what a picture shows; look first: dreamlift cutout
  dreamlift generate "a blue chair" --image chair.jpg --mask seat.png
  dreamlift generate "a green duck" -o duck.glb --server        on the server of this computer
  dreamlift generate "a green duck" -o duck.glb --server studio  on a server that `dreamlift keys add` named

Ctrl-C once finishes with what there is, twice stops."""


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = "Turn a prompt or a picture into a textured GLB."
    parser = commands.add_parser(
        "generate",
        parents=[common],
        help=text,
        description=text,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", nargs="*", help="what to make, or what the picture shows; quotes are not needed")
    parser.add_argument("-o", "--output", type=Path, help="the GLB to write (default: named after what it shows)")
    add_images(parser)
    parser.add_argument("--pipeline", help="which system (default: mvdream, with --image imagedream)")
    parser.add_argument("--preset", help="size of the run (default: the pipeline's, mini without a GPU)")
    parser.add_argument("--seed", type=int, default=0, help="everything random follows from it (default: 0)")
    parser.add_argument("--negative", default="", metavar="PROMPT", help="what to avoid")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change one of the preset's settings",
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="also write a contact sheet of eight views")
    add_running(parser, "run")
    parser.set_defaults(run=run, refuse=parser.error)


def add_running(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of where and how a model runs, which `dreamlift generate` and `dreamlift views` share.

    Args:
        parser: Takes them.
        verb: What is done there, such as "run".
    """
    parser.add_argument(
        "--weights",
        choices=("trained", "random"),
        default="trained",
        help="random: a model of the preset's size that learned nothing, to time a machine without weights",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--server",
        nargs="?",
        const=LOCAL_SERVER,
        metavar="WHERE",
        help=f"{verb} there: nothing for this computer's server, a pairing string, "
        "or a name from `dreamlift keys list`",
    )
    parser.add_argument("--json", action="store_true", help="one JSON line per event on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, only the result")


def run(args: argparse.Namespace) -> Exit:
    """Generate, write, and say where the result is."""
    started = time.monotonic()
    if not args.prompt and args.image is None:
        args.refuse("say what to make, or name a picture with --image")
    args.prompt = " ".join(args.prompt)
    named = args.prompt if args.prompt.strip() or args.image is None else args.image.stem
    output = check_output(args.output or Path(file_name(named)), ".glb")
    sheet = check_output(args.sheet, ".png") if args.sheet else None
    from dreamlift.commands.display import choose_display

    with choose_display(args.quiet, args.json) as display:
        if args.server is None:
            from dreamlift.commands.local_run import generate_here as generate
        else:
            from dreamlift.commands.remote_run import generate_there as generate
        generate(args, output, sheet, display)
    seconds = time.monotonic() - started
    if args.json:
        emit("done", path=str(output), sheet=str(sheet) if sheet else None, seconds=round(seconds, 1))
    else:
        print(f"{output} ({seconds:.0f} s)" + (f", {sheet}" if sheet else ""))
    return Exit.OK


def file_name(prompt: str) -> str:
    """A file name made of the prompt's words: "A red mushroom!" gives "a-red-mushroom.glb"."""
    words = re.findall(r"[a-z0-9]+", prompt.lower())
    return ("-".join(words)[:60].strip("-") or "dreamlift") + ".glb"


def check_output(path: Path, suffix: str) -> Path:
    """The path to write to, made absolute; checked now and not after minutes of work.

    Args:
        path: As the user wrote it.
        suffix: What its name must end with, such as ".glb".

    Raises:
        CommandError: where the ending is wrong or the folder cannot be written to.
    """
    path = path.expanduser().absolute()
    if path.suffix.lower() != suffix:
        raise CommandError(
            f"The file {path.name!r} does not end in {suffix}.", f"Name it {path.stem + suffix!r}.", "bad_output"
        )
    if path.is_dir():
        raise CommandError(f"{path} is a folder.", "Name a file inside it.", "bad_output")
    if not path.parent.is_dir():
        remedy = f"Make it first: mkdir -p '{path.parent}'"
        raise CommandError(f"The folder {path.parent} does not exist.", remedy, "bad_output")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".dreamlift-"):
            pass
    except OSError as error:
        remedy = "Name a file in a folder of yours, such as -o ~/" + path.name
        raise CommandError(f"Cannot write in {path.parent}: {error.strerror}.", remedy, "bad_output") from error
    if path.exists() and not os.access(path, os.W_OK):
        raise CommandError(f"{path} may not be overwritten.", "Name another file.", "bad_output")
    return path
