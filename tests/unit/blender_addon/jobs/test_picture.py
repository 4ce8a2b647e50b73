"""A picture on its way from its file to a request: what is asked when, what the artist's marks do."""

from __future__ import annotations

import hashlib
import io
import time

import numpy as np
import pytest
from blender_addon.protocol.errors import ProtocolError
from blender_addon.protocol.messages import Cutout, Problem
from PIL import Image

from blender_addon.jobs import picture as rules
from blender_addon.jobs.picture import DROP, KEEP, LEAVE, PicturePrompt

SHA = "ab" * 32


def prompt(data: bytes = b"a picture") -> PicturePrompt:
    made = PicturePrompt("key", "ball.png", io.BytesIO(data))
    made.step(float("inf"))
    return made


def ball(side: int = 32) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    rgba = np.full((side, side, 4), 200, np.uint8)
    rgba[..., 3] = np.where(x**2 + y**2 < 0.5, 255, 0)
    return rgba


def answered(rgba: np.ndarray | None = None, method: str = "plane") -> PicturePrompt:
    made = prompt()
    made.ask()
    made.take(Cutout(sha256=SHA, method=method, rgba=ball() if rgba is None else rgba))
    return made


def sent(made: PicturePrompt) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(bytes(made.upload(True).data))))


def test_the_file_is_read_in_slices_and_hashed_on_the_way(monkeypatch):
    monkeypatch.setattr(rules, "SLICE", 4)
    made = PicturePrompt("key", "ball.png", io.BytesIO(b"0123456789"))
    assert made.why_not(True) == "The image is being read"
    made.step(time.perf_counter() - 1)
    assert made.source is None, "no time, no step"
    made.step(float("inf"))
    assert bytes(made.source.data) == b"0123456789"
    assert made.source.sha256 == hashlib.sha256(b"0123456789").hexdigest()


def test_an_empty_file_is_a_problem_in_words():
    made = prompt(b"")
    assert made.source is None and made.problem.code == "bad_image" and "ball.png" in made.why_not(True)


def test_the_server_is_asked_once_and_again_when_the_slider_rests():
    made = prompt()
    assert made.want(0.5, 10.0)
    assert made.ask()[1] == 0.5 and not made.want(0.5, 10.1), "one question at a time"
    made.take(Cutout(sha256=SHA, method="plane", rgba=ball()))
    assert not made.want(0.5, 11.0)
    for moment, value in ((12.0, 0.6), (12.2, 0.7)):
        assert not made.want(value, moment), "it still moves"
    assert made.want(0.7, 12.3 + rules.PATIENCE)
    assert made.ask()[1] == 0.7


def test_a_refusal_is_said_and_another_threshold_asks_again():
    made = prompt()
    made.ask()
    made.refuse(ProtocolError("bad_image", "It is damaged.", "Save it again."))
    assert made.why_not(True) == "It is damaged." and not made.want(0.5, 1.0)
    made.want(0.6, 2.0)
    assert made.want(0.6, 3.0)


def test_without_cutting_out_the_file_goes_as_it_is():
    made = prompt()
    assert made.why_not(False) == "" and bytes(made.upload(False).data) == b"a picture"
    assert made.why_not(True) == "The subject is being cut out"


def test_the_subject_travels_as_png_with_transparency():
    made = answered()
    assert made.why_not(True) == "" and made.fresh
    np.testing.assert_array_equal(sent(made), ball())


def test_nothing_found_asks_for_a_mask_and_shows_the_picture_dimmed():
    rgba = ball()
    rgba[..., 3] = 0
    made = answered(rgba, "")
    assert "Edit Mask" in made.why_not(True) and not made.has_subject
    np.testing.assert_array_equal(made.shown(), (rgba[..., :3] * rules.DIM).astype(np.uint8))


def test_light_strokes_keep_dark_ones_drop_and_the_rest_stays():
    made = answered()
    canvas = made.canvas()
    assert canvas[0, 0, 0] < canvas[16, 16, 0] == 200
    canvas[0:4, 0:4], canvas[15:17, 15:17] = 255, 0
    mask = made.painted(canvas)
    assert (mask[0:4, 0:4] == KEEP).all() and (mask[15:17, 15:17] == DROP).all()
    assert (mask == LEAVE).sum() == 32 * 32 - 16 - 4
    made.apply_mask(mask)
    alpha = sent(made)[..., 3]
    assert (alpha[0:4, 0:4] == 255).all() and not alpha[15:17, 15:17].any()
    again = made.canvas()
    assert again[0, 0, 0] == 200, "what is kept is light on the next canvas"
    np.testing.assert_array_equal(made.painted(again), mask)


def test_marks_of_another_size_count_as_none_and_a_new_threshold_keeps_fitting_ones():
    made = answered()
    made.apply_mask(np.full((5, 5), KEEP, np.uint8))
    assert made.mask is None
    made.apply_mask(np.full((32, 32), KEEP, np.uint8))
    made.take(Cutout(sha256=SHA, method="plane", rgba=ball()))
    assert made.mask is not None and (sent(made)[..., 3] == 255).all()
    made.take(Cutout(sha256=SHA, method="plane", rgba=ball(16)))
    assert made.mask is None


def test_the_shown_picture_is_small_and_chequered_where_nothing_is():
    shown = answered(ball(1000)).shown()
    assert max(shown.shape[:2]) <= rules.SHOWN_SIDE
    height, width = shown.shape[:2]
    assert len(np.unique(shown[:20, :20])) == 2 and (shown[height // 2, width // 2] == 200).all()


def test_a_small_subject_is_shown_close_with_some_room_around_it():
    rgba = np.full((400, 600, 4), 200, np.uint8)
    rgba[..., 3] = 0
    rgba[300:340, 515:595, 3] = 255
    shown = answered(rgba).shown()
    assert shown.shape == (40 + 2 * 12, 80 + 12 + 5, 3), "less room where the picture ends"


@pytest.mark.parametrize("problem", [Problem(code="bad_image", what="It is gone.")])
def test_a_picture_without_a_file_says_why(problem):
    made = PicturePrompt("key", "x", None, problem)
    made.step(float("inf"))
    assert made.why_not(False) == made.why_not(True) == "It is gone." and not made.want(0.5, 1.0)
