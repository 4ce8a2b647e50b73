"""How many seeds and pictures go through a card at once: more on larger ones, one where it is tight."""

from __future__ import annotations

import pytest

from dreamlift.memory.batches import MOST_SEEDS, pictures_at_once, seeds_at_once
from dreamlift.memory.cards import GIB, SIZES, card_of_size, computer
from dreamlift.memory.plan import plan_for

NAMES = {("imagedream", "full"): (10, 4), ("v3d", "full"): (36, 0)}


def planned(name, card):
    return name, plan_for(*name, card), card


@pytest.mark.parametrize("name", NAMES, ids="-".join)
def test_a_larger_card_never_draws_fewer_seeds_at_once(name):
    counts = [seeds_at_once(*planned(name, card_of_size(size)), *NAMES[name]) for size in SIZES]
    assert counts == sorted(counts) and counts[0] >= 1 and counts[-1] == MOST_SEEDS


def test_an_orbit_is_drawn_alone_and_decoded_in_groups_where_it_is_tight():
    name, small, large = ("v3d", "full"), card_of_size(8), card_of_size(80)
    assert seeds_at_once(*planned(name, small), 36) == 1
    assert 1 <= pictures_at_once(*planned(name, small), 18) < 18 == pictures_at_once(*planned(name, large), 18)
    groups = [pictures_at_once(*planned(name, card_of_size(size)), 18) for size in SIZES]
    assert groups == sorted(groups) and all(18 % count == 0 for count in groups)


def test_a_processor_draws_one_seed_at_a_time_and_nobody_s_plan_too():
    name, card = ("imagedream", "full"), computer(64 * GIB)
    assert seeds_at_once(*planned(name, card), 10, 4) == 1
    assert seeds_at_once(name, None, card_of_size(80), 10, 4) == 1
    assert pictures_at_once(name, None, card, 4) == 4
