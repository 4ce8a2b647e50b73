"""Doing what a plan says to a model: precision, slices, where its blocks live, and encoders that come and go.

Knows priors by the names of their parts (`unet`, `vae`, `text_encoder`, `image_encoder`, `precision`). Knows no
pipeline and no sizes. A prior without such parts, as tests bring them, is left as it is.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from .plan import Plan
from .shelf import free_memory

log = logging.getLogger(__name__)
ENCODERS = ("text_encoder", "image_encoder", "vision")


def place(prior: nn.Module, plan: Plan | None, device: torch.device | str) -> nn.Module:
    """Bring a prior to its device in the precision and the pieces of a plan.

    Args:
        prior: On the CPU; changed in place.
        plan: None moves it as it is.
        device: Where it computes.

    Returns:
        The prior, without gradients to its weights.
    """
    device = torch.device(device)
    prior.requires_grad_(False).eval()
    if plan is None:
        return prior.to(device)
    if plan.dtype != "float32":
        prior.to(getattr(torch, plan.dtype))
        prior.precision = getattr(torch, plan.dtype)
    codec = getattr(prior, "vae", None)
    if codec is not None:
        _place_codec(prior, codec, plan)
    if plan.offload == "blocks":
        _stream(prior, device)
    prior.to(device) if plan.offload == "none" else _rest_to(prior, device)
    if plan.compiled:
        prior.unet.compile()  # in place: the names of its weights stay
    return prior


def _place_codec(prior: nn.Module, codec: nn.Module, plan: Plan) -> None:
    nn.Module.to(codec, getattr(torch, plan.codec_dtype))  # diffusers' own `to` warns of modules that it does not have
    if plan.codec_dtype != plan.dtype:
        prior.codec_precision = getattr(torch, plan.codec_dtype)
    if plan.vae == "recomputed":
        codec.enable_slicing()
        codec.enable_gradient_checkpointing()


def _stream(prior: nn.Module, device: torch.device) -> None:
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(
        prior.unet,
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type="leaf_level",
        use_stream=device.type == "cuda",
    )


def _rest_to(prior: nn.Module, device: torch.device) -> None:
    """Move everything but the denoiser; `nn.Module.to` would take it along."""
    unet, prior.unet = prior.unet, None
    prior.to(device)
    prior.unet = unet


@contextlib.contextmanager
def encoding(prior, plan: Plan | None, stays: Sequence[str] = ()) -> Iterator[None]:
    """While inside, text and image encoders are on the prior's device; afterwards where the plan wants them.

    Args:
        prior: As `place` left it, or anything else.
        plan: Of the job; None keeps them there.
        stays: Names of encoders that a job asks at every step, and that stay there whatever the plan says.
    """
    parts = {name: getattr(prior, name, None) for name in ENCODERS}
    encoders = {name: part for name, part in parts.items() if isinstance(part, nn.Module)}
    for encoder in encoders.values():  # an earlier job may have sent them away
        encoder.to(prior.device)
    try:
        yield
    finally:
        if plan is not None and plan.release_encoders and encoders:
            for name, encoder in encoders.items():
                if name not in stays:
                    encoder.to("cpu")
            free_memory()


@contextlib.contextmanager
def preferred_attention(plan: Plan | None, device: torch.device) -> Iterator[None]:
    """While inside, torch's attention on CUDA tries the plan's kind first; the others stay allowed: nothing can fail.

    Args:
        plan: Of the job; None leaves the choice to torch.
        device: Of the job; a CPU has one kind only.
    """
    if plan is None or device.type != "cuda":
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kinds = {"flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION, "math": SDPBackend.MATH}
    others = [kind for name, kind in kinds.items() if name != plan.attention]
    with sdpa_kernel([kinds[plan.attention], *others], set_priority=True):
        yield
