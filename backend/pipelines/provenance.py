"""Where a result came from: what every asset and every sheet of views says of its making.

Knows a prior's name and licence, the request and the memory plan. Knows no method.
"""

from __future__ import annotations

import time
from typing import Any

from dreamlift import __version__
from dreamlift.memory.plan import Plan

from .context import Provenance, Request


def provenance_of(prior: Any, request: Request, started: float, plan: Plan | None) -> Provenance:
    """Where a result came from.

    Args:
        prior: Whose weights made it.
        request: What was asked.
        started: When, in seconds of the monotonic clock.
        plan: How it ran; None where nobody planned.
    """
    return Provenance(
        pipeline=request.pipeline,
        preset=request.preset,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        weights=prior.name,
        licence=prior.licence,
        commercial_use=prior.commercial_use,
        dreamlift=__version__,
        seconds=round(time.monotonic() - started, 1),
        settings=dict(request.settings),
        memory=plan.words() if plan else "",
    )
