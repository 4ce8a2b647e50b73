"""How sure a mean and a difference are: bootstrap intervals and paired comparisons.

Knows numbers only. The unit is the object: seeds of one object are averaged before anything is drawn or ranked, since
they share its difficulty (evaluation.md, section 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

DRAWS = 10_000
_LEAST_PAIRS = 6  # fewer differing pairs cannot reach 5 % whatever their signs


def bootstrap(values: Sequence[float], draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean by the percentile bootstrap.

    Args:
        values: One for each object, at least one.
        draws: How often the objects are drawn again.
        seed: Of the draws.

    Returns:
        The 2.5 % and 97.5 % quantiles of the drawn means.
    """
    known = np.asarray(values, np.float64)
    drawn = known[np.random.default_rng(seed).integers(0, len(known), (draws, len(known)))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


@dataclass(frozen=True)
class Paired:
    """One variant against another on the same objects.

    Args:
        pairs: Objects that both have a value for.
        difference: Mean of first less second.
        low: Lower end of the difference's 95 % bootstrap interval.
        high: Its upper end.
        wins: Share of the objects on which the first is better; a tie counts half.
        p: Two-sided Wilcoxon signed rank; None where fewer than six pairs differ.
    """

    pairs: int
    difference: float
    low: float
    high: float
    wins: float
    p: float | None


def paired(first: Sequence[float], second: Sequence[float], at_most: bool = False) -> Paired | None:
    """Compare two variants, object by object.

    Args:
        first: One value for each object.
        second: The same objects in the same order.
        at_most: True where smaller is better.

    Returns:
        None where there are no objects.

    Raises:
        ValueError: Lengths differ.
    """
    if len(first) != len(second):
        raise ValueError(f"A paired comparison needs equally many values, got {len(first)} and {len(second)}.")
    if not len(first):
        return None
    steps = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    steps[np.abs(steps) < 1e-12] = 0.0  # rounding is not a difference
    better = -steps if at_most else steps
    wins = float(np.mean((better > 0) + 0.5 * (better == 0)))
    differing = int(np.count_nonzero(steps))
    p = float(wilcoxon(steps[steps != 0]).pvalue) if differing >= _LEAST_PAIRS else None
    return Paired(len(steps), float(steps.mean()), *bootstrap(steps), wins, p)
