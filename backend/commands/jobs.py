"""`dreamlift jobs`: looks at and steers the jobs of a server.

Knows words and tables. Talks through `dreamlift.client`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dreamlift.commands.outcomes import CommandError, Exit, emit

NEWEST = 1000


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command and its six parts."""
    text = "Look at and steer the jobs of a server."
    parts = commands.add_parser("jobs", help=text, description=text).add_subparsers(metavar="ACTION", required=True)

    def part(name: str, run, text: str) -> argparse.ArgumentParser:
        parser = parts.add_parser(name, parents=[common], help=text, description=text)
        where = "this computer's (local, the default), a pairing string, or a name from `dreamlift keys list`"
        parser.add_argument("--server", default="local", metavar="WHERE", help=where)
        parser.add_argument("--json", action="store_true", help="one JSON line per job")
        parser.set_defaults(run=run)
        return parser

    listing = part("list", list_jobs, "The newest jobs.")
    listing.add_argument("--limit", type=int, default=20, help="at most this many (default: 20)")
    for name, run, text in (
        ("show", show, "Everything about one job."),
        ("cancel", cancel, "End a job and drop what it made."),
        ("finish", finish, "Turn what there is into an asset."),
        ("download", download, "Fetch a finished job's files."),
        ("remove", remove, "Forget an ended job and its files."),
    ):
        acting = part(name, run, text)
        acting.add_argument("job", help="its id, or the first characters of it")
        if name == "download":
            acting.add_argument("-o", "--output", type=Path, help="file or folder (default: this folder)")


def list_jobs(args: argparse.Namespace) -> Exit:
    """Print a table, newest first."""
    if args.limit < 1:
        raise CommandError(f"--limit {args.limit} is out of range.", "Give a number from 1.", "bad_limit")
    from dreamlift.client.session import Client
    from dreamlift.commands.servers import server_argument

    with Client(server_argument(args.server)) as client:
        jobs, devices = client.jobs(args.limit), client.welcome.devices
    for job in jobs:
        if args.json:
            emit("job", **as_dict(job))
        else:
            print(
                f"{job.job}  {job.state.value:10} {job.fraction:4.0%}  {_when(job.created)}  {job.request.prompt[:60]}"
            )
    if not jobs and not args.json:
        print('no jobs yet; make one: dreamlift generate "a red mushroom" --server')
    if not args.json:
        print("server: " + (", ".join(f"{device.name} ({device.state})" for device in devices) or "no worker"))
    return Exit.OK


def show(args: argparse.Namespace) -> Exit:
    """Print one job."""
    from dreamlift.client.session import Client
    from dreamlift.commands.servers import server_argument

    with Client(server_argument(args.server)) as client:
        job = find_job(client, args.job)
    if args.json:
        emit("job", **as_dict(job))
        return Exit.OK
    request = job.request
    rows = [("job", job.job), ("state", f"{job.state.value}, {job.fraction:.0%}"), ("prompt", request.prompt)]
    seeds = f"seed {request.seed}" if request.goal == "object" else f"views of seeds {_listed(request.seeds)}"
    rows += [("run", f"{request.pipeline}, preset {request.preset}, {seeds}")]
    rows += [("settings", ", ".join(f"{key}={value}" for key, value in request.settings.items()))]
    rows += [("created", _when(job.created)), ("worked", f"{job.seconds:.0f} s")]
    rows += [("file", f"{file.name} ({file.size / 1e6:.1f} MB)") for file in job.artifacts]
    if job.problem is not None:
        rows += [("problem", f"{job.problem.what} {job.problem.remedy}")]
    for name, value in rows:
        if value:
            print(f"{name:9} {value}")
    return Exit.OK


def cancel(args: argparse.Namespace) -> Exit:
    """Ask for the end of a job."""
    return _steer(args, "cancel")


def finish(args: argparse.Namespace) -> Exit:
    """Ask for what there is."""
    return _steer(args, "finish")


def remove(args: argparse.Namespace) -> Exit:
    """Forget a job."""
    return _steer(args, "remove")


def download(args: argparse.Namespace) -> Exit:
    """Fetch every file of a job into a folder, or its GLB into a file."""
    from dreamlift.client.session import Client
    from dreamlift.commands.servers import server_argument

    with Client(server_argument(args.server)) as client:
        job = find_job(client, args.job)
        if not job.artifacts:
            what = f"Job {job.job} is {job.state.value} and has no files."
            raise CommandError(
                what, "Only finished jobs have files: see `dreamlift jobs list`.", "no_files", Exit.PROBLEM
            )
        for artifact, path in targets(job, args.output or Path.cwd()):
            client.download(artifact, path)
            emit("file", path=str(path), size=artifact.size) if args.json else print(path)
    return Exit.OK


def targets(job: Any, output: Path) -> list[tuple[Any, Path]]:
    """Which file goes where: all into a folder, or the GLB or the sheet alone into a file that ends in .glb or .png.

    Args:
        job: A job's summary with artifacts.
        output: Folder or file.

    Raises:
        CommandError: "bad_output", or "no_file" where the job left no file of that kind.
    """
    if output.is_dir():
        return [(artifact, output / f"{job.job}-{artifact.name}") for artifact in job.artifacts]
    suffix = output.suffix.lower()
    if suffix not in (".glb", ".png"):
        what = f"{output} is no folder and does not end in .glb or .png."
        raise CommandError(what, "Name a folder that exists, or a .glb or .png file.", "bad_output")
    found = [(artifact, output) for artifact in job.artifacts if artifact.name.endswith(suffix)][:1]
    if not found:
        what = f"Job {job.job} left no {suffix} file, but {_listed(artifact.name for artifact in job.artifacts)}."
        raise CommandError(what, "Name a folder to get them all.", "no_file", Exit.PROBLEM)
    return found


def _listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things))


def find_job(client: Any, start: str) -> Any:
    """The one job whose id begins with `start`, among the server's newest.

    Raises:
        CommandError: there is none, or more than one.
    """
    found = [job for job in client.jobs(NEWEST) if job.job.startswith(start.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(f"No job's id begins with {start!r}.", "See `dreamlift jobs list`.", "unknown_job")
    several = ", ".join(job.job for job in found[:5])
    raise CommandError(f"{len(found)} jobs begin with {start!r}: {several}.", "Give more characters.", "many_jobs")


def as_dict(job: Any) -> dict[str, Any]:
    """A job's summary for JSON."""
    request = job.request
    problem = job.problem and {"code": job.problem.code, "what": job.problem.what, "remedy": job.problem.remedy}
    return {
        "job": job.job,
        "state": job.state.value,
        "fraction": job.fraction,
        "prompt": request.prompt,
        "pipeline": request.pipeline,
        "preset": request.preset,
        "seed": request.seed,
        "goal": request.goal,
        "seeds": list(request.seeds),
        "settings": dict(request.settings),
        "created": job.created,
        "seconds": job.seconds,
        "position": job.position if job.position >= 0 else None,
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in job.artifacts],
        "problem": problem,
    }


def _steer(args: argparse.Namespace, action: str) -> Exit:
    from dreamlift.client.session import Client
    from dreamlift.commands.servers import server_argument

    with Client(server_argument(args.server)) as client:
        job = find_job(client, args.job).job
        steer = {"cancel": client.cancel, "finish": client.finish, "remove": client.remove}[action]
        state = steer(job).value
    emit(action, job=job, state=state) if args.json else print(f"{job}  {state}")
    return Exit.OK


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
