"""A job in this process: request, device, pipeline, files.

Knows pipelines through the catalog only. Knows no sockets.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dreamlift.commands.display import Display
from dreamlift.commands.local_context import LocalContext
from dreamlift.commands.outcomes import CommandError, Exit
from dreamlift.commands.requests import object_request
from dreamlift.memory.cards import card_of
from dreamlift.memory.step_down import run_planned
from dreamlift.models.catalogue import needed_by
from dreamlift.models.store import State, Store
from dreamlift.pipelines.context import TRAINED, Asset, Request, Stopped
from dreamlift.threads import prepare_threads

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def generate_here(args: argparse.Namespace, output: Path, sheet: Path | None, display: Display) -> None:
    """Run the request of `args` in this process and write the files.

    Args:
        args: The command's arguments.
        output: GLB to write.
        sheet: Contact sheet to write, or None.
        display: Shows the run.

    Raises:
        RequestError: where the request cannot be run.
        CommandError: where the device is not there, or the run was stopped before there was anything to keep.
    """
    prepare_threads()
    request = object_request(args)  # before torch is loaded: a wrong word is answered at once
    display.state("loading")
    device = choose_device(args.device)
    if request.preset == "mini" and not args.preset:
        display.note(mini_note(request.pipeline, Store.here()))
    from dreamlift.pipelines.catalog import load

    pipeline = load(request.pipeline)
    checkpoint = output.with_name(f".{output.stem}-{fingerprint(request)}.checkpoint")
    context = LocalContext(device, display, checkpoint)
    for stage in pipeline.plan(request, device):
        log.info("plan: %s, %d steps, about %.0f s", stage.name, stage.steps, stage.seconds)
    try:
        with context.interruptible():
            work = partial(pipeline.run, request, context)
            asset = run_planned(work, request, context, card_of(device))
            display.state("writing")
            write_files(asset, output, sheet)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        what = f"Cannot write {error.filename or output}: {error.strerror}."
        raise CommandError(what, "Free some space, or name another disk.", "no_space", Exit.PROBLEM) from error
    except Stopped as stopped:
        what = "Stopped before there was an object to keep."
        raise CommandError(what, "Run the same command again.", "stopped", Exit.INTERRUPTED) from stopped
    checkpoint.unlink(missing_ok=True)


def mini_note(pipeline: str, store: Store) -> str:
    """One line of at most 80 characters that says that the embedded model is at work, and what else there would be.

    Args:
        pipeline: Which needs weights.
        store: Of the published models.
    """
    usable = (State.CONVERTED, State.PUBLISHED)
    if any(store.presence(model).state in usable for model in needed_by(pipeline)):
        return "Embedded mini model; --preset full uses the published weights that are here."
    return "Embedded mini model: no published weights are here (dreamlift models list)."


def choose_device(wanted: str) -> torch.device:
    """The device of a job.

    Args:
        wanted: "auto" takes the first CUDA device where there is one, else the CPU; or torch's own name for one.

    Raises:
        CommandError: where that device is not on this machine.
    """
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise CommandError(f"{wanted!r} is not a device.", "Use auto, cpu, cuda or cuda:1.", "bad_device") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        what = f"There is no {wanted} on this machine ({torch.cuda.device_count()} CUDA devices)."
        raise CommandError(what, "Use --device cpu, or ask `dreamlift doctor` why.", "bad_device")
    return device


def write_files(asset: Asset, output: Path, sheet: Path | None) -> None:
    """Write the GLB and the sheet; a file appears whole or not at all.

    Args:
        asset: What to write.
        output: GLB.
        sheet: PNG, or None.
    """
    from dreamlift.assets.contact_sheet import contact_sheet
    from dreamlift.assets.glb import write_glb

    whole = output.with_name(f".{output.stem}-{os.getpid()}.glb")
    try:
        write_glb(asset, whole)
        whole.replace(output)
        if sheet is not None:
            from PIL import Image

            whole = sheet.with_name(f".{sheet.stem}-{os.getpid()}.png")
            Image.fromarray(contact_sheet(asset)).save(whole)
            whole.replace(sheet)
    finally:
        whole.unlink(missing_ok=True)


def fingerprint(request: Request) -> str:
    """Eight hex digits that differ where two requests differ; a checkpoint belongs to one request."""
    parts = [request.pipeline, request.preset, request.prompt, request.negative_prompt, request.seed]
    parts += [request.weights] if request.weights != TRAINED else []
    parts += [f"{role} {hashlib.sha256(data).hexdigest()}" for role, data in sorted(request.images.items())]
    text = json.dumps([*parts, sorted(request.settings.items())], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
