"""How many seeds' views a device draws in one batch, and how many pictures it decodes at once.

Knows workloads, plans and cards. Knows no model. Like all of these estimates the bytes are counted, not measured on a
GPU; on a CPU a batch of full-size views takes as long as one after the other, so it draws one seed at a time.
"""

from __future__ import annotations

from dataclasses import replace

from .cards import Card
from .plan import Plan, need
from .workloads import WORKLOADS

MOST_SEEDS = 4  # in a batch; more gains nothing, and the first pictures come later


def seeds_at_once(name: tuple[str, str], plan: Plan | None, card: Card, rows: int, decoded: int = 0) -> int:
    """Seeds that fit the device together, at least 1.

    Args:
        name: Pipeline and preset, a key of `WORKLOADS`.
        plan: Of the job; None where nobody planned.
        card: Where it runs.
        rows: Pictures of one denoiser call for one seed, both sides of the guidance.
        decoded: Pictures that go through the VAE's decoder at once, where the workload has no phase of its own for it.
    """
    if plan is None or plan.rows or card.kind == "cpu":
        return 1
    work = WORKLOADS[name]
    for seeds in range(MOST_SEEDS, 1, -1):
        phases = tuple(
            replace(
                phase,
                rows=rows * seeds if phase.denoisers else 0,
                encoded=0,  # a picture is encoded once, without a gradient
                rays=0,
                decoded=decoded or phase.decoded,
            )
            for phase in work.phases
        )
        if need(replace(work, phases=phases), plan, card.kind) <= card.usable_bytes:
            return seeds
    return 1


def pictures_at_once(name: tuple[str, str], plan: Plan | None, card: Card, pictures: int) -> int:
    """Pictures of a seed that the VAE decodes together: the largest divisor of them that fits beside the denoiser.

    Args:
        name: As in `seeds_at_once`.
        plan: As there.
        card: As there.
        pictures: Of one seed.
    """
    if plan is None:
        return pictures
    work = WORKLOADS[name]
    denoisers = tuple(dict.fromkeys(part for phase in work.phases for part in phase.denoisers))
    codec = next(phase for phase in work.phases if phase.codec)
    for together in (count for count in range(pictures, 1, -1) if pictures % count == 0):
        phase = replace(codec, denoisers=denoisers, rows=0, encoded=0, rays=0, decoded=together)
        if need(replace(work, phases=(phase,)), plan, card.kind) <= card.usable_bytes:
            return together
    return 1
