"""Zero123's published key layout: the LDM U-Net twice (raw and EMA), the camera's linear layer, CLIP's remains.

Knows names only; the tables that all LDM checkpoints share are in `published`. An EMA copy is named by its raw key with
all dots removed [checkpoints.md section 3], so its names can be told apart only with the raw ones beside them.
"""

from __future__ import annotations

from torch import Tensor

from . import published

EMA, CAMERA, VISION = "model_ema.", "cc_projection.", "cond_stage_model.model.visual."

PARTS = {"unet": published.UNET, "vae": published.VAE, "image_encoder": VISION, "camera_projection": CAMERA}
_COUNTERS = frozenset(("model_ema.decay", "model_ema.num_updates"))
# The text side of CLIP comes along and no denoising needs it.
_TEXT_SIDE = tuple(
    f"cond_stage_model.model.{name}"
    for name in ("positional_embedding", "text_projection", "logit_scale", "token_embedding.", "ln_final.")
)


def held(state: dict[str, Tensor]) -> tuple[str, ...]:
    """Which parts a checkpoint has any tensor of.

    Raises:
        CheckpointMismatch: It has none.
    """
    found = tuple(part for part, prefix in PARTS.items() if any(key.startswith(prefix) for key in state))
    if not found:
        few = ", ".join(sorted(state)[:3])
        raise published.CheckpointMismatch(f"These are no weights of Zero123: {len(state)} tensors ({few}).")
    return found


def ema_key(key: str) -> str:
    """The EMA copy's name of a raw U-Net key: `model.diffusion_model.out.0.bias` is `...diffusion_modelout0bias`."""
    return EMA + key.removeprefix("model.").replace(".", "")


def has_ema(state: dict[str, Tensor]) -> bool:
    """Whether a checkpoint holds an EMA copy of the U-Net; the counters alone are none."""
    return any(key.startswith(EMA) and key not in _COUNTERS for key in state)


def with_ema(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same checkpoint with the EMA copy under the raw names.

    Raises:
        CheckpointMismatch: There is no EMA copy, it is incomplete, or it has tensors that the raw U-Net lacks.
    """
    names = {ema_key(key): key for key in state if key.startswith(published.UNET)}
    copies = {key for key in state if key.startswith(EMA) and key not in _COUNTERS}
    missing, surplus = sorted(names.keys() - copies), sorted(copies - names.keys())
    if missing or surplus:
        lists = {"missing": missing, "left over": surplus}
        told = "; ".join(f"{len(keys)} {name}: {', '.join(keys[:5])}" for name, keys in lists.items() if keys)
        raise published.CheckpointMismatch(
            f"The EMA copy does not match the checkpoint's own U-Net: {told}. Take another file, or ema='raw'."
        )
    kept = {key: value for key, value in state.items() if not key.startswith(EMA)}
    return kept | {raw: state[copy] for copy, raw in names.items()}


def unread(state: dict[str, Tensor]) -> list[str]:
    """Keys that belong to no part of the model and are not known to be superfluous."""
    return published.unread(state, published.UNET, published.VAE, VISION, CAMERA, EMA, *_TEXT_SIDE)
