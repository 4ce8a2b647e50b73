"""The EDM sampler on denoisers whose answer is known, and against diffusers' scheduler of the same settings."""

from __future__ import annotations

import pytest
import torch

from dreamlift.priors import edm


def test_levels_fall_from_the_largest_to_the_least_and_then_to_nothing():
    levels = edm.sigmas(25, 0.002, 700.0)
    assert len(levels) == 26 and levels[-1] == 0
    assert levels[0] == pytest.approx(700.0) and levels[-2] == pytest.approx(0.002, rel=1e-5)
    assert (levels[1:] < levels[:-1]).all()
    assert edm.sigmas(1, 0.002, 700.0) == pytest.approx(torch.tensor([700.0, 0.0]))


@pytest.mark.parametrize(("steps", "low", "high"), [(0, 0.002, 700.0), (5, 0.0, 700.0), (5, 80.0, 0.002)])
def test_levels_that_cannot_be_are_refused(steps, low, high):
    with pytest.raises(ValueError, match="got"):
        edm.sigmas(steps, low, high)


def test_data_of_one_point_are_reached_from_any_noise():
    point = torch.tensor([1.5, -0.25, 0.0])
    levels = edm.sigmas(8, 0.002, 80.0)
    noise = torch.randn(3, generator=torch.Generator().manual_seed(0))
    assert edm.euler(lambda x, sigma: point, edm.start(noise, levels[0]), levels) == pytest.approx(point, abs=1e-4)


def test_normal_data_keep_their_deviation():
    levels = edm.sigmas(400, 0.002, 80.0)
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    drawn = edm.euler(lambda x, sigma: x / (1 + sigma**2), edm.start(noise, levels[0]), levels)
    assert drawn == pytest.approx(noise, rel=0.02, abs=1e-3)  # 400 steps of Euler; exact in the limit


def test_the_right_v_gives_the_data_back():
    sigma = torch.tensor([0.01, 1.0, 50.0])
    data, noise = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    factors = edm.scalings(sigma)
    v = (noise - sigma * data) / (1 + sigma**2).sqrt()
    assert factors.skip * (data + sigma * noise) + factors.out * v == pytest.approx(data, abs=1e-5)
    assert factors.input**2 * (sigma**2 + 1) == pytest.approx(torch.ones(3))
    assert factors.noise == pytest.approx(sigma.log() / 4)


def test_guidance_grows_evenly_over_the_frames():
    assert edm.frame_guidance(1.5, 4.5, 4).flatten().tolist() == pytest.approx([1.5, 2.5, 3.5, 4.5])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' own, of numpy 2
def test_the_twin_scheduler_takes_the_same_steps():
    def network(x, noise_label):
        return torch.sin(3 * x + noise_label)

    def denoise(x, sigma):
        factors = edm.scalings(sigma)
        return factors.skip * x + factors.out * network(factors.input * x, factors.noise)

    scheduler, levels = edm.euler_scheduler(0.002, 80.0), edm.sigmas(6, 0.002, 80.0)
    scheduler.set_timesteps(6)
    assert scheduler.sigmas == pytest.approx(levels, rel=1e-5)
    noise = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert float(scheduler.init_noise_sigma) == pytest.approx(float(edm.start(torch.ones(1), levels[0])))
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    assert edm.euler(denoise, edm.start(noise, levels[0]), levels) == pytest.approx(x, abs=2e-4)
