"""Which cut-outs are one thing, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest

from dreamlift.pipelines.context import RequestError
from dreamlift.preprocessing import judging


def cut(*boxes, size=(120, 160)):
    found = np.zeros(size, bool)
    for top, left, bottom, right in boxes:
        found[top:bottom, left:right] = True
    return found


def opacity(*boxes, size=(120, 160)):
    return cut(*boxes, size=size).astype(np.uint8) * 255


BIG = (20, 20, 80, 80)


def test_one_thing_stays_as_it_is():
    kept, remarks = judging.one_thing(cut(BIG))
    assert (kept == cut(BIG)).all() and not remarks


def test_dust_goes_without_a_word_and_a_smaller_thing_with_one():
    kept, remarks = judging.one_thing(cut(BIG, (100, 100, 102, 103)))
    assert (kept == cut(BIG)).all() and not remarks
    kept, remarks = judging.one_thing(cut(BIG, (90, 100, 115, 125)))
    assert (kept == cut(BIG)).all() and [remark.code for remark in remarks] == ["things_left_out"]
    assert "1 smaller thing beside" in remarks[0].what


def test_parts_with_a_hair_between_them_are_one_thing():
    kept, remarks = judging.one_thing(cut(BIG, (20, 82, 80, 110)))
    assert kept[40, 100] and not remarks


@pytest.mark.parametrize(
    ("boxes", "code"),
    [
        ([], "no_subject"),
        ([BIG, (20, 100, 70, 150)], "several_subjects"),
        ([BIG] + [(5 + 30 * n, 110, 22 + 30 * n, 130) for n in range(3)], "several_subjects"),
        ([(0, 0, 120, 155)], "needs_mask"),
    ],
)
def test_what_cannot_be_one_thing_is_refused(boxes, code):
    with pytest.raises(RequestError) as caught:
        judging.one_thing(cut(*boxes))
    assert caught.value.code == code and caught.value.what.endswith(".") and caught.value.remedy.endswith(".")


def test_a_subject_cut_by_the_edge_is_told_with_the_side():
    said = judging.cut_off(opacity((60, 20, 120, 80)))
    assert [remark.code for remark in said] == ["cut_off"] and "(bottom)" in said[0].what
    assert "(bottom and right)" in judging.cut_off(opacity((60, 100, 120, 160)))[0].what
    assert not judging.cut_off(opacity(BIG)), "it does not touch"
    assert not judging.cut_off(opacity((0, 0, 120, 160))), "trimmed on all four sides"


def test_sizes_are_told_in_the_picture_s_own_pixels():
    with pytest.raises(RequestError, match="5 x 10 pixels"):
        judging.check_size(opacity((20, 20, 30, 25)))
    assert [remark.code for remark in judging.check_size(opacity((20, 20, 30, 25)), scale=4)] == ["small_subject"]
    assert not judging.check_size(opacity((5, 5, 110, 60)))


def test_a_cut_out_in_parts_is_kept_and_told():
    assert not judging.pieces(opacity(BIG))
    assert "2 separate parts" in judging.pieces(opacity(BIG, (20, 100, 70, 150)))[0].what
