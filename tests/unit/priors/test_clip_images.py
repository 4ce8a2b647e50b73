"""Resizing for CLIP: what must not change does not, and the blur is there only where a picture shrinks."""

from __future__ import annotations

import pytest
import torch

from dreamlift.priors.clip_images import normalise, resize_aligned, resize_antialiased


@pytest.mark.parametrize("resize", [resize_aligned, resize_antialiased])
def test_an_even_picture_stays_even(resize):
    picture = torch.full((1, 3, 100, 60), 0.25)
    assert resize(picture, 28) == pytest.approx(torch.full((1, 3, 28, 28), 0.25), abs=1e-6)


def test_corners_are_kept():
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    small = resize_aligned(picture, 28)
    assert small[..., 0, 0] == pytest.approx(picture[..., 0, 0], abs=1e-6)
    assert small[..., -1, -1] == pytest.approx(picture[..., -1, -1], abs=1e-5)


def test_enlarging_does_not_blur_and_shrinking_does():
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize_antialiased(picture, 100), resize_aligned(picture, 100))
    assert resize_antialiased(picture, 16).std() < 0.6 * resize_aligned(picture, 16).std()


def test_the_average_colour_of_clips_training_becomes_zero():
    average = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
    assert not normalise(average.expand(1, 3, 4, 4)).any()
