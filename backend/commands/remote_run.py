"""A job on a server: submit, follow, fetch.

Knows the client and the displays. Knows no pipeline. The client bridges lost connections; the job goes on meanwhile.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamlift.client.finding import ClientError
from dreamlift.client.session import Client
from dreamlift.commands.display import Display
from dreamlift.commands.outcomes import CommandError, Exit
from dreamlift.commands.requests import object_request
from dreamlift.commands.servers import server_argument
from dreamlift.pipelines.context import Progress, Request
from dreamlift.protocol import events, messages
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.messages import JobRequest
from dreamlift.protocol.states import JobState

GLB, SHEET = "asset.glb", "contact_sheet.png"


def generate_there(args: argparse.Namespace, output: Path, sheet: Path | None, display: Display) -> None:
    """Run the request of `args` on the server of `args.server` and fetch the files.

    Args:
        args: The command's arguments.
        output: GLB to write.
        sheet: Contact sheet to write, or None.
        display: Shows the run.

    Raises:
        CommandError: no such server, or the job failed or was cancelled.
        ClientError: the server does not answer.
        ProtocolError: the server refuses.
    """
    request = object_request(args)
    with Client(server_argument(args.server)) as client:
        job = client.submit(job_request(request), request.images)
        display.accepted(job)
        wishes = Wishes(client, job, display)
        with wishes.interruptible():
            end = follow(client, job, display, wishes)
        check_end(end, job)
        files = {artifact.name: artifact for artifact in end.artifacts}
        for name, path in ((GLB, output), (SHEET, sheet)):
            if path is None:
                continue
            if name not in files:
                raise CommandError(f"Job {job} left no {name}.", "See `dreamlift jobs show`.", "no_file", Exit.PROBLEM)
            client.download(files[name], path)


def job_request(request: Request) -> JobRequest:
    """The request as it travels; its pictures go beside it, `Client.submit` uploads them."""
    return JobRequest(
        pipeline=request.pipeline,
        preset=request.preset,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        settings=dict(request.settings),
        goal=request.goal,
        seeds=request.seeds,
        weights=request.weights,
    )


class Wishes:
    """Ctrl-C while a job runs elsewhere: once asks for what there is, twice cancels.

    Args:
        client: Connected.
        job: The job's id.
        display: Told of the first wish.
    """

    def __init__(self, client: Client, job: str, display: Display):
        self._client, self._job, self._display = client, job, display
        self._interrupts = 0
        self._asked = False

    def between(self) -> None:
        """Called while the client waits: send the wish, once."""
        if not self._interrupts or self._asked:
            return
        self._asked = True
        self._display.finishing()  # not in the signal handler: it may interrupt a print
        try:
            self._client.finish(self._job)
        except ProtocolError as error:
            if error.code != "wrong_state":
                raise
            self._client.cancel(self._job)  # it had not begun, so there is nothing to keep

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """While inside, Ctrl-C is a wish; the second one cancels the job and raises KeyboardInterrupt."""

        def interrupted(signum, frame):
            self._interrupts += 1
            if self._interrupts > 1:
                raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, before)
            self._cancel()
            raise
        finally:
            signal.signal(signal.SIGINT, before)

    def _cancel(self) -> None:
        try:
            self._client.cancel(self._job)
        except (ClientError, ProtocolError) as error:
            remedy = f"It may go on: dreamlift jobs cancel {self._job}"
            self._display.warning("not_cancelled", f"Job {self._job} could not be cancelled: {error}", remedy)


def follow(client: Client, job: str, display: Display, wishes: Wishes) -> messages.State:
    """Show what happens to a job until it ends.

    Args:
        client: Connected.
        job: Its id.
        display: Shows it.
        wishes: Asked while nothing happens.

    Returns:
        The job's last state.
    """
    state = messages.State(state=JobState.QUEUED)
    for event in client.follow(job, idle=wishes.between):
        if isinstance(event, events.JobChanged):
            state = event.state
            if not state.state.is_terminal:
                display.state(state.state.value)
        elif isinstance(event, events.JobWarned):
            display.warning(event.warning.code, event.warning.what, event.warning.remedy)
        elif isinstance(event, events.JobProgressed):
            _show(event.progress, display)
        elif isinstance(event, events.ServerGone):
            display.state("the server does not answer; waiting for it")
        elif isinstance(event, events.ServerReady):
            display.state("connected")
    return state


def check_end(end: messages.State, job: str) -> None:
    """Raise CommandError unless the job finished with files."""
    if end.state is JobState.FINISHED:
        return
    if end.state is JobState.FAILED and end.problem is not None:
        raise CommandError(end.problem.what, end.problem.remedy, end.problem.code, Exit.PROBLEM)
    if end.state is JobState.CANCELLED:
        what = f"Job {job} was cancelled before there was an object to keep."
        raise CommandError(what, "Run the same command again.", "cancelled", Exit.INTERRUPTED)
    raise CommandError(f"Job {job} ended as {end.state.value}.", "See `dreamlift jobs list`.", "lost", Exit.PROBLEM)


def _show(progress: messages.Progress, display: Display) -> None:
    if progress.position > 0:
        display.state(f"queued, {progress.position} before this one")
    elif progress.position == 0:
        display.state("queued, next")
    else:
        fields = (progress.stage_index, progress.stage_count, progress.step, progress.steps, progress.seconds_left)
        display.progress(Progress(progress.stage, *fields))
