"""Which state may follow which."""

from __future__ import annotations

import pytest

from dreamlift.protocol.states import ACTIVE, MOVES, TERMINAL, IllegalMove, JobState, check_move


@pytest.mark.parametrize("before", list(JobState))
@pytest.mark.parametrize("after", list(JobState))
def test_only_listed_moves_are_legal(before, after):
    if after in MOVES[before]:
        check_move(before, after)
    else:
        with pytest.raises(IllegalMove, match=before.value):
            check_move(before, after)


def test_an_ended_job_can_only_be_removed():
    for state in TERMINAL - {JobState.REMOVED}:
        assert MOVES[state] == {JobState.REMOVED}
    assert not MOVES[JobState.REMOVED]


def test_every_job_can_end():
    for state in JobState:
        reached, fresh = {state}, {state}
        while fresh:
            fresh = {after for before in fresh for after in MOVES[before]} - reached
            reached |= fresh
        assert JobState.REMOVED in reached


def test_no_state_is_both_active_and_ended():
    assert not ACTIVE & TERMINAL
