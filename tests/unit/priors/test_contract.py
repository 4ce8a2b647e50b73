"""Conditions: batches of tensors that may lack a part."""

import pytest
import torch

from dreamlift.priors.contract import TextContext
from dreamlift.priors.imagedream import ImageContext, rows


@pytest.fixture
def told():
    return ImageContext(torch.arange(6.0).view(2, 3, 1), torch.ones(2, 4, 1), None)


def test_rows_are_repeated_for_the_views_in_order(told):
    views = told.repeat_interleave(4)
    assert len(views) == 8 and views.pixels is None
    assert torch.equal(views.text[:4], told.text[:1].expand(4, -1, -1))


def test_halves_are_joined_and_taken_apart_again(told):
    both = ImageContext.cat([told, told.map(lambda value: value + 10)])
    assert torch.equal(both[2:].text, told.text + 10) and both.pixels is None


def test_a_part_in_one_half_only_is_refused_by_its_name(told):
    other = ImageContext(told.text, told.image, torch.zeros(2, 4, 8, 8))
    with pytest.raises(ValueError, match="pixels is absent in 1 of 2"):
        ImageContext.cat([told, other])


def test_text_alone_goes_to_another_device_whole():
    assert TextContext(torch.zeros(1, 2, 3)).to("meta").text.is_meta


@pytest.mark.parametrize(
    ("have", "want", "first"), [(2, 8, [0, 0, 0, 0, 1, 1, 1, 1]), (8, 2, [0, 4]), (3, 3, [0, 1, 2])]
)
def test_a_row_for_an_object_counts_for_its_frames_and_back(have, want, first):
    assert rows(torch.arange(have), want).tolist() == first


def test_rows_that_do_not_divide_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="3 rows does not fit 8"):
        rows(torch.arange(3), 8)
