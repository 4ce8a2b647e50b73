"""MV-SDS: multi-view score distillation in x0 form, with classifier-free guidance and its rescale.

Knows the loss of MVDream and ImageDream [systems.md 1.3, 6.5 and 5.5]. Knows no renderer, no representation and no
model: a prior is anything that answers `MultiViewPrior`, so tests put in an analytic denoiser.

    code                  symbol        source
    latents               x             VAE latents of the renderings, with gradient
    noisy                 x_t           alpha_t x + sigma_t eps
    guided                xhat0_cfg     xhat0_u + w (xhat0_c - xhat0_u), convention (a) of 1.1
    target                xhat0         phi r xhat0_cfg + (1 - phi) xhat0_cfg
    r                     r             std(xhat0_c) / std(xhat0_cfg) over all views of one object
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dreamlift.priors.contract import Condition
from dreamlift.rendering.cameras import Cameras

Told = Tensor | Condition
"""What a denoiser is told: text (B, L, D), or a family's own condition of B rows."""


class MultiViewPrior(Protocol):
    """What MV-SDS asks of a prior. `MVDreamPrior` and `ImageDreamPrior` are the real ones."""

    alphas_cumprod: Tensor
    image_size: int

    def encode_images(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] to scaled latents (N, C, h, w), a posterior sample, with gradient."""
        ...

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Scaled latents (N, C, h, w) to pictures (N, 3, H, W) in [0, 1], without gradient."""
        ...

    def predict_x0(self, x_t: Tensor, t: Tensor, context: Told, cameras: Cameras, views: int = 4) -> Tensor:
        """Clean latents (N, C, h, w) from noisy ones, timesteps (N,), a condition of N rows and N cameras."""
        ...


@dataclass(frozen=True)
class Guidance:
    """How strongly the condition pulls.

    Args:
        scale: w of classifier-free guidance, convention u + w (c - u) [systems.md 1.1 a]. At 1 the unconditional side
            is not asked.
        rescale: phi in [0, 1]; 0 leaves the guided prediction, 1 gives it the conditional one's spread [1.3].
        views: Views of one object that attend to each other.
        image_size: Height and width in pixels at which the prior sees the renderings; None takes its own. The mini
            prior was trained at half its size too, which costs a quarter.
        latent_weight: Of the published loss, the residual in latents. 0 skips the gradient through the encoder.
        image_weight: Of the same residual in pictures, ||x - D(xhat0)||^2, an addition known from HiFA (Zhu and
            Zhuang 2023). A small VAE's encoder has directions in which pixels change much and latents little: the
            latent loss leaves those to chance and paints in false colours, the picture loss does not.
        rows: Most noisy latents that the prior is asked about at once, a multiple of `views`; 0 asks about all. The
            answer is the same up to rounding, the memory is less.
    """

    scale: float = 50.0
    rescale: float = 0.5
    views: int = 4
    image_size: int | None = None
    latent_weight: float = 1.0
    image_weight: float = 0.0
    rows: int = 0


@dataclass(frozen=True)
class BothSides:
    """Both sides of the guidance, of one kind: what is wanted, and what is not (a negative prompt, no picture).

    Args:
        positive: One row for everything, or one a set of views.
        negative: As many rows.
    """

    positive: Told
    negative: Told

    def rows(self, count: int) -> Told:
        """The wanted side for `count` views, then the other: 2 * count rows.

        Raises:
            ValueError: The sides' rows do not divide the views.
        """
        sides = [self._repeated(side, count) for side in (self.positive, self.negative)]
        return torch.cat(sides) if isinstance(sides[0], Tensor) else sides[0].cat(sides)

    def wanted(self, count: int) -> Told:
        """The wanted side alone for `count` views: all that a guidance of 1 needs.

        Raises:
            ValueError: As `rows`.
        """
        return self._repeated(self.positive, count)

    def _repeated(self, side: Told, count: int) -> Told:
        if len(self.positive) != len(self.negative) or count % len(side):
            raise ValueError(
                f"{len(self.positive)} and {len(self.negative)} rows of a condition do not fit {count} views; "
                "give both sides one row, or one a set of views."
            )
        times = count // len(side)
        return side.repeat_interleave(times, 0) if isinstance(side, Tensor) else side.repeat_interleave(times)


@dataclass(frozen=True)
class MvSdsResult:
    """Outcome of one step.

    Args:
        loss: 0.5 sum ||x - stopgrad(xhat0)||^2 / N over N views, in latents, pictures or both; backpropagate it.
        target: xhat0, what the prior would rather see, latents. (N, C, h, w).
        timestep: The shared t.
    """

    loss: Tensor
    target: Tensor
    timestep: int


