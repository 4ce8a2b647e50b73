"""What is cut out of a picture, by which way, and how it lies on its square. Odd files are in `test_odd_files.py`."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.tiny_view_models import as_file, cut_out
from PIL import Image, ImageDraw, ImageFilter

from dreamlift.pipelines.context import RequestError
from dreamlift.preprocessing.placing import frame_of
from dreamlift.preprocessing.subject import subject

SIZE = (200, 150)
DISC = (60, 35, 140, 115)
RED, GROUND = (200, 30, 30), (205, 205, 200)


def mask(box=DISC, size=SIZE, mode="L"):
    image = Image.new("L", size)
    ImageDraw.Draw(image).ellipse(box, fill=255)
    return image.convert(mode)


def photo(blur: float = 0.0):
    image = Image.new("RGB", SIZE, GROUND)
    image.paste(RED, (0, 0), mask())
    return image.filter(ImageFilter.GaussianBlur(blur))


def taken(found):
    return found.rgba[..., 3] > 127


def overlap(found, box=DISC):
    truth = np.asarray(mask(box)) > 127
    return (taken(found) & truth).sum() / (taken(found) | truth).sum()


def test_the_square_has_the_subject_in_its_middle_at_the_trained_size():
    square = subject(as_file(cut_out((100, 80), (2, 3, 42, 23)))).square(200)
    inside = np.argwhere(square[..., 3] > 128)
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    assert square.shape == (200, 200, 4) and (right - left, bottom - top) == (160, 80)
    assert (left + right, top + bottom) == (200, 200)


@pytest.mark.parametrize("box", [(2, 3, 42, 23), (0, 7, 61, 80), (31, 11, 44, 78)])
def test_in_its_frame_the_subject_lies_to_a_fraction_of_a_pixel(box):
    found, size = subject(as_file(cut_out((100, 80), box))), 64
    x, y, side = frame_of(found.rgba)
    assert (x, y) == ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    framed = found.framed(size)[..., 3] / 255
    assert framed.shape == (size, size)
    pixel = side / size  # of the picture, one of the result
    assert framed.sum(1).max() == pytest.approx((box[2] - box[0]) / pixel, rel=0.01)
    assert framed.sum(0).max() == pytest.approx((box[3] - box[1]) / pixel, rel=0.01)
    ticks = np.arange(size) + 0.5
    assert (framed.sum(0) * ticks).sum() / framed.sum() == pytest.approx(size / 2, abs=0.02)
    assert (framed.sum(1) * ticks).sum() / framed.sum() == pytest.approx(size / 2, abs=0.02)


def test_nothing_has_no_frame():
    with pytest.raises(ValueError, match="cannot frame"):
        frame_of(np.zeros((4, 4, 4), np.uint8))


def test_a_mask_wins_over_everything_else():
    small = (80, 55, 120, 95)
    for picture in (photo(), photo().convert("RGBA"), cut_out(SIZE, (20, 20, 180, 130))):
        found = subject(as_file(picture), as_file(mask(small)))
        assert found.method == "mask" and overlap(found, small) > 0.95


@pytest.mark.parametrize("size", [(100, 75), (400, 300), (199, 150)])
def test_a_mask_of_another_resolution_fits(size):
    scaled = mask().resize(size)
    assert overlap(subject(as_file(photo()), as_file(scaled))) > 0.95


def test_a_mask_painted_on_nothing_counts_as_painted():
    for color in ((255, 255, 255), (0, 0, 0)):
        painted = Image.new("RGBA", SIZE, (*color, 0))
        painted.putalpha(mask())
        assert overlap(subject(as_file(photo()), as_file(painted))) > 0.97


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"no picture", "The file is not a"),
        (as_file(mask(size=(150, 200))), "200 x 150 pixels and its mask 150 x 200"),
        (as_file(Image.new("L", SIZE)), "marks nothing that can be seen"),
        (as_file(Image.new("L", SIZE, 255)), "white everywhere"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused_in_words(data, says):
    with pytest.raises(RequestError) as caught:
        subject(as_file(photo()), data)
    assert caught.value.code == "bad_mask" and says in caught.value.what and caught.value.remedy.endswith(".")


def test_a_higher_threshold_takes_less_and_a_lower_one_more():
    soft = photo(blur=6)
    areas = [taken(subject(as_file(soft), threshold=value)).sum() for value in (0.1, 0.3, 0.5, 0.8, 0.95)]
    assert areas == sorted(areas, reverse=True) and areas[0] > 1.15 * areas[-1]
    matte = soft.convert("RGBA")
    matte.putalpha(mask().filter(ImageFilter.GaussianBlur(6)))
    areas = [taken(subject(as_file(matte), threshold=value)).sum() for value in (0.1, 0.5, 0.9)]
    assert areas == sorted(areas, reverse=True) and areas[0] > areas[-1]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan")])
def test_a_threshold_out_of_range_is_the_caller_s_mistake(threshold):
    with pytest.raises(ValueError, match="between 0 and 1"):
        subject(as_file(photo()), threshold=threshold)


def test_no_colour_of_the_old_ground_is_left_at_the_edge():
    found = subject(as_file(photo(blur=1)))
    edge = (found.rgba[..., 3] > 40) & (found.rgba[..., 3] < 230)
    assert edge.sum() > 60 and overlap(found) > 0.97
    assert np.abs(found.rgba[edge][:, :3].astype(int) - RED).max() < 40


def test_what_one_sees_is_the_same_every_time():
    noisy = np.asarray(photo()) + np.random.default_rng(0).normal(0, 40, (*SIZE[::-1], 3))
    data = as_file(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    assert (subject(data).rgba == subject(data).rgba).all()
    assert overlap(subject(data)) > 0.9
