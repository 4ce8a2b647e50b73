"""The continuous cut against the exact one on a graph, and against what its formula promises."""

from __future__ import annotations

import itertools

import numpy as np

from dreamlift.preprocessing.minimum_cut import minimum_cut


def energy(taken, wish, weight):
    """sum w |grad u| + u f, as the module says it, of a yes-or-no picture."""
    u = taken.astype(float)
    down, right = np.diff(u, axis=0, append=u[-1:]), np.diff(u, axis=1, append=u[:, -1:])
    return float((weight * np.hypot(down, right)).sum() + (u * wish).sum())


def test_no_picture_of_nine_pixels_has_a_cheaper_cut():
    chance = np.random.default_rng(0)
    for _ in range(5):
        wish, weight = chance.normal(0, 1, (3, 3)), np.full((3, 3), 0.3)
        every = (np.array(bits).reshape(3, 3) for bits in itertools.product((0, 1), repeat=9))
        least = min(energy(taken, wish, weight) for taken in every)
        found = minimum_cut(wish, weight, steps=2000) > 0.5
        assert energy(found, wish, weight) <= least + 0.15, "cut at one half it is optimal up to the isotropic length"


def test_noise_is_outvoted_by_its_neighbours():
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    wish = np.where(truth, -1.0, 1.0) + np.random.default_rng(1).normal(0, 1.5, truth.shape)
    assert ((wish < 0) != truth).mean() > 0.2
    assert ((minimum_cut(wish, np.full(truth.shape, 2.0), steps=300) > 0.5) != truth).mean() < 0.03


def test_without_a_length_every_pixel_gets_its_wish():
    wish = np.random.default_rng(2).normal(0, 1, (20, 20))
    assert ((minimum_cut(wish, np.zeros((20, 20))) > 0.5) == (wish < 0)).all()
