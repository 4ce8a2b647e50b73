"""A picture that is a little too large or beside the object is laid on it; one that has nothing to do with it stays."""

import pytest
import torch

from dreamlift.pipelines.picture_crop import SCALE, Crop


def disc(size=64, radius=0.6, x=0.0, y=0.0):
    ticks = (torch.arange(size) + 0.5) / size * 2 - 1
    down, right = torch.meshgrid(ticks, ticks, indexing="ij")
    away = torch.hypot(right - x, down - y) - radius
    return (0.5 - away * size / 2).clamp(0, 1)


def box(size=64, width=0.5, height=0.7, x=0.0, y=0.0):
    ticks = (torch.arange(size) + 0.5) / size * 2 - 1
    down, right = torch.meshgrid(ticks, ticks, indexing="ij")
    return ((right - x).abs() < width).float() * ((down - y).abs() < height).float()


@pytest.mark.parametrize(("size", "least", "left"), [(32, 0.02, 0.5), (64, 0.036, 0.15)])
def test_a_picture_comes_to_lie_on_the_object(size, least, left):
    picture, own = disc(size, 0.6), disc(size, 0.57, 0.03, -0.02)
    crop = Crop()
    before = (picture - own).square().mean()
    for _ in range(80):
        crop.fit(picture, own)
    scale, right, down = crop.place.detach().tolist()
    assert least < scale < 0.06, "0.051, held back a little: half a pixel is weaker evidence than a whole one"
    assert (right, down) == (pytest.approx(-0.03, abs=0.015), pytest.approx(0.02, abs=0.015))
    moved = crop.of(torch.cat([torch.ones(3, size, size), picture[None]]))
    assert (moved[3] - own).square().mean() < left * before
    assert moved[:3, moved[3] > 0.5].min() > 0.99, "the colour goes with it"


def test_what_is_missing_does_not_make_the_picture_smaller():
    whole = torch.maximum(disc(64, 0.5), box(64, 0.3, 0.08, 0.6))  # a head with a beak
    crop = Crop()
    for _ in range(150):
        crop.fit(whole, disc(64, 0.5))
    assert abs(float(crop.place[0].detach())) < SCALE


def test_an_empty_field_moves_nothing_far():
    crop = Crop()
    for _ in range(150):
        crop.fit(disc(), torch.zeros(64, 64))
    assert crop.place.detach().abs().max() < 0.3


def test_it_goes_on_after_a_stop_as_if_there_had_been_none():
    picture, own = disc(64, 0.6), disc(64, 0.57, 0.03)
    through, first, second = Crop(), Crop(), Crop()
    assert torch.equal(first.state()["crop_place"], torch.zeros(3))
    for _ in range(20):
        through.fit(picture, own)
    for _ in range(8):
        first.fit(picture, own)
    second.load({key: torch.as_tensor(value, dtype=torch.float64) for key, value in first.state().items()})
    for _ in range(12):
        second.fit(picture, own)
    assert torch.allclose(second.place, through.place, atol=1e-6)
    third = Crop()
    third.load({})
    assert torch.equal(third.place.detach(), torch.zeros(3))
