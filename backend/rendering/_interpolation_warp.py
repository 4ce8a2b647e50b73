"""The kernels of `rasterization.interpolate`, in Warp: weighted sums of three rows a pixel, and their gradients.

Knows face ids, weights and a table of values. Knows no geometry. Twin: `_rasterization_torch.weigh`.
"""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from .warp_bridge import as_array, launch

wp.set_module_options({"enable_backward": False})


@wp.kernel
def weigh_rows(
    face_ids: wp.array(dtype=wp.int32),  # (P,)
    barycentrics: wp.array(dtype=wp.vec3),
    corners: wp.array2d(dtype=wp.int32),  # (F, 3)
    values: wp.array2d(dtype=float),  # (M, C)
    result: wp.array2d(dtype=float),  # (P, C)
):
    pixel = wp.tid()
    face = face_ids[pixel]
    if face < 0:
        return
    a, b, c = corners[face, 0], corners[face, 1], corners[face, 2]
    share = barycentrics[pixel]
    for channel in range(values.shape[1]):
        mixed = share[0] * values[a, channel] + share[1] * values[b, channel] + share[2] * values[c, channel]
        result[pixel, channel] = mixed


@wp.kernel
def spread_to_values(
    face_ids: wp.array(dtype=wp.int32),
    barycentrics: wp.array(dtype=wp.vec3),
    corners: wp.array2d(dtype=wp.int32),
    given: wp.array2d(dtype=float),  # (P, C)
    gradients: wp.array2d(dtype=float),  # (M, C)
):
    pixel = wp.tid()
    face = face_ids[pixel]
    if face < 0:
        return
    a, b, c = corners[face, 0], corners[face, 1], corners[face, 2]
    share = barycentrics[pixel]
    for channel in range(given.shape[1]):
        wp.atomic_add(gradients, a, channel, share[0] * given[pixel, channel])
        wp.atomic_add(gradients, b, channel, share[1] * given[pixel, channel])
        wp.atomic_add(gradients, c, channel, share[2] * given[pixel, channel])


@wp.kernel
def spread_to_weights(
    face_ids: wp.array(dtype=wp.int32),
    corners: wp.array2d(dtype=wp.int32),
    values: wp.array2d(dtype=float),
    given: wp.array2d(dtype=float),
    gradients: wp.array(dtype=wp.vec3),  # (P,)
):
    pixel = wp.tid()
    face = face_ids[pixel]
    if face < 0:
        return
    a, b, c = corners[face, 0], corners[face, 1], corners[face, 2]
    total = wp.vec3(0.0, 0.0, 0.0)
    for channel in range(values.shape[1]):
        total += given[pixel, channel] * wp.vec3(values[a, channel], values[b, channel], values[c, channel])
    gradients[pixel] = total


def weigh(
    face_ids: Tensor,  # (N, R, R)
    barycentrics: Tensor,  # (N, R, R, 3)
    corners: Tensor,  # (F, 3)
    values: Tensor,  # (M, C)
) -> Tensor:
    """Rows of a table mixed where pixels see faces.

    Args:
        face_ids: -1 where nothing is seen. (N, R, R) int32.
        barycentrics: Weights of a face's three rows. (N, R, R, 3) float32.
        corners: Which rows a face has. (F, 3) int32.
        values: (M, C) float32.

    Returns:
        (N, R, R, C) float32, 0 where nothing is seen. Differentiable in the weights and the values.
    """
    return _Weigh.apply(face_ids, barycentrics, corners, values)


class _Weigh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, face_ids: Tensor, barycentrics: Tensor, corners: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(face_ids, barycentrics, corners, values)
        result = torch.zeros(*face_ids.shape, values.shape[1], device=values.device)
        inputs = [*_seen(face_ids, barycentrics), as_array(corners, wp.int32), as_array(values, wp.float32)]
        inputs += [as_array(result.view(-1, values.shape[1]), wp.float32)]
        launch(weigh_rows, face_ids.numel(), inputs, values.device)
        return result

    @staticmethod
    def backward(ctx, given: Tensor):
        face_ids, barycentrics, corners, values = ctx.saved_tensors
        pixels, shares = _seen(face_ids, barycentrics)
        rows, given = as_array(corners, wp.int32), as_array(given.reshape(-1, values.shape[1]), wp.float32)
        of_weights = of_values = None
        if ctx.needs_input_grad[1]:
            of_weights = torch.zeros_like(barycentrics, memory_format=torch.contiguous_format)
            inputs = [pixels, rows, as_array(values, wp.float32), given, as_array(of_weights.view(-1, 3), wp.vec3)]
            launch(spread_to_weights, face_ids.numel(), inputs, values.device)
        if ctx.needs_input_grad[3]:
            of_values = torch.zeros_like(values, memory_format=torch.contiguous_format)
            inputs = [pixels, shares, rows, given, as_array(of_values, wp.float32)]
            launch(spread_to_values, face_ids.numel(), inputs, values.device)
        return None, of_weights, None, of_values


def _seen(face_ids: Tensor, barycentrics: Tensor) -> tuple[wp.array, wp.array]:
    return as_array(face_ids.reshape(-1), wp.int32), as_array(barycentrics.reshape(-1, 3), wp.vec3)
