"""The kernels of `antialias` that mix colours, in Warp. Twin: `_antialias_torch.blend`.

Knows pictures, and how far between two neighbouring pixels' centres an outline lies. Knows no geometry.
"""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from .warp_bridge import as_array, launch

wp.set_module_options({"enable_backward": False})


@wp.func
def take(colours: wp.array2d(dtype=float), result: wp.array2d(dtype=float), own: int, other: int, share: float):
    """Move a pixel towards another's colour; nothing where the share is not positive."""
    if share > 0.0:
        for channel in range(colours.shape[1]):
            step = colours[other, channel] - colours[own, channel]
            result[own, channel] = result[own, channel] + share * step


@wp.kernel
def mix(
    colours: wp.array2d(dtype=float),  # (P, C), P = N * R * R
    shifts: wp.array(dtype=float),  # (2 * P,); 0 in the last column of axis 0 and the last row of axis 1
    resolution: int,
    result: wp.array2d(dtype=float),  # holds the colours already
):
    own = wp.tid()
    down = colours.shape[0] + own  # where the pair with the pixel below is
    take(colours, result, own, own + 1, -shifts[own])
    take(colours, result, own, own + resolution, -shifts[down])
    if own >= 1:
        take(colours, result, own, own - 1, shifts[own - 1])
    if own >= resolution:
        take(colours, result, own, own - resolution, shifts[down - resolution])


@wp.func
def give(given: wp.array2d(dtype=float), gradients: wp.array2d(dtype=float), own: int, other: int, share: float):
    """The other took that share from this pixel; negative: this pixel took it from the other."""
    taker = other
    if share < 0.0:
        taker = own
    if share != 0.0:
        for channel in range(given.shape[1]):
            gradients[own, channel] = gradients[own, channel] + share * given[taker, channel]


@wp.kernel
def unmix(
    shifts: wp.array(dtype=float),
    resolution: int,
    given: wp.array2d(dtype=float),  # gradient of the mixed picture
    gradients: wp.array2d(dtype=float),  # of the colours; holds `given` already
):
    own = wp.tid()
    down = given.shape[0] + own
    give(given, gradients, own, own + 1, shifts[own])
    give(given, gradients, own, own + resolution, shifts[down])
    if own >= 1:
        give(given, gradients, own, own - 1, -shifts[own - 1])
    if own >= resolution:
        give(given, gradients, own, own - resolution, -shifts[down - resolution])


@wp.kernel
def gradients_of_shifts(
    colours: wp.array2d(dtype=float),
    shifts: wp.array(dtype=float),
    edge_ids: wp.array(dtype=wp.int32),
    resolution: int,
    given: wp.array2d(dtype=float),
    gradients: wp.array(dtype=float),  # (2 * P,)
):
    index = wp.tid()
    if edge_ids[index] < 0:
        return
    first, second = index, index + 1
    if index >= colours.shape[0]:
        first = index - colours.shape[0]
        second = first + resolution
    taker = first
    if shifts[index] >= 0.0:
        taker = second
    for channel in range(colours.shape[1]):
        step = colours[first, channel] - colours[second, channel]
        gradients[index] = gradients[index] + step * given[taker, channel]


def blend(
    colours: Tensor,  # (N, R, R, C)
    edge_ids: Tensor,  # (2, N, R, R)
    shifts: Tensor,  # (2, N, R, R)
) -> Tensor:
    """Mix pixels over the outlines. Arguments, results and gradients as in `_antialias_torch.blend`."""
    return _Blend.apply(colours, edge_ids, shifts)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, colours: Tensor, edge_ids: Tensor, shifts: Tensor) -> Tensor:
        ctx.save_for_backward(colours, edge_ids, shifts)
        result = colours.detach().clone(memory_format=torch.contiguous_format)
        inputs = [_rows(colours), as_array(shifts.view(-1), wp.float32), colours.shape[2], _rows(result)]
        launch(mix, edge_ids.numel() // 2, inputs, colours.device)
        return result

    @staticmethod
    def backward(ctx, given: Tensor):
        colours, edge_ids, shifts = ctx.saved_tensors
        flat, size, rows, device = as_array(shifts.view(-1), wp.float32), colours.shape[2], _rows(given), given.device
        of_colours = of_shifts = None
        if ctx.needs_input_grad[0]:
            of_colours = given.clone(memory_format=torch.contiguous_format)
            launch(unmix, edge_ids.numel() // 2, [flat, size, rows, _rows(of_colours)], device)
        if ctx.needs_input_grad[2]:
            of_shifts = torch.zeros_like(shifts)
            inputs = [_rows(colours), flat, as_array(edge_ids.view(-1), wp.int32), size, rows]
            launch(gradients_of_shifts, edge_ids.numel(), [*inputs, as_array(of_shifts.view(-1), wp.float32)], device)
        return of_colours, None, of_shifts


def _rows(picture: Tensor) -> wp.array:
    """(P, C) of a picture (N, R, R, C)."""
    return as_array(picture.reshape(-1, picture.shape[-1]), wp.float32)
