"""GrabCut on grounds that no colour field explains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dreamlift.preprocessing.border_plane import fit_background
from dreamlift.preprocessing.grabcut import Mixture, grab

SHAPE = (120, 160)
Y, X = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
THING = (X - 80) ** 2 + (Y - 60) ** 2 < 32**2


def rough(seed=0):
    chance = np.random.default_rng(seed).normal(0, 1, (*SHAPE, 1))
    soft = ndimage.gaussian_filter(chance, (3, 3, 0))
    return np.clip(np.float32([0.45, 0.5, 0.42]) + 0.14 * soft / soft.std(), 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def picture():
    colours = rough()
    colours[THING] = (0.75, 0.2, 0.15)
    return ndimage.gaussian_filter(colours, (0.7, 0.7, 0))


def test_a_thing_on_rough_ground_is_found(picture):
    cut = grab(picture, fit_background(picture))
    taken = cut.share > 0.5
    assert (taken & THING).sum() / (taken | THING).sum() > 0.93 and cut.contrast > 5


def test_rough_ground_alone_has_no_contrast_or_no_cut():
    cut = grab(rough(1), fit_background(rough(1)))
    assert cut is None or cut.contrast < 4 or (cut.share > 0.5).mean() < 0.02


def test_a_mixture_knows_its_own_colours():
    chance = np.random.default_rng(0)
    red, blue = chance.normal((0.8, 0.1, 0.1), 0.03, (500, 3)), chance.normal((0.1, 0.1, 0.8), 0.03, (500, 3))
    mixture = Mixture.fit(np.concatenate([red, blue]))
    assert mixture.weights.sum() == pytest.approx(1)
    likely = mixture.log_density(np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]]))
    assert min(likely[:2]) > likely[2] + 10
    alone = Mixture.fit(np.full((3, 3), 0.5))
    assert np.isfinite(alone.log_density(np.array([[0.5, 0.5, 0.5]]))).all(), "one colour is a mixture too"
