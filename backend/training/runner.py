"""What every trainer here shares: averaged weights, checkpoints that resume, and parallel processes on one machine.

Knows tensors and files; knows no models, data or losses.
"""

from __future__ import annotations

import copy
import datetime
import logging
import math
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

log = logging.getLogger(__name__)

Module = TypeVar("Module", bound=nn.Module)


class AveragedModel:
    """Exponential moving average of a model's parameters, with a short memory at the start.

    Args:
        model: Its parameters are followed; buffers are copied once.
        decay: Memory of the average once it is warm, per step.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow `model` after its optimiser step number `step` (from 1)."""
        decay = min(self.decay, (step + 1) / (step + 40))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)


class Clock:
    """Seconds spent training, over all sessions of a run, against a budget."""

    def __init__(self, budget: float, spent: float = 0.0):
        self.budget, self._before, self._start = budget, spent, time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self._before + time.monotonic() - self._start

    @property
    def fraction(self) -> float:
        """Share of the budget that is spent, at most 1."""
        return min(1.0, self.spent / self.budget)


def cosine(fraction: float, step: int, warmup: int, floor: float = 0.01) -> float:
    """Learning rate factor: linear warm-up over `warmup` steps, then a half cosine down to `floor`."""
    return min(1.0, (step + 1) / warmup) * (floor + (1 - floor) * (0.5 + 0.5 * math.cos(math.pi * fraction)))


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that is there once it is whole: an interrupted run leaves the old one, or none."""
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        yield file
    partial.replace(path)


def save_checkpoint(path: Path, state: dict) -> None:
    """Write a checkpoint so that an interrupted write leaves the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        torch.save(state, file)


def load_checkpoint(path: Path) -> dict | None:
    """The checkpoint at `path`, or None where there is none."""
    return torch.load(path, weights_only=True, map_location=training_device()) if path.exists() else None


def save_run(
    path: Path, model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer, step: int, spent: float
) -> None:
    """Write all that a run of one model goes on from."""
    state = {"model": model.state_dict(), "average": average.model.state_dict(), "optimizer": optimizer.state_dict()}
    save_checkpoint(path, {**state, "step": step, "spent": spent})


def load_run(
    path: Path, model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Read what `save_run` wrote, if it is there: steps and seconds so far."""
    state = load_checkpoint(path)
    if state is None:
        return 0, 0.0
    model.load_state_dict(state["model"])
    average.model.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["spent"]


@dataclass(frozen=True)
class LoneTraining:
    """Settings of a run of one model in one process.

    Args:
        seconds: Budget on the clock, over all sessions.
        batch: Pictures, or objects, a step.
        learning_rate: Peak of AdamW.
    """

    seconds: float
    batch: int
    learning_rate: float
    seed: int


def train_lone(
    name: str,
    model: Module,
    folder: Path,
    settings: LoneTraining,
    generator: torch.Generator,
    loss: Callable[[], Tensor],
    measure: Callable[[Module], Mapping[str, float]],
    memory: float = 0.995,
    betas: tuple[float, float] = (0.9, 0.999),
) -> Module:
    """Train one model from its checkpoint until its budget is spent; losses and measures are logged.

    Args:
        name: Of the checkpoint in `folder`, "NAME-training.pt", and of the lines of the log.
        model: In training mode, where it is to be trained.
        folder: Takes the checkpoint.
        settings: Budget, learning rate and seed.
        generator: What `loss` draws from; seeded anew with every session.
        loss: Draws a batch of the model's and answers with what is minimised.
        measure: Asks the averaged model what it was not trained on, about once a minute.
        memory: See `AveragedModel`.
        betas: Of AdamW.

    Returns:
        The averaged model.
    """
    average = AveragedModel(model, memory)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, betas, weight_decay=0.05, fused=True)
    checkpoint = folder / f"{name}-training.pt"
    step, spent = load_run(checkpoint, model, average, optimizer)
    generator.manual_seed(settings.seed + step)
    clock, saved = Clock(settings.seconds, spent), spent
    ended = clock.fraction >= 1
    while not ended:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * cosine(clock.fraction, step, 100)
        value = loss()
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        step += 1
        average.update(model, step)
        ended = clock.fraction >= 1
        if step % 50 == 0 or ended:
            log.info("%s: %d steps %.0f s, loss %.3f", name, step, clock.spent, value.item())
        if clock.spent - saved > 60 or ended:
            saved = clock.spent
            save_run(checkpoint, model, average, optimizer, step, saved)
            found = {key: round(number, 4) for key, number in measure(average.model).items()}
            log.info("%s: unseen %s", name, found)
    return average.model


def average_weights(parameters: list[nn.Parameter], steps: int) -> None:
    """Mean of the weights over all processes, each counted by its steps since the last call; one process: nothing.

    Averaging weights every some seconds instead of gradients every step lets a process on a busy core fall behind
    without holding up the other.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    with torch.no_grad():
        flat = torch.cat([p.flatten().cpu() for p in parameters] + [torch.ones(1)]) * steps  # gloo sums on the CPU
        dist.all_reduce(flat)
        flat /= flat[-1].clone()
        for p, value in zip(parameters, flat[:-1].split([p.numel() for p in parameters]), strict=True):
            p.copy_(value.view_as(p))


def training_device() -> torch.device:
    """The GPU of this process where the machine has one, else the CPU."""
    return (
        torch.device("cuda", rank() % torch.cuda.device_count()) if torch.cuda.is_available() else torch.device("cpu")
    )


def rank() -> int:
    """Number of this process, 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()


def agree(flag: bool) -> bool:
    """Process 0's answer, on every process: clocks differ, and all must stop at the same step."""
    if not dist.is_initialized():
        return flag
    answer = torch.tensor([float(flag)])
    dist.broadcast(answer, 0)
    return bool(answer.item())


def run_parallel(work: Callable[..., None], processes: int, *args) -> None:
    """Call `work(*args)` in `processes` processes that average weights over gloo, one thread each; directly for one."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if processes == 1:
        torch.set_num_threads(1)
        work(*args)
        return
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(_free_port()))
    torch.multiprocessing.spawn(_member, (work, processes, args), nprocs=processes)


def run_each(work: Callable[..., None], arguments: list[tuple], processes: int) -> None:
    """Call `work` with each of these arguments, in a pool of fresh processes; without arguments none is started."""
    if arguments:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.starmap(work, arguments, chunksize=1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _member(number: int, work: Callable[..., None], processes: int, args: tuple) -> None:
    logging.basicConfig(level=logging.INFO if number == 0 else logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    if number > 0 and hasattr(os, "nice"):
        os.nice(15)  # the first process keeps its pace, the others take what the machine has left
    dist.init_process_group("gloo", rank=number, world_size=processes, timeout=datetime.timedelta(hours=2))
    try:
        work(*args)
    finally:
        dist.destroy_process_group()


def random_background(count: int, generator: torch.Generator) -> Tensor:
    """Grey levels (count,) in [0, 1]: 40 % the middle grey, the others uniform in [0.2, 0.8].

    A prior that has seen many backgrounds lets distillation change the background every step, which is what opens holes
    (mini.md, second pilot).
    """
    grey = 0.2 + 0.6 * torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.4, torch.full_like(grey, 0.5), grey)
