"""What is cut out of a picture, and how it lies on its square."""

from __future__ import annotations

import numpy as np
from fakes.tiny_view_models import as_file, cut_out

from dreamlift.preprocessing.subject import subject


def test_transparency_tells_the_subject():
    found = subject(as_file(cut_out((100, 80), (2, 3, 42, 23))))
    assert found.method == "alpha" and found.rgba.shape == (80, 100, 4)


def test_the_square_has_the_subject_in_its_middle_at_the_trained_size():
    square = subject(as_file(cut_out((100, 80), (2, 3, 42, 23)))).square(200)
    inside = np.argwhere(square[..., 3] > 128)
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    assert square.shape == (200, 200, 4) and (right - left, bottom - top) == (160, 80)
    assert (left + right, top + bottom) == (200, 200)