def mv_sds(
    prior: MultiViewPrior,
    images: Tensor,  # (N, 3, H, W)
    cameras: Cameras,
    condition: BothSides,
    timestep: int,
    guidance: Guidance,
    generator: torch.Generator | None = None,
) -> MvSdsResult:
    """The MV-SDS loss of N = objects * views renderings at one shared timestep.

    Args:
        prior: The denoiser; no gradient passes through it, only through its image encoder.
        images: Renderings in [0, 1], views of an object side by side; resized to what the prior sees.
            (N, 3, H, W).
        cameras: One each, N.
        condition: What the prior is told, both sides of the guidance.
        timestep: t in [0, 999], shared by the whole batch as in the published code [systems.md 9.1.8].
        guidance: Scale, rescale and views.
        generator: Of the noise and of the encoder's sample, on the images' device; None uses torch's global one.

    Returns:
        An `MvSdsResult`. The gradient in a latent is (x - xhat0) / N, that is sigma_t / alpha_t (eps_cfg - eps) / N if
        the rescale is 0.

    Raises:
        ValueError: Where N is not a multiple of the views, or the cameras are not N.
    """
    count = len(images)
    if count % guidance.views or len(cameras) != count:
        raise ValueError(
            f"{count} images and {len(cameras)} cameras do not make objects of {guidance.views} views; "
            f"give one camera an image and a multiple of {guidance.views}."
        )
    size = guidance.image_size or prior.image_size
    if images.shape[-1] != size:
        images = torch.nn.functional.interpolate(images, (size, size), mode="bilinear", align_corners=False)
    with torch.set_grad_enabled(torch.is_grad_enabled() and guidance.latent_weight > 0):
        latents = prior.encode_images(images, generator)
    with torch.no_grad():
        noise = torch.randn(latents.shape, generator=generator, device=latents.device, dtype=latents.dtype)
        noisy = add_noise(latents, noise, prior.alphas_cumprod[timestep].to(latents))
        target = guided_x0(prior, noisy, cameras, condition, timestep, guidance)
    loss = guidance.latent_weight * 0.5 * (latents - target.to(latents)).square().sum() / count
    if guidance.image_weight > 0:
        residual = images - prior.decode_latents(target).to(images)
        loss = loss + guidance.image_weight * 0.5 * residual.square().sum() / count
    return MvSdsResult(loss, target, timestep)


def add_noise(latents: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = sqrt(abar) x + sqrt(1 - abar) eps [systems.md 1]; `alpha_bar` is a scalar in [0, 1]."""
    return alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise


def guided_x0(
    prior: MultiViewPrior,
    noisy: Tensor,  # (N, C, h, w)
    cameras: Cameras,
    condition: BothSides,
    timestep: int,
    guidance: Guidance,
) -> Tensor:
    """The prior's guided and rescaled estimate of the clean latents.

    Args:
        prior: The denoiser, asked once for both sides together; for the wanted side alone where the scale is 1.
        noisy: x_t. (N, C, h, w).
        cameras: N cameras.
        condition: What the prior is told, both sides of the guidance.
        timestep: The shared t.
        guidance: Scale, rescale and views.

    Returns:
        (N, C, h, w). x0 is affine in the noise prediction, so guiding x0 equals guiding the noise; and x0 stays well
        conditioned at zero terminal SNR, where dividing by alpha_t does not.
    """
    count = len(noisy)
    if guidance.scale == 1:  # u + 1 (c - u) is c, whose spread needs no rescale either: half the work
        return _asked(prior, noisy, cameras, condition.wanted(count), timestep, guidance)
    both = Cameras(cameras.c2w.repeat(2, 1, 1), cameras.fovy.repeat(2))
    answers = _asked(prior, noisy.repeat(2, 1, 1, 1), both, condition.rows(count), timestep, guidance)
    conditional, unconditional = answers.chunk(2)
    guided = unconditional + guidance.scale * (conditional - unconditional)
    return rescale(guided, conditional, guidance.rescale, guidance.views)


def _asked(
    prior: MultiViewPrior, noisy: Tensor, cameras: Cameras, context: Told, timestep: int, guidance: Guidance
) -> Tensor:
    """The prior's x0 for R noisy latents, as many at once as `guidance.rows` says; (R, C, h, w) float32."""
    cameras = cameras.to(noisy.device)
    t = torch.full((len(noisy),), timestep, dtype=torch.long, device=noisy.device)
    rows = guidance.rows or len(noisy)
    pieces = [slice(k, k + rows) for k in range(0, len(noisy), rows)]
    answers = [
        prior.predict_x0(noisy[some], t[some], context[some], cameras[some], views=guidance.views) for some in pieces
    ]
    return torch.cat(answers).float()


def rescale(
    guided: Tensor,  # (N, C, h, w)
    conditional: Tensor,  # (N, C, h, w)
    share: float,
    views: int,
) -> Tensor:
    """Bring the spread of the guided prediction back towards the conditional one's [systems.md 1.3].

    Args:
        guided: xhat0 with guidance. (N, C, h, w).
        conditional: xhat0 of the prompt alone. (N, C, h, w).
        share: phi; 0 returns `guided` as it is, 1 gives every object exactly the conditional spread.
        views: Standard deviations are taken over all views of an object together.

    Returns:
        (N, C, h, w).
    """
    spread = [value.view(-1, views * value[0].numel()).std(dim=1) + 1e-8 for value in (conditional, guided)]
    ratio = (spread[0] / spread[1]).repeat_interleave(views).view(-1, 1, 1, 1)
    return guided * (share * ratio + 1 - share)
