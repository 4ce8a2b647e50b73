# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures of some seeds, to choose one before making the object. One at a time; no bpy, no sockets.

Knows the job that draws them and the newest pictures. What is chosen starts a job of its own, with the prompt that the
pictures show, whatever the panel says meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..protocol.messages import JobRequest, Views
from .job import Job

SEED_COUNT = 4
SHOWN_VIEWS = 4  # pictures a seed; an orbit of more is thinned out


@dataclass
class SeedPreview:
    """One press of Preview Seeds.

    Args:
        job: Draws the views; its request names the seeds.
        pictures: Newest pictures by seed, (V, H, W, 3) uint8 each.
        complete: Whether these are the finished ones.
        fresh: Whether there are pictures that nobody has shown yet.
    """

    job: Job
    pictures: dict[int, np.ndarray] = field(default_factory=dict)
    complete: bool = False
    fresh: bool = False

    def take(self, message: Views) -> None:
        """Newer pictures of some of the seeds. What does not fit the request is left alone."""
        seeds, names = message.seeds, message.names
        if not seeds or len(message.images) != len(seeds) * len(names) or self.complete:
            return
        images = message.images.reshape(len(seeds), len(names), *message.images.shape[1:])
        self._keep(seeds, images)

    def finish(self, images: np.ndarray) -> None:
        """The finished pictures of all seeds, (S, V, H, W, 3); fewer where the job was ended early."""
        self._keep(self.job.request.seeds[: len(images)], images)
        self.complete = True

    def rows(self) -> list[tuple[int, list[np.ndarray]]]:
        """Each seed with the pictures to show, none where there are none yet."""
        return [(seed, _thinned(self.pictures.get(seed))) for seed in self.job.request.seeds]

    def chosen(self, seed: int, settings: dict) -> JobRequest:
        """The request that makes an object from one of the seeds: prompt and preset are those of the pictures.

        Args:
            seed: One of the request's.
            settings: Of the object.

        Raises:
            ValueError: The seed is none of these.
        """
        drawn = self.job.request
        if seed not in drawn.seeds:
            raise ValueError(f"seed {seed} is none of {drawn.seeds}")
        return JobRequest(
            pipeline=drawn.pipeline,
            preset=drawn.preset,
            prompt=drawn.prompt,
            negative_prompt=drawn.negative_prompt,
            seed=seed,
            settings=settings,
            images=drawn.images,
            name=drawn.name,
        )

    def _keep(self, seeds, images: np.ndarray) -> None:
        for seed, row in zip(seeds, images, strict=False):
            if seed in self.job.request.seeds:
                self.pictures[seed] = row
        self.fresh = True


def _thinned(row: np.ndarray | None) -> list[np.ndarray]:
    if row is None:
        return []
    count = min(len(row), SHOWN_VIEWS)
    return [row[index * len(row) // count] for index in range(count)]
