"""Plans by card: the table, the ladder's order, precision by card, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from dreamlift.memory.cards import GIB, SIZES, Card, card_of_size, computer
from dreamlift.memory.fit import fitting_presets, plan_or_refuse
from dreamlift.memory.plan import Plan, ladder, least_bytes, need, next_rung, plan_for, table
from dreamlift.memory.workloads import WORKLOADS, Phase, Workload
from dreamlift.pipelines.catalog import PIPELINES
from dreamlift.pipelines.context import RequestError

BIG = card_of_size(80)

# Rung and GiB of each card; docs/performance.md shows the same table.
TABLE = {
    ("mvdream", "mini"): dict.fromkeys(SIZES, (0, 0.4)),
    ("mvdream", "full"): {**dict.fromkeys(SIZES, (0, 8.6)), 8: (2, 6.2)},
    ("imagedream", "mini"): dict.fromkeys(SIZES, (0, 0.4)),
    ("imagedream", "full"): {**dict.fromkeys(SIZES, (0, 10.0)), 8: (4, 5.9)},
    ("dreamcraft3d", "full"): {8: None, 12: (5, 8.6), 16: (5, 8.6), 24: (1, 17.8), 48: (0, 27.2), 80: (0, 27.2)},
    ("v3d", "full"): {**dict.fromkeys(SIZES, (0, 7.7)), 8: (1, 6.6)},
}


@pytest.mark.parametrize(("name", "expected"), TABLE.items(), ids=["-".join(name) for name in TABLE])
def test_the_table_of_cards(name, expected):
    plans = table(*name)
    assert {size: plan and (plan.rung, round(plan.need_bytes / GIB, 1)) for size, plan in plans.items()} == expected


def test_every_preset_of_the_catalog_has_a_workload():
    there = {(name, preset.name) for name, pipeline in PIPELINES.items() for preset in pipeline.presets}
    assert there <= set(WORKLOADS)


@pytest.mark.parametrize("name", WORKLOADS, ids="-".join)
@pytest.mark.parametrize(
    "card", [BIG, card_of_size(80, bfloat16=False), computer(64 * GIB)], ids=lambda card: card.name
)
def test_every_rung_needs_less_than_the_one_above(name, card):
    rungs = ladder(*name, card)
    needs = [plan.need_bytes for plan in rungs]
    assert needs == sorted(needs, reverse=True) and len(rungs) > 1
    assert [plan.rung for plan in rungs] == list(range(len(rungs)))


@pytest.mark.parametrize("name", WORKLOADS, ids="-".join)
def test_a_larger_card_is_never_on_a_tighter_rung(name):
    rungs = [99 if plan is None else plan.rung for plan in table(*name).values()]
    assert rungs == sorted(rungs, reverse=True)


def test_precision_follows_the_card():
    new, old, cpu = (plan_for("mvdream", "full", card) for card in (BIG, card_of_size(80, False), computer(64 * GIB)))
    assert (new.dtype, new.codec_dtype, new.attention) == ("bfloat16", "bfloat16", "flash")
    assert (old.dtype, old.codec_dtype, old.attention) == ("float16", "float32", "efficient")
    assert (cpu.dtype, cpu.codec_dtype, cpu.offload) == ("float32", "float32", "none")
    assert plan_for("mvdream", "mini", BIG).dtype == "float32"  # too small to save on


def test_a_codec_that_overflows_stays_in_float32():
    phase = Phase("frames", ("mvdream unet",), codec="mvdream vae", rows=4, decoded=4)
    work = Workload((), (phase,), tight_codec=True)
    try:
        WORKLOADS["test", "full"] = work
        assert {plan.codec_dtype for plan in ladder("test", "full", BIG)} == {"float32"}
    finally:
        del WORKLOADS["test", "full"]


def test_encoders_count_as_long_as_they_stay():
    work = WORKLOADS["mvdream", "full"]
    kept = Plan(dtype="bfloat16", codec_dtype="bfloat16", attention="flash")
    assert need(work, kept, "cuda") - need(work, replace(kept, release_encoders=True), "cuda") == 2 * 340_387_840


def test_plain_attention_costs_the_matrix_of_all_pairs():
    work = WORKLOADS["mvdream", "full"]
    tiled = Plan(dtype="bfloat16", codec_dtype="bfloat16", attention="flash")
    difference = need(work, replace(tiled, attention="math"), "cuda") - need(work, tiled, "cuda")
    assert difference > 1 * GIB  # 2 groups of 4 views: 2 * 2 * 5 heads * 4096^2 * 2 bytes


def test_one_step_down_is_marked_and_the_last_rung_has_no_next():
    rungs = ladder("mvdream", "full", BIG)
    lower = next_rung("mvdream", "full", BIG, rungs[0])
    assert lower == replace(rungs[2], stepped_down=True) and "one step down" in lower.words()
    assert rungs[1].need_bytes > 0.85 * rungs[0].need_bytes, "a rung that saves next to nothing is passed over"
    assert next_rung("mvdream", "full", BIG, rungs[-1]) is None


def test_what_does_not_fit_is_refused_with_the_preset_that_does():
    small = Card("Old Card", "cuda", 4 * GIB)
    with pytest.raises(RequestError) as caught:
        plan_or_refuse("mvdream", "full", small)
    assert caught.value.code == "does_not_fit" and caught.value.suggestion == {"preset": "mini"}
    assert "Old Card" in caught.value.what and "'mini'" in caught.value.remedy
    assert plan_or_refuse("mvdream", "mini", small).rung == 0


def test_a_device_for_which_nothing_fits_is_told_so_without_a_suggestion():
    with pytest.raises(RequestError) as caught:
        plan_or_refuse("mvdream", "mini", Card("Tiny", "cuda", GIB // 2))
    assert caught.value.code == "does_not_fit" and caught.value.suggestion == {}
    assert fitting_presets("mvdream", Card("Tiny", "cuda", GIB // 2)) == []


def test_a_preset_of_which_nothing_is_known_is_let_through():
    assert plan_or_refuse("somebody's", "own", Card("Tiny", "cuda", 1)) is None
    assert least_bytes("somebody's", "own", BIG) == 0


def test_usable_memory_leaves_room_for_the_driver():
    assert [round(card_of_size(size).usable_bytes / GIB, 1) for size in SIZES] == [6.7, 10.3, 14.0, 21.3, 43.3, 72.7]


def test_planning_needs_no_torch():
    code = "import sys, dreamlift.memory.fit, dreamlift.memory.step_down; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
