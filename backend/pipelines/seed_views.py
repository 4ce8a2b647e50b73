"""Views before geometry: what a prior draws from each of several seeds, as the artist watches.

Knows batches, progress, previews and the wish to stop. Knows no model: a pipeline brings a `ViewSource`, whatever its
condition (text, a picture) and however many views it draws (four sides, V3D's orbit of 18).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dreamlift.memory.apply import preferred_attention

from .context import Context, Progress, Request, SeedViews, Stop, Stopped, ViewsPreview
from .provenance import provenance_of

log = logging.getLogger(__name__)

PREVIEW_SIZE = 128  # pixels a side of a picture while it forms; the result has the model's own size

Look = Callable[[], Tensor]
"""Decodes what a step has come to: (seeds * views, 3, H, W) in [0, 1]."""


class ViewSource(Protocol):
    """A prior with its condition, ready to draw the views of any seed.

    A seed's views must not depend on the other seeds of its batch, up to rounding.
    """

    names: tuple[str, ...]  # of the views, such as "front"
    steps: int  # that `draw` takes
    most_at_once: int  # seeds that fit the device together

    def draw(self, seeds: Sequence[int]) -> Iterator[Look]:
        """Sample the views of some seeds in one batch; gives one look a step, the last one is the result."""
        ...


def draw_views(
    make_source: Callable[[], ViewSource], prior: Any, request: Request, context: Context, started: float
) -> SeedViews:
    """Sample the request's seeds and say where the pictures came from.

    Args:
        make_source: Gives the model with its condition.
        prior: For the provenance.
        request: Seeds, and what the provenance repeats.
        context: Of the job.
        started: When the job began, seconds of the monotonic clock.

    Raises:
        Stopped: The context asked for CANCEL or PAUSE; nothing is kept.
    """
    with preferred_attention(context.plan, context.device):
        source = make_source()
        images, seeds = sample_seeds(source, request.seeds, context)
    about = provenance_of(prior, replace(request, seed=seeds[0]), started, context.plan)
    return SeedViews(images, source.names, seeds, about)


def sample_seeds(
    source: ViewSource,
    seeds: Sequence[int],
    context: Context,
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Draw the views of seeds, as many at once as the source says.

    Args:
        source: Model and condition.
        seeds: One a row.
        context: Is told the progress, shown the pictures as they form, and asked whether to stop.

    Returns:
        (S, V, H, W, 3) uint8 and their seeds: all of them, or, after a FINISH, those there were pictures of; the ones
        that were being drawn as far as they had come.

    Raises:
        Stopped: On CANCEL and PAUSE, and on a FINISH before the first step. Nothing is kept: a paused job begins again.
    """
    done: list[np.ndarray] = []
    batches = [tuple(seeds[k : k + source.most_at_once]) for k in range(0, len(seeds), source.most_at_once)]
    total, began = source.steps * len(batches), time.monotonic()
    for index, batch in enumerate(batches):
        look = None
        for step, look in enumerate(source.draw(batch), index * source.steps + 1):
            spent = time.monotonic() - began
            context.progress(Progress("views", 0, 1, step, total, spent / step * (total - step)))
            reason = context.should_stop()
            if reason in (Stop.CANCEL, Stop.PAUSE):
                raise Stopped(reason)
            if reason is Stop.FINISH:
                break
            if step < total and context.wants_preview():
                _show(context, source, seeds, [*done, _pictures(look, len(source.names))])
        if look is None:
            raise Stopped(context.should_stop() or Stop.FINISH)
        done.append(_pictures(look, len(source.names)))
        if context.should_stop() is Stop.FINISH:
            break
    _show(context, source, seeds, done)
    log.info("drew the views of %d seeds in %.1f s", len(seeds), time.monotonic() - began)
    images = np.concatenate(done)
    return images, tuple(seeds[: len(images)])


def _pictures(look: Look, views: int) -> np.ndarray:
    """(S, V, H, W, 3) uint8."""
    images = (look().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return images.reshape(-1, views, *images.shape[1:])


def _show(context: Context, source: ViewSource, seeds: Sequence[int], done: list[np.ndarray]) -> None:
    images = np.concatenate(done)
    step = -(-max(images.shape[2:4]) // PREVIEW_SIZE)
    small = images[:, :, ::step, ::step].reshape(-1, *images[0, 0, ::step, ::step].shape)
    context.publish(ViewsPreview(np.ascontiguousarray(small), source.names, tuple(seeds[: len(images)])))
