"""Backgrounds that a border tells: one field, two, none; shadows and the subject at the edge."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dreamlift.preprocessing.border_plane import differing, fit_background

SHAPE = (120, 160)
Y, X = np.mgrid[0 : 1 : SHAPE[0] * 1j, 0 : 1 : SHAPE[1] * 1j].astype(np.float32)
THING = ((X - 0.5) * 160) ** 2 + ((Y - 0.5) * 120) ** 2 < 30**2


def picture(ground, noise=0.004, thing=THING):
    chance = np.random.default_rng(0)
    colours = np.broadcast_to(ground, (*SHAPE, 3)).copy()
    colours[thing] = (0.8, 0.15, 0.1)
    colours = ndimage.gaussian_filter(colours, (0.6, 0.6, 0))
    return (colours + chance.normal(0, noise, colours.shape)).clip(0, 1).astype(np.float32)


def overlap(found, truth=THING):
    return (found & truth).sum() / (found | truth).sum()


GRADIENT = np.stack([0.5 + 0.3 * X, 0.6 - 0.2 * Y, 0.5 + 0.1 * X * Y], -1)
VIGNETTE = 0.8 - 0.5 * ((X - 0.5) ** 2 + (Y - 0.5) ** 2)[..., None].repeat(3, -1)
TABLE = np.where((Y > 0.62 + 0.05 * X)[..., None], np.float32([0.5, 0.4, 0.3]), np.float32([0.8, 0.8, 0.78]))


@pytest.mark.parametrize(
    ("ground", "noise", "fields"),
    [((0.8, 0.8, 0.78), 0.004, 1), (GRADIENT, 0.004, 1), (VIGNETTE, 0.004, 1), (GRADIENT, 0.05, 1), (TABLE, 0.004, 2)],
    ids=["plain", "gradient", "vignette", "noise", "a wall and a table"],
)
def test_smooth_grounds_are_told_and_what_differs_is_the_thing(ground, noise, fields):
    colours = picture(ground, noise)
    background = fit_background(colours)
    assert background.is_sure and background.fields == fields and background.agreeing > 0.95
    assert overlap(differing(colours, background)) > (0.82 if noise > 0.01 else 0.88), "opacity at the edge comes later"


def test_a_rough_ground_is_not_taken_for_a_smooth_one():
    rough = ndimage.gaussian_filter(np.random.default_rng(3).normal(0, 1, (*SHAPE, 1)), (3, 3, 0))
    assert not fit_background(picture(0.5 + 0.15 * rough / rough.std())).is_sure


def test_a_soft_shadow_is_ground_and_a_grey_thing_is_not():
    shadow = 0.2 * np.exp(-(((X - 0.6) / 0.35) ** 2 + ((Y - 0.7) / 0.25) ** 2))[..., None]
    colours = picture(np.float32([0.85, 0.85, 0.83]) * (1 - shadow))
    assert overlap(differing(colours, fit_background(colours))) > 0.88
    grey = np.full((*SHAPE, 3), 0.85, np.float32)
    grey[THING] = 0.6
    assert overlap(differing(grey, fit_background(grey))) > 0.9


def test_a_subject_that_reaches_the_border_does_not_become_ground():
    bust = (np.abs(X - 0.5) < 0.2) & (Y > 0.4)
    colours = picture((0.8, 0.8, 0.78), thing=bust)
    background = fit_background(colours)
    assert background.is_sure and background.fields == 1 and background.agreeing < 0.97
    assert overlap(differing(colours, background), bust) > 0.88


def test_a_higher_threshold_asks_for_a_larger_difference():
    colours = picture((0.8, 0.8, 0.78))
    background = fit_background(colours)
    sizes = [differing(colours, background, threshold).sum() for threshold in (0.1, 0.5, 0.9)]
    assert sizes == sorted(sizes, reverse=True)
