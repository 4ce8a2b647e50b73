"""Any model at full size with seeded random weights, for running, timing and profiling it where there are no weights.

Knows modules. Knows no family: it takes any class with `random(config, seed=...)` (contract.Prior). The model is built
without memory for its parameters, and each one is then made where it belongs, in the wanted precision: the peak is the
model itself. What comes out of such a model means nothing; only its cost does.

    prior = random_prior(MVDreamPrior, MVDREAM_SD21, seed=0, device="cuda", dtype=torch.bfloat16)
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

log = logging.getLogger(__name__)

BIAS = 0.02  # spread of biases and single numbers
NORM = 0.1  # spread of a norm's weights around 1
META = torch.device("meta")


class Buildable(Protocol):
    """A class of priors."""

    def random(self, config: Any, *, seed: int = 0) -> nn.Module:
        """The model of a configuration."""
        ...


Module = TypeVar("Module", bound=nn.Module)


def random_prior(
    family: Buildable,
    config: Any,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """Build a prior of any size with random weights, without ever holding it twice.

    Args:
        family: The class, such as `MVDreamPrior`.
        config: Its configuration, such as `MVDREAM_SD21`.
        seed: The same seed, device kind and dtype give the same weights.
        device: Where the weights go.
        dtype: Of the weights; the noise schedule stays float32.

    Returns:
        The prior, `version` "random weights", gradients off.
    """
    start = time.monotonic()
    with empty_parameters():
        prior = family.random(config, seed=seed)
    randomise(prior, seed=seed, device=device, dtype=dtype)
    millions = sum(parameter.numel() for parameter in prior.parameters()) / 1e6
    name, seconds = getattr(config, "name", type(prior).__name__), time.monotonic() - start
    log.info("%s: %.0f million random numbers on %s in %.1f s", name, millions, device, seconds)
    return prior


@contextlib.contextmanager
def empty_parameters() -> Iterator[None]:
    """Modules made inside have parameters without memory (on the meta device), but buffers with their values.

    `torch.device("meta")` would empty the buffers too, and noise schedules and positions cannot be made up afterwards.
    Not thread-safe: it changes how any module registers its parameters meanwhile.
    """
    register = nn.Module.register_parameter

    def register_empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and parameter.device != META:
            parameter = nn.Parameter(parameter.detach().to(META), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = register_empty
    try:
        yield
    finally:
        nn.Module.register_parameter = register


@torch.no_grad()
def randomise(
    module: Module,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Module:
    """Give every parameter of a module new random numbers, those that start at zero included.

    Matrices and kernels get a spread of 1 / sqrt(inputs), so that activations neither vanish nor overflow in half
    precision; norms about 1; the rest near 0. A model straight from its constructor would answer zeros wherever its
    authors zeroed the last layer of a block, and errors in those blocks would not show.

    Args:
        module: Parameters may be on the meta device; they are replaced one by one, shared ones stay shared.
        seed: Of all numbers, in the order of the parameters.
        device: Where parameters and buffers go.
        dtype: Of the parameters; buffers keep theirs.

    Returns:
        The module itself.
    """
    device = torch.device(device)
    generator = torch.Generator(device).manual_seed(seed)
    made: dict[int, nn.Parameter] = {}
    replaced = []  # kept alive, so that no id is given out twice
    for owner in module.modules():
        for name, old in owner._parameters.items():
            if old is None:
                continue
            if id(old) not in made:
                replaced.append(old)
                value = torch.empty(old.shape, device=device, dtype=dtype)
                _fill(value, owner, name, generator)
                made[id(old)] = nn.Parameter(value, requires_grad=old.requires_grad)
                if old.device != META:
                    old.data = old.data.new_empty(0)  # its memory is free before the next one is made
            owner._parameters[name] = made[id(old)]
    return module.to(device)


def _fill(value: torch.Tensor, owner: nn.Module, name: str, generator: torch.Generator) -> None:
    norm = "Norm" in type(owner).__name__
    if value.ndim >= 2:
        inputs = value.shape[-1] if isinstance(owner, nn.Embedding) else math.prod(value.shape[1:])
        value.normal_(0.0, 1 / math.sqrt(max(inputs, 1)), generator=generator)
    elif norm and name == "weight":
        value.normal_(1.0, NORM, generator=generator)
    else:
        value.normal_(0.0, BIAS, generator=generator)
