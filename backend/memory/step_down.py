"""An out-of-memory inside a run: once, the job goes on from its last checkpoint one rung down; twice, it ends in words.

Knows plans, a job's context and the shelf of loaded models. Knows no pipeline: the caller says what to run.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from dreamlift.pipelines.context import Request, RequestError

from . import shelf
from .cards import Card
from .fit import fitting_presets, plan_or_refuse
from .plan import Plan, next_rung

log = logging.getLogger(__name__)
Result = TypeVar("Result")
COMPILE = "DREAMLIFT_COMPILE"  # 1 compiles denoisers: minutes once, then a faster step; worth it for long runs


class PlannedContext(Protocol):
    """What this needs of a job's context; the pipeline reads `plan`."""

    plan: Plan | None

    def warn(self, code: str, what: str, remedy: str) -> None:
        """Tell the artist something that does not stop the job."""


def run_planned(work: Callable[[], Result], request: Request, context: PlannedContext, card: Card) -> Result:
    """Do a job's work by the plan of its card; after an out-of-memory once more by the next rung.

    Args:
        work: Runs the pipeline. Called again it must go on from the context's last checkpoint.
        request: Whose pipeline and preset are planned.
        context: Gets the plan, and hears of a step down.
        card: Where the job runs.

    Returns:
        What `work` returns.

    Raises:
        RequestError: "does_not_fit" before anything starts; "out_of_memory" where the memory ran out twice, or once
            with no rung left.
    """
    context.plan = plan_or_refuse(request.pipeline, request.preset, card)
    if context.plan is not None:
        context.plan = replace(context.plan, compiled=wants_compiled(card, context.plan))
        log.info("memory plan: %s", context.plan.words())
    lower = None
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if context.plan is not None:
            lower = next_rung(request.pipeline, request.preset, card, context.plan)
        if lower is None:
            raise exhausted(request, card) from error
        log.warning("out of memory: %s", str(error))  # a record that held the error would hold its tensors
    # Out here the error is gone, and with its traceback the tensors of the failed step.
    shelf.clear()
    context.plan = lower
    log.warning("memory plan, one step down: %s", lower.words())
    what = "The device's memory did not suffice."
    context.warn("stepped_down", what, f"The job goes on from its last checkpoint with less: {lower.words()}.")
    try:
        return work()
    except Exception as error:
        if is_out_of_memory(error):
            raise exhausted(request, card) from error
        raise


def wants_compiled(card: Card, plan: Plan) -> bool:
    """Whether somebody asked for `torch.compile` and it can help: on CUDA, with the denoiser at home there."""
    return os.environ.get(COMPILE) == "1" and card.kind == "cuda" and plan.offload == "none"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the device's or the computer's memory did not suffice."""
    if isinstance(error, MemoryError):
        return True
    # torch's CPU allocator raises a plain RuntimeError; its text is the only sign.
    named = type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))


def exhausted(request: Request, card: Card) -> RequestError:
    """The error of a job whose memory ran out for good."""
    what = f"The memory of {card.name} did not suffice for preset {request.preset!r}, even with less at once."
    presets = [name for name in fitting_presets(request.pipeline, card) if name != request.preset]
    smaller = [presets[-1]] if presets else []
    remedy = "Close other programs that use the device" + (f", or use preset {smaller[0]!r}." if smaller else ".")
    return RequestError("out_of_memory", what, remedy, {"preset": smaller[0]} if smaller else None)
