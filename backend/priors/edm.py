"""The EDM formulation that Stable Video Diffusion and V3D are trained in: noise levels, preconditioning, Euler.

Knows formulas; knows no network. Source: Karras et al. 2022 ("Elucidating the Design Space"), equations 5 and 7 and
algorithm 1 without churn, in the v-prediction form of checkpoints.md section 4. `euler_scheduler` is diffusers' twin.
Glossary: sigma noise level, x = x_0 + sigma n, D(x, sigma) the denoised sample, F the raw network,
D = c_skip x + c_out F(c_in x, c_noise).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor


@dataclass(frozen=True)
class Scalings:
    """The four factors around the raw network, each of sigma's shape."""

    skip: Tensor
    out: Tensor
    input: Tensor
    noise: Tensor


def scalings(sigma: Tensor) -> Scalings:
    """Preconditioning of v-prediction with unit data deviation.

    c_skip = 1 / (s^2 + 1), c_out = -s / sqrt(s^2 + 1), c_in = 1 / sqrt(s^2 + 1), c_noise = ln(s) / 4.

    Args:
        sigma: Noise levels above 0, any shape.
    """
    total = sigma.square() + 1
    return Scalings(1 / total, -sigma / total.sqrt(), 1 / total.sqrt(), 0.25 * sigma.log())


def sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Noise levels of the sampler, falling, with a last 0: (steps + 1,) float32.

    Args:
        steps: At least 1.
        sigma_min: Least level above 0.
        sigma_max: First level.
        rho: Spacing; larger puts more levels near 0. Default 7.0.

    Raises:
        ValueError: `steps` is below 1, or the levels are not 0 < sigma_min <= sigma_max.
    """
    if steps < 1:
        raise ValueError(f"The sampler needs at least 1 step, got {steps}; V3D takes 25.")
    if not 0 < sigma_min <= sigma_max:
        raise ValueError(f"Noise levels must be 0 < sigma_min <= sigma_max, got {sigma_min} and {sigma_max}.")
    ramp = torch.linspace(0, 1, steps)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])


def start(noise: Tensor, sigma_max: float | Tensor) -> Tensor:
    """The sampler's start from unit noise: data and noise have their deviations added, sqrt(1 + sigma_max^2)."""
    return noise * (1 + torch.as_tensor(sigma_max) ** 2).sqrt().to(noise)


def euler(denoise: Callable[[Tensor, Tensor], Tensor], x: Tensor, levels: Tensor) -> Tensor:
    """The sample at the last level, of x's shape; arguments as in `euler_steps`."""
    last = x
    for step, _ in euler_steps(denoise, x, levels):
        last = step
    return last


def euler_steps(
    denoise: Callable[[Tensor, Tensor], Tensor], x: Tensor, levels: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Follow the probability flow with Euler's method.

    Args:
        denoise: D(x, sigma), guidance included; sigma comes as a scalar tensor.
        x: The start, see `start`.
        levels: Falling noise levels, see `sigmas`. (steps + 1,).

    Yields:
        After every step: the sample, whose last one is the result, and the denoised sample that the step saw.
    """
    for sigma, following in zip(levels[:-1], levels[1:], strict=True):
        denoised = denoise(x, sigma)
        slope = (x - denoised) / sigma
        x = x + slope * (following - sigma)  # published order: it loses digits from 700 down, equally in both codes
        yield x, denoised


def frame_guidance(first: float, last: float, frames: int) -> Tensor:
    """Guidance of every frame, linear from the first to the last: (frames, 1, 1, 1)."""
    return torch.linspace(first, last, frames).view(-1, 1, 1, 1)


def euler_scheduler(sigma_min: float, sigma_max: float) -> EulerDiscreteScheduler:
    """diffusers' scheduler with the same levels (3.5e-7 relative) and steps, for code that wants one."""
    with torch.device("cpu"):  # its tables have values even while a model is laid out on the meta device
        return EulerDiscreteScheduler(
            num_train_timesteps=1000,
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            use_karras_sigmas=True,
            sigma_min=sigma_min,
            sigma_max=sigma_max,
            timestep_type="continuous",
            timestep_spacing="leading",
            steps_offset=1,
        )
