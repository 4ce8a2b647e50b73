"""Scalars that change over a run: piecewise-linear schedules and annealed timestep ranges.

Knows steps and numbers. Knows no optimiser and no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Schedule:
    """A piecewise-linear scalar: constant before the first point and after the last [systems.md 0.2].

    Args:
        points: (step, value) in ascending order of steps, at least one. Two points (s0, v0), (s1, v1) are the
            specification's S(s0, v0, v1, s1).
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.points]
        if not steps or steps != sorted(steps):
            raise ValueError(f"A schedule needs points in ascending order of steps, not {self.points}.")

    def __call__(self, step: float) -> float:
        """The value at a step."""
        before = [(s, v) for s, v in self.points if s <= step]
        after = [(s, v) for s, v in self.points if s > step]
        if not before or not after:
            return self.points[0 if after else -1][1]
        (s0, v0), (s1, v1) = before[-1], after[0]
        return v0 + (v1 - v0) * (step - s0) / (s1 - s0)

    def stretched(self, factor: float) -> Schedule:
        """The same course over `factor` times as many steps."""
        return Schedule(tuple((step * factor, value) for step, value in self.points))


def constant(value: float) -> Schedule:
    """The same value at every step."""
    return Schedule(((0, value),))


def ramp(start_step: float, start: float, end: float, end_step: float) -> Schedule:
    """S(s0, v0, v1, s1) of the specification: v0 until s0, linear to v1 at s1, constant after."""
    return Schedule(((start_step, start), (end_step, end)))


def draw_timestep(lowest: float, highest: float, count: int, generator: torch.Generator) -> int:
    """One timestep, uniform over the integers from `lowest` to `highest`, both given as shares of `count` timesteps.

    Args:
        lowest: Share of the schedule, in [0, 1].
        highest: Share of the schedule, in [lowest, 1].
        count: Timesteps of the schedule, 1000 for all Stable Diffusion descendants.
        generator: Of the draw, on the CPU.

    Returns:
        A timestep in [0, count - 1]. One is drawn for all views and objects of a step [systems.md 6.5].
    """
    low, high = (min(max(int(share * count), 0), count - 1) for share in (lowest, highest))
    return low + int(torch.randint(max(high - low, 0) + 1, (1,), generator=generator))
