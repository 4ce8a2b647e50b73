"""The fit: what many noisy pictures of a line of nodes agree on comes out, with its edge and without their noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.ndimage import gaussian_filter1d

from dreamlift.distillation.texture_fit import FitSettings, fit

NODES = 120
NEIGHBOURS = np.stack([np.arange(NODES - 1), np.arange(1, NODES)], 1)
TRUTH = np.where(np.arange(NODES)[:, None] < 60, [[0.9, 0.1, 0.1]], [[0.2, 0.3, 0.8]]).astype(np.float32)
BAKED = np.full((NODES, 3), 0.5, np.float32)


def pictures(count, noise, seed=0):
    """Each picture sees every third to fourth node as the mean of three, noisily."""
    chance = np.random.default_rng(seed)
    starts = np.concatenate([np.arange(chance.integers(0, 3), NODES - 3, 3) for _ in range(count)])
    places = (np.repeat(np.arange(len(starts)), 3), (starts[:, None] + np.arange(3)).ravel())
    effect = sparse.csr_matrix((np.full(3 * len(starts), 1 / 3, np.float32), places), (len(starts), NODES))
    wanted = effect @ (TRUTH - BAKED) + noise * chance.standard_normal((len(starts), 3))
    return effect, wanted.astype(np.float32), np.full(len(starts), 1 / count, np.float32)


def test_noise_goes_and_the_edge_stays():
    effect, wanted, weights = pictures(6, noise=0.1)
    found = BAKED + fit(effect, wanted, weights, BAKED, NEIGHBOURS, FitSettings(variation=0.1, keep=1e-4))
    assert np.abs(found - TRUTH)[[*range(5, 56), *range(64, 115)]].max() < 0.08  # 0.043; the pictures' noise is 0.1
    assert np.abs(found[62:64].mean(0) - found[56:58].mean(0)).min() > 0.15  # of jumps of 0.7, 0.2 and 0.7
    loose = BAKED + fit(effect, wanted, weights, BAKED, NEIGHBOURS, FitSettings(variation=0.0, keep=1e-4))
    assert np.abs(loose - TRUTH).mean() > 5 * np.abs(found - TRUTH).mean()


def test_soft_pictures_are_explained_by_a_sharper_texture():
    effect = sparse.identity(NODES, np.float32, "csr")

    def soften(rows):
        return gaussian_filter1d(rows, 2.0, 0, mode="nearest")

    wanted = soften(TRUTH - BAKED).astype(np.float32)
    given = (effect, wanted, np.ones(NODES, np.float32), BAKED, NEIGHBOURS)
    settings = FitSettings(keep=1e-5, reweightings=20)
    plain, sharp = (np.abs(BAKED + fit(*given, settings, *how) - TRUTH)[55:65, 0] for how in ((), (soften,)))
    assert plain.mean() > 0.1 and sharp.mean() < 0.5 * plain.mean()


def test_what_no_picture_shows_keeps_its_colour():
    effect, wanted, weights = pictures(4, noise=0.0)
    unseen = np.asarray(effect.sum(0)).ravel() == 0
    alone = FitSettings(variation=0.0)
    assert unseen.any()
    assert np.abs(fit(effect, wanted, weights, BAKED, NEIGHBOURS, alone)[unseen]).max() == 0


@pytest.mark.parametrize("keep", [0.0, 1e-3])
def test_pictures_that_agree_with_the_texture_change_nothing(keep):
    effect, wanted, weights = pictures(3, noise=0.0)
    still = fit(effect, 0 * wanted, weights, BAKED, NEIGHBOURS, FitSettings(keep=keep))
    assert np.abs(still).max() < 1e-6


def test_the_same_question_has_the_same_answer():
    effect, wanted, weights = pictures(3, noise=0.1)
    first, second = (fit(effect, wanted, weights, BAKED, NEIGHBOURS, FitSettings()) for _ in range(2))
    assert (first == second).all()


def test_a_node_that_few_pixels_see_beside_an_edge_takes_no_odd_colour():
    first = sparse.identity(NODES, np.float32, "csr")[:60]  # the picture ends here, the rest keeps what was baked
    last = sparse.csr_matrix((np.array([0.9, 0.1], np.float32), ([0, 0], [59, 60])), (1, NODES))
    wanted = np.concatenate([(TRUTH - BAKED)[:60], (TRUTH - BAKED)[59:60] + 0.1])  # a pixel at an end is a bit off
    given = (sparse.vstack([first, last]).tocsr(), wanted, np.ones(61, np.float32), BAKED, NEIGHBOURS)
    beaded, calm = (fit(*given, FitSettings(least=least)) for least in (0.0, FitSettings.least))
    between = np.sort(np.stack([np.zeros(3), (TRUTH - BAKED)[59]]), axis=0)

    def outside(residual):
        return np.maximum(between[0] - residual[60], residual[60] - between[1]).max()

    assert outside(beaded) > 0.25 and outside(calm) < 0.6 * outside(beaded)
