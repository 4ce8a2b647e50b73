"""A worker's life: take orders, get warm, run one job after another until the service ends it.

Knows pipelines through the catalog, their context and their results. Knows no clients. Whatever a job does wrong
becomes a typed end of that job; only a crash of the process itself is left to the service's supervision.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from dreamlift.memory.cards import card_of
from dreamlift.memory.step_down import is_out_of_memory, run_planned
from dreamlift.pipelines import catalog
from dreamlift.pipelines.context import Asset, Request, RequestError, SeedViews, Stop, Stopped
from dreamlift.protocol import codec, fields, messages, worker_channel
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.messages import Artifact, Problem
from dreamlift.protocol.worker_channel import Ended
from dreamlift.threads import prepare_threads
from dreamlift.workers.channel import ServiceChannel
from dreamlift.workers.context import WorkerContext
from dreamlift.workers.device import describe_device, expected_device, open_device
from dreamlift.workers.orders import Orders, end_with_service, take_orders
from dreamlift.workers.results import describe, write_results

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerParts:
    """What a worker is made of; tests bring their own scripted parts.

    Args:
        open_pipeline: Name to an object with `plan(request, device)`, `run(request, context)` and, where it draws
            views of seeds, `sample_views(request, context)`.
        save: Writes a result's files into a folder.
        warm_up: Does the heavy imports; gives the device's name and memory.
        open_device: Name to torch device.
    """

    open_pipeline: Callable[[str], Any] = catalog.load
    save: Callable[[Asset | SeedViews, Path], None] = write_results
    warm_up: Callable[[str], tuple[str, int]] = lambda wanted: warm_up(wanted)
    open_device: Callable[[str], Any] = open_device


def warm_up(wanted: str) -> tuple[str, int]:
    """Import torch and every pipeline, load the default's weights, so that the first job starts at once.

    Args:
        wanted: The device.

    Returns:
        The device's name for people and its memory in bytes.
    """
    for name in catalog.PIPELINES:
        catalog.load(name)
    default = Request()
    try:
        catalog.load(default.pipeline).load_prior(default, str(open_device(wanted)))  # kept by the pipeline
    except RequestError as error:
        _log.warning("the default preset's weights cannot be loaded: %s", error)
    return describe_device(wanted)


def run_worker(parts: WorkerParts | None = None) -> NoReturn:
    """Be a worker: the whole process, until its standard input ends, which is how the service ends it.

    Args:
        parts: For tests; None takes the real ones.

    Raises:
        ValueError: No orders came.
    """
    parts = parts or WorkerParts()
    orders, descriptor = take_orders()
    end_with_service(descriptor)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    threads = prepare_threads()  # before torch is imported
    channel = ServiceChannel(orders)
    introduce(channel, orders, parts, threads)
    while True:
        run_job(channel.jobs.get(), channel, orders, parts)


def introduce(channel: ServiceChannel, orders: Orders, parts: WorkerParts, threads: int) -> None:
    """Say hello at once, with the device as far as it is known without torch, get warm, and say hello again.

    Args:
        channel: To the service.
        orders: Of this worker.
        parts: Warms up.
        threads: Compute threads of this process.
    """
    name, memory = expected_device(orders.device, threads)
    channel.say(worker_channel.WorkerHello(pid=os.getpid(), device=name[:120], memory_bytes=memory))
    _log.info("%s is there, process %d, expects %s", orders.name, os.getpid(), name)
    try:
        name, memory = parts.warm_up(orders.device)
    except Exception:  # whatever is wrong with the weights or the device: a job will run into it and say so
        _log.exception("could not get warm; the first job will say why")
        return
    channel.say(worker_channel.WorkerHello(pid=os.getpid(), device=name[:120], memory_bytes=memory, warm=True))


def run_job(assignment: codec.Envelope, channel: ServiceChannel, orders: Orders, parts: WorkerParts) -> None:
    """Run one job to its end and say how it ended.

    Args:
        assignment: An `Assign` with its job.
        channel: To the service.
        orders: Of this worker.
        parts: Pipelines, device and files.
    """
    job, assign = assignment.job, assignment.message
    started = time.monotonic()
    _log.info("job %s attempt %d: %s %s", job, assign.attempt, assign.request.pipeline, assign.request.preset)
    artifacts: tuple[Artifact, ...] = ()
    problem = None
    try:
        artifacts = _make(job, assign, channel, orders, parts)
        outcome = "finished"
    except Stopped as stopped:
        outcome = {Stop.CANCEL: "cancelled", Stop.PAUSE: "paused", Stop.FINISH: "failed"}[stopped.reason]
        if outcome == "failed":
            problem = Problem(code="nothing_yet", what="There was nothing to use yet.", remedy="Let it run longer.")
    except Exception as error:  # the job's end; the process goes on
        outcome, problem = "failed", problem_of(error)
        _log.exception("job %s attempt %d failed: %s", job, assign.attempt, problem.code)
    seconds = time.monotonic() - started
    end = Ended(attempt=assign.attempt, outcome=outcome, artifacts=artifacts, problem=problem, seconds=seconds)
    _log.info("job %s attempt %d %s after %.1f s", job, assign.attempt, outcome, seconds)
    channel.say(end, job)


def _make(
    job: str, assign: worker_channel.Assign, channel: ServiceChannel, orders: Orders, parts: WorkerParts
) -> tuple[Artifact, ...]:
    folder = Path(worker_channel.job_folder(orders.home, job))
    results = Path(worker_channel.attempt_folder(orders.home, job, assign.attempt))
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True, mode=0o700)
    context = WorkerContext(channel, job, assign.attempt, folder, lambda: parts.open_device(orders.device))
    request = read_request(assign.request, orders.home)
    pipeline = parts.open_pipeline(request.pipeline)
    if request.goal == "views":
        work = partial(pipeline.sample_views, request, context)
    else:
        for stage in pipeline.plan(request, context.device):
            _log.info("plan: %s, %d steps, about %.0f s", stage.name, stage.steps, stage.seconds)
        work = partial(pipeline.run, request, context)
    result = run_planned(work, request, context, card_of(context.device))
    context.send_thumbnail()
    parts.save(result, results)
    return describe(results)


def read_request(request: messages.JobRequest, home: Path) -> Request:
    """The pipeline's request, with the pictures' bytes.

    Args:
        request: As it came over the wire, checked there.
        home: The service's folder.

    Raises:
        RequestError: "missing_blob": a picture is gone.
    """
    images = {}
    for role, sha256 in request.images.items():
        try:
            images[role] = Path(worker_channel.blob_path(home, sha256)).read_bytes()
        except FileNotFoundError as error:
            raise RequestError("missing_blob", f"The {role} picture is gone.", "Submit the job again.") from error
    return Request(
        pipeline=request.pipeline,
        preset=request.preset,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        settings=request.settings,
        images=images,
        goal=request.goal,
        seeds=request.seeds,
        weights=request.weights,
    )


def problem_of(error: Exception) -> Problem:
    """The typed reason of a failed job. The trace stays in the worker's log."""
    if isinstance(error, RequestError):
        return Problem(
            code=error.code, what=error.what[:1000], remedy=error.remedy[:1000], suggestion=_plain(error.suggestion)
        )
    if is_out_of_memory(error):
        return Problem(
            code="out_of_memory",
            what="The device's memory did not suffice.",
            remedy="Use a smaller preset or texture, or close other programs that use the device.",
        )
    return Problem(
        code="internal_error",
        what=f"The program failed: {type(error).__name__}.",
        remedy="The worker's log on the server has the details.",
    )


def _plain(suggestion: dict[str, Any]) -> dict[str, Any]:
    plain = {}
    for key, value in suggestion.items():
        try:
            plain[key] = fields.scalar(value, key)
        except ProtocolError:
            _log.warning("the suggestion %s=%r cannot travel", key, value)
    return plain
