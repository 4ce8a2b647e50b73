"""PNG files written a strip at a time are what another program reads."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from blender_addon.jobs.png import PngEncoder


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("shape", [(1, 1, 4), (7, 5, 3), (300, 257, 4), (64, 2000, 1)])
def test_a_picture_reads_back_as_it_was(shape):
    pixels = picture(*shape)
    data, sha256 = PngEncoder(pixels).result()
    found = np.asarray(Image.open(io.BytesIO(data))).reshape(shape)
    np.testing.assert_array_equal(found, pixels)
    assert sha256 == hashlib.sha256(data).hexdigest()


def test_it_stops_when_its_time_is_over_and_goes_on_later():
    encoder = PngEncoder(picture(500, 500, 4))
    assert not encoder.step(0.0) and not encoder.is_complete
    steps = 0
    while not encoder.is_complete:
        encoder._strip()  # what one turn of `step` does
        steps += 1
    assert steps > 10, "one strip is a small part of it"
    assert Image.open(io.BytesIO(encoder.result()[0])).size == (500, 500)


def test_rows_that_are_not_contiguous_are_taken_too():
    pixels = picture(40, 30, 4)[::-1, ::2]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(PngEncoder(pixels).result()[0]))), pixels)
