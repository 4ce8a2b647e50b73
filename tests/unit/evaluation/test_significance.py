"""Intervals and paired comparisons give what is known from tables and from scipy's own bootstrap."""

import numpy as np
import pytest
from scipy import stats

from dreamlift.evaluation.significance import bootstrap, paired


def test_the_interval_of_equal_values_is_that_value():
    assert bootstrap([0.5] * 7) == (0.5, 0.5)


def test_the_interval_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(3).gamma(2.0, 1.0, 24)
    known = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(5)).confidence_interval
    # Both draw 9,999 or 10,000 times: the ends differ by the draws' own noise, 0.012 at most over five seeds.
    assert bootstrap(values) == pytest.approx((known.low, known.high), abs=0.03)


def test_the_same_values_give_the_same_interval():
    assert bootstrap([1.0, 2.0, 5.0]) == bootstrap([1.0, 2.0, 5.0])


def test_six_wins_out_of_six_have_the_p_of_the_table():
    result = paired([2, 3, 4, 5, 6, 7], [1, 1, 1, 1, 1, 1])
    assert result.p == pytest.approx(2 / 2**6), "the exact two-sided value: both of 64 equally likely signs at the end"
    assert (result.wins, result.difference, result.pairs) == (1.0, 3.5, 6)
    assert result.low <= 3.5 <= result.high


def test_wilcoxons_own_example_keeps_its_p():
    """Heights of 15 pairs of corn plants (Darwin): T = 24, two-sided exact p = 0.0413."""
    steps = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert paired(steps, [0] * 15).p == pytest.approx(0.0413, abs=5e-4)


def test_where_smaller_is_better_the_smaller_wins():
    result = paired([1, 2, 3], [2, 3, 3], at_most=True)
    assert result.wins == pytest.approx(2.5 / 3), "a tie counts half"
    assert result.difference < 0 and result.p is None, "two differing pairs prove nothing"


def test_rounding_is_a_tie():
    assert paired([0.1 + 0.2] * 8, [0.3] * 8).wins == 0.5


def test_lists_of_other_lengths_are_refused_and_empty_ones_say_nothing():
    with pytest.raises(ValueError, match="2 and 1"):
        paired([1, 2], [1])
    assert paired([], []) is None
