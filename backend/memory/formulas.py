"""How much memory the passes of a job take beside the weights, as formulas.

Knows shapes and bytes; knows no job. Each factor is the peak of live tensors of the real network at full size, counted
on the meta device by `count.py` (no GPU was measured), and stands here in units of its first width: a U-Net of SD's
shape needs the same multiple whatever its size. `tests/unit/memory/test_count.py` counts again.
"""

from __future__ import annotations

# Numbers a pixel of the sample, in multiples of the first block's channels; attention without a matrix of all pairs.
DENOISER = 26.25  # one forward without gradients: the skip connections and the widest feed-forward
DENOISER_VIDEO = 28.25  # with the temporal layers of Stable Video Diffusion
DENOISER_DEEPFLOYD = 15.25  # DeepFloyd IF, which has no attention at its finest level
ENCODER_GRADIENT = 23.4  # VAE encoder, everything kept for the backward pass
ENCODER_RECOMPUTED = 15.25  # the same, one picture at a time, blocks computed again in the backward pass
ENCODER_KEPT = 1.75  # what stays of every further picture then
ENCODER = 5.0  # without gradients
DECODER = 6.0
DECODER_VIDEO = 8.0  # the temporal decoder
MIXED = 1.5  # mixed precision keeps the answers of norms and sums in float32 beside the half ones

# Bytes a sample of the optimised field; hash grid of 16 levels and two networks of width 64, float32.
DENSITY = 656  # no gradients
QUERY = 1185
QUERY_NORMALS = 1642  # with analytic normals
DENSITY_CHUNK = 2**20  # samples that `volume.place_samples` asks at once

# What the rays of a settled object meet. Assumed from the method, not counted: thick objects need more.
SEEN = 0.3  # of the rays meet the object
FOG_SAMPLES = 100  # samples a seen ray while everything is fog
SOLID_SAMPLES = 30  # and once there is a surface: pruned behind it
OPTIMISED = 16  # bytes a parameter of the field: value, gradient and Adam's two averages, float32


def denoiser_bytes(rows: int, edge: int, channels: int, width: int, mixed: bool, factor: float = DENOISER) -> int:
    """One forward of a denoiser without gradients.

    Args:
        rows: Pictures in the batch, guidance included.
        edge: Height and width of its sample.
        channels: Of its first block.
        width: Bytes a number.
        mixed: Whether autocast is on.
        factor: Numbers a pixel, in multiples of `channels`.
    """
    return int(rows * edge**2 * factor * channels * width * (MIXED if mixed else 1))


def attention_bytes(rows: int, tokens: int, heads: int, width: int) -> int:
    """The matrix of all pairs, which only the plain ("math") attention makes: its scores and their softmax.

    Args:
        rows: Sequences in the batch.
        tokens: Of one sequence; all views of an object are one.
        heads: At the finest level.
        width: Bytes a number.
    """
    return 2 * rows * heads * tokens**2 * width


def encoder_bytes(pictures: int, edge: int, channels: int, width: int, mode: str, mixed: bool) -> int:
    """The VAE's encoder with a gradient to the pictures.

    Args:
        pictures: How many.
        edge: Of a picture, pixels.
        channels: Of the VAE's first block.
        width: Bytes a number.
        mode: "whole" or "recomputed", as in `plan.Plan.vae`.
        mixed: Whether autocast is on.
    """
    numbers = ENCODER_GRADIENT * pictures
    if mode == "recomputed" and pictures:
        numbers = ENCODER_RECOMPUTED + ENCODER_KEPT * (pictures - 1)
    return int(numbers * channels * edge**2 * width * (MIXED if mixed else 1))


def decoder_bytes(pictures: int, edge: int, channels: int, width: int, mixed: bool, factor: float = DECODER) -> int:
    """The VAE's decoder without gradients; arguments as in `encoder_bytes` and `denoiser_bytes`."""
    return int(factor * pictures * channels * edge**2 * width * (MIXED if mixed else 1))


def field_bytes(rays: int, solid: bool, normals: bool, parameters: int) -> int:
    """The optimised field: its parameters with their optimiser, and the samples of one step's rays.

    Args:
        rays: Pixels of all views of a step.
        solid: Whether there is a surface yet; before, rays see through fog.
        normals: Whether analytic normals are asked for.
        parameters: Of the field.
    """
    samples = rays * SEEN * (SOLID_SAMPLES if solid else FOG_SAMPLES)
    placing = min(rays * SEEN * FOG_SAMPLES, DENSITY_CHUNK) * DENSITY
    return int(parameters * OPTIMISED + max(samples * (QUERY_NORMALS if normals else QUERY), placing))
