"""Schedules at the specification's steps, and the range of timesteps."""

import pytest
import torch

from dreamlift.distillation.schedules import Schedule, constant, draw_timestep, ramp


@pytest.mark.parametrize(("step", "value"), [(0, 0.98), (100, 0.968), (4000, 0.5), (8000, 0.02), (9000, 0.02)])
def test_the_published_annealing_has_the_tabulated_values(step, value):
    assert ramp(0, 0.98, 0.02, 8000)(step) == pytest.approx(value)


def test_segments_can_be_chained_and_a_pair_of_neighbours_is_a_step():
    schedule = Schedule(((0, 1.0), (10, 2.0), (11, 5.0), (20, 5.0)))
    assert [schedule(step) for step in (-1, 5, 10, 11, 99)] == [1.0, 1.5, 2.0, 5.0, 5.0]


def test_stretching_keeps_the_values_and_moves_the_steps():
    assert ramp(0, 10, 1000, 5000).stretched(0.1)(500) == 1000
    assert constant(3.0).stretched(7.0)(12) == 3.0


def test_points_out_of_order_are_refused():
    with pytest.raises(ValueError, match="ascending"):
        Schedule(((5, 1.0), (1, 2.0)))


def test_timesteps_fill_their_range_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    drawn = {draw_timestep(0.02, 0.03, 1000, generator) for _ in range(400)}
    assert drawn == set(range(20, 31))
    assert draw_timestep(0.98, 0.98, 1000, generator) == 980
    assert draw_timestep(1.0, 1.0, 1000, generator) == 999
