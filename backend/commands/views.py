"""`dreamlift views`: what a prior draws from several seeds, as a sheet, before any geometry.

Knows the order: check what can be checked before anything heavy starts, draw here or on a server, write. The seed that
one likes goes to `dreamlift generate --seed`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dreamlift.commands.generate import add_running, check_output, file_name
from dreamlift.commands.images import add_images
from dreamlift.commands.outcomes import CommandError, Exit, emit

if TYPE_CHECKING:
    from dreamlift.commands.display import Display
    from dreamlift.pipelines.context import Request, SeedViews

DEFAULT_SEEDS = "4"

EXAMPLES = """examples:
  dreamlift views "a red mushroom"                        seeds 0 to 3, into a-red-mushroom-views.png
  dreamlift views "a blue chair" --seeds 3,7,11 -o chairs.png
  dreamlift views "a blue chair" --seeds 8 --views shots  also every view as a PNG of its own
  dreamlift generate "a blue chair" --seed 7 -o chair.glb  then make the one you like
  dreamlift views "a blue chair" --image chair.png        four sides of a picture, by ImageDream
  dreamlift views --image chair.png --pipeline v3d        18 views around it, by V3D

Ctrl-C once keeps the pictures as far as they are, twice stops."""


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command's parser."""
    text = "Draw the views of several seeds, to choose one before making the object."
    parser = commands.add_parser(
        "views",
        parents=[common],
        help=text,
        description=text,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", nargs="*", help="what to draw; quotes are not needed. v3d reads none")
    parser.add_argument(
        "--seeds",
        default=DEFAULT_SEEDS,
        metavar="N | A,B,C",
        help="how many, counted from 0, or which ones, with a comma even behind a single one (default: 4)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="PNG", help="the sheet (default: named after the prompt)")
    parser.add_argument("--views", type=Path, metavar="FOLDER", help="also write each view as a PNG of its own")
    add_images(parser)
    parser.add_argument(
        "--pipeline", help="whose prior draws: mvdream, imagedream or v3d (default: mvdream, with --image imagedream)"
    )
    parser.add_argument("--preset", help="which of its sizes (default: the pipeline's first, for mvdream mini)")
    parser.add_argument("--negative", default="", metavar="PROMPT", help="what to avoid")
    add_running(parser, "draw")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Draw, write, and say where the sheet is."""
    started = time.monotonic()
    args.prompt = " ".join(args.prompt)
    seeds = read_seeds(args.seeds)
    named = args.prompt if args.prompt.strip() or args.image is None else args.image.stem
    default = Path(file_name(named)).stem + "-views.png"
    output = check_output(args.output or Path(default), ".png")
    folder = check_folder(args.views) if args.views else None
    request = views_request(args, seeds)  # before torch is loaded: a wrong word is answered at once
    from dreamlift.commands.display import choose_display

    with choose_display(args.quiet, args.json) as display:
        draw = views_here if args.server is None else views_there
        views = draw(args, request, display)
        files = write(views, output, folder)
    seconds = round(time.monotonic() - started, 1)
    if args.json:
        emit("done", path=str(output), seeds=list(views.seeds), views=[str(file) for file in files], seconds=seconds)
    else:
        print(f"{output} ({seconds:.0f} s)" + (f", {len(files)} views in {folder}" if folder else ""))
    return Exit.OK


def read_seeds(text: str) -> tuple[int, ...]:
    """The seeds that `--seeds` names: "4" is 0 to 3, "3,7,11" and "7," are those.

    Args:
        text: As written.

    Raises:
        CommandError: "bad_seeds"; what cannot be read, or too many.
    """
    from dreamlift.commands.requests import MOST_SEEDS as LAST_SEED
    from dreamlift.pipelines.catalog import MOST_SEEDS

    remedy = f"Give a number of seeds from 1 to {MOST_SEEDS}, or the seeds themselves: --seeds 3,7,11 or --seeds 7,"
    try:
        numbers = [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise CommandError(f"--seeds {text} cannot be read.", remedy, "bad_seeds") from error
    if "," not in text:
        numbers = list(range(numbers[0])) if numbers and numbers[0] <= MOST_SEEDS else []
    fine = 1 <= len(numbers) <= MOST_SEEDS and len(set(numbers)) == len(numbers)
    if not fine or not all(0 <= number < LAST_SEED for number in numbers):
        raise CommandError(f"--seeds {text} is out of range, or repeats one.", remedy, "bad_seeds")
    return tuple(numbers)


def views_request(args: argparse.Namespace, seeds: tuple[int, ...]) -> Request:
    """The request that the arguments ask for, checked by the catalog.

    Args:
        args: Of this command, the prompt joined.
        seeds: One a row.

    Raises:
        CommandError: A word or the picture cannot be used.
        RequestError: The catalog refuses: "no_views", "no_image", "missing_image" and those of every request.
    """
    from dreamlift.commands.requests import request_from
    from dreamlift.pipelines.catalog import check_images, check_views

    request = request_from(argparse.Namespace(**{**vars(args), "seed": seeds[0], "settings": []}))
    check_images(request.pipeline, request.images)
    check_views(request.pipeline, request.preset, {}, seeds)
    return replace(request, goal="views", seeds=seeds)


def check_folder(path: Path) -> Path:
    """The folder for single views, made absolute; it is made here, inside one that exists.

    Raises:
        CommandError: "bad_output": it cannot be made or written to.
    """
    path = path.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise CommandError(f"{path} is a file.", "Name a folder.", "bad_output")
    try:
        path.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".dreamlift-"):
            pass
    except OSError as error:
        raise CommandError(
            f"Cannot write in {path}: {error.strerror}.", "Name another folder.", "bad_output"
        ) from error
    return path


def views_here(args: argparse.Namespace, request: Request, display: Display) -> SeedViews:
    """Draw in this process.

    Args:
        args: For the device.
        request: Checked.
        display: Shows the run.

    Raises:
        RequestError: The prompt cannot be used, or the weights are not there.
        CommandError: The device is not there, or it was stopped before there was anything to see.
    """
    from dreamlift.threads import prepare_threads

    prepare_threads()
    from dreamlift.commands.local_context import LocalContext
    from dreamlift.commands.local_run import choose_device
    from dreamlift.memory.cards import card_of
    from dreamlift.memory.step_down import run_planned
    from dreamlift.pipelines.catalog import load
    from dreamlift.pipelines.context import Stopped

    display.state("loading")
    context = LocalContext(choose_device(args.device), display)
    pipeline = load(request.pipeline)
    try:
        with context.interruptible():
            work = partial(pipeline.sample_views, request, context)
            return run_planned(work, request, context, card_of(context.device))
    except Stopped as stopped:
        what = "Stopped before there was a picture to keep."
        raise CommandError(what, "Run the same command again.", "stopped", Exit.INTERRUPTED) from stopped


def views_there(args: argparse.Namespace, request: Request, display: Display) -> SeedViews:
    """Draw on the server of `args.server` and fetch the pictures.

    Args:
        args: For the server.
        request: Checked by this program's catalog; the server checks it by its own.
        display: Shows the run.

    Raises:
        CommandError: No such server, it cannot draw views, or the job failed or was cancelled.
        ClientError: The server does not answer.
        ProtocolError: The server refuses.
    """
    from dreamlift.client.session import Client
    from dreamlift.commands.remote_run import Wishes, check_end, follow, job_request
    from dreamlift.commands.servers import server_argument

    with Client(server_argument(args.server)) as client:
        offered = {pipeline.name: pipeline for pipeline in client.welcome.pipelines}
        if request.pipeline not in offered or not offered[request.pipeline].view_names:
            what = f"That server cannot draw views with {request.pipeline} before there is geometry."
            raise CommandError(what, "Update Dreamlift there, or leave --server out.", "no_views")
        job = client.submit(job_request(request), request.images)
        display.accepted(job)
        wishes = Wishes(client, job, display)
        with wishes.interruptible():
            end = follow(client, job, display, wishes)
        check_end(end, job)
        return fetch(client, job, end.artifacts)


def fetch(client, job: str, artifacts) -> SeedViews:
    """The views that a job on a server left.

    Args:
        client: Connected.
        job: Its id, for the error.
        artifacts: Of its last state.

    Raises:
        CommandError: "no_file" or "bad_file": something is missing, or does not fit together.
    """
    from dreamlift.pipelines.context import Provenance, SeedViews
    from dreamlift.protocol import view_grid

    files = {artifact.name: artifact for artifact in artifacts}
    with tempfile.TemporaryDirectory(prefix="dreamlift-") as folder:
        data = {}
        for name in (view_grid.NAME, "provenance.json"):
            if name not in files:
                raise CommandError(f"Job {job} left no {name}.", "See `dreamlift jobs show`.", "no_file", Exit.PROBLEM)
            path = Path(folder) / name
            client.download(files[name], path)
            data[name] = path.read_bytes()
    images, about = view_grid.unpack_views(data[view_grid.NAME]), json.loads(data["provenance.json"])
    known = {field.name for field in dataclasses.fields(Provenance)}
    provenance = Provenance(**{key: value for key, value in about.items() if key in known})
    seeds, names = tuple(about["seeds"]), tuple(about["views"])
    if (len(seeds), len(names)) != images.shape[:2]:
        what = f"Job {job} left {images.shape[:2]} pictures for {len(seeds)} seeds and {len(names)} views."
        raise CommandError(what, "Report this.", "bad_file", Exit.PROBLEM)
    return SeedViews(images, names, seeds, provenance)


def write(views: SeedViews, output: Path, folder: Path | None) -> list[Path]:
    """Write the sheet, and each view where a folder is given; gives the views' files.

    Raises:
        CommandError: "no_space": the disk is full or not writable.
    """
    from PIL import Image

    from dreamlift.assets.view_sheet import view_sheet, write_views

    try:
        Image.fromarray(view_sheet(views)).save(output)
        return write_views(views, folder) if folder else []
    except OSError as error:
        what = f"Cannot write {error.filename or output}: {error.strerror or error}."
        raise CommandError(what, "Free some space, or name another disk.", "no_space", Exit.PROBLEM) from error
