"""Trains the mini MVDream: a few-million-parameter four-view diffusion model on procedural objects. Resumes.

Follows the paper's recipe (systems.md 6.3): four-view batches with one timestep a set, 2D batches without camera, text
dropout; with what mini.md measured for small models: flat v-loss, zero terminal SNR, high noise drawn often.
Resolution grows once: classes, colours and cameras are learnt three times cheaper at half resolution, and some batches
stay there, so that distillation may start at half resolution too.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..priors.configs import MINI
from ..priors.contract import Condition
from ..priors.mvdream import MVDreamPrior
from .camera_use import camera_use
from .dataset import VIEWS, load_shards
from .latents import encode_sets, ensure_latents, gather, load_latents
from .prompts import VOCABULARY
from .runner import (
    AveragedModel,
    Clock,
    agree,
    average_weights,
    barrier,
    cosine,
    load_checkpoint,
    rank,
    save_checkpoint,
    training_device,
    world_size,
)
from .sheet import sample_sheet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MVDreamTraining:
    """Settings of a run.

    Args:
        seconds: Budget on the clock, over all sessions.
        low_share: Share of the budget at 32 px before 64 px.
        low_kept: Share of the steps that stay at 32 px after that.
        low_batch: Sets a step at 32 px.
        batch: Sets a step at 64 px.
        learning_rate: Peak of AdamW.
        quick_rate: Factor on the learning rate of the camera's embedding (mini.md: it is learnt last).
        image_share: Share of 2D batches: single views, no camera (the paper uses 0.3 with LAION pictures).
        camera_dropout: Share of four-view batches whose cameras are dropped.
        text_dropout: Share of prompts replaced by the empty one.
        high_noise: Shares of timesteps drawn from [850, 1000) and from [400, 1000); the rest is uniform.
        variants: How many random backgrounds each set is encoded over at 64 px.
        sync_seconds: How often processes average their weights.
    """

    seconds: float = 5400.0
    low_share: float = 0.45
    low_kept: float = 0.3
    low_batch: int = 8
    batch: int = 8
    learning_rate: float = 8e-4
    quick_rate: float = 4.0
    image_share: float = 0.04
    camera_dropout: float = 0.02
    text_dropout: float = 0.1
    high_noise: tuple[float, float] = (0.35, 0.30)
    variants: int = 1
    sync_seconds: float = 20.0
    seed: int = 7


def draw_timesteps(count: int, settings: MVDreamTraining, generator: torch.Generator) -> Tensor:
    """Timesteps (count,) long in [0, 999], high noise more often."""
    uniform, which = torch.rand(2, count, generator=generator)
    very, high = settings.high_noise
    drawn = torch.where(
        which < very, 0.85 + 0.15 * uniform, torch.where(which < very + high, 0.4 + 0.6 * uniform, uniform)
    )
    return (1000 * drawn).long().clamp(0, 999)


class Stream:
    """Shuffled batches of latents at one resolution, epoch after epoch, each epoch over the next background variant.

    Args:
        variants: For every variant the arrays of all shards.
        count: Sets in all.
        size: Sets a batch.
        generator: Shuffles.
    """

    def __init__(self, variants: list[list[np.ndarray]], count: int, size: int, generator: torch.Generator):
        self.variants, self.count, self.size, self.generator = variants, count, size, generator
        self.epoch, self.place, self.order = -1, count, torch.empty(0)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Indices (size,) of the next sets and their latents (size * 4, C, h, w)."""
        if self.place + self.size > self.count:
            self.order, self.place = torch.randperm(self.count, generator=self.generator), 0
            self.epoch += 1
        self.place += self.size
        index = self.order[self.place - self.size : self.place]
        return index, gather(self.variants[self.epoch % len(self.variants)], index).flatten(0, 1)


class Trainer:
    """One process of a run: its data, model, optimiser and step. `train_imagedream` derives from it."""

    memory = 0.998  # of the averaged weights

    def __init__(self, shards: list[Path], folder: Path, settings: MVDreamTraining):
        self.settings, self.folder = settings, folder
        self.sets, self.test = load_shards(shards[:-1]), load_shards(shards[-1:])
        self.shards = shards[:-1]
        self.prior = self.start().to(training_device())
        self.net, quick = self.learning()
        self.net.requires_grad_(True).train()
        self.prior.unet.to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.net, self.memory)
        chosen = {id(p) for module in quick for p in module.parameters()}
        self.parameters = list(self.net.parameters())
        groups = [
            {"params": [p for p in self.parameters if id(p) not in chosen], "factor": 1.0},
            {"params": [p for p in self.parameters if id(p) in chosen], "factor": settings.quick_rate},
        ]
        self.optimizer = torch.optim.AdamW(groups, settings.learning_rate, (0.9, 0.98), weight_decay=1e-2, fused=True)
        self.tokens = self.prior.tokenizer([about["prompt"] for about in self.sets.meta])
        self.empty = self.prior.tokenizer([""])[0]
        self.generator = torch.Generator().manual_seed(settings.seed + 1000 * rank())
        self.rng = random.Random(settings.seed + 1000 * rank())
        self.step = 0
        self.streams: dict[int, Stream] = {}
        self.losses: list[tuple[Tensor, Tensor]] = []

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept."""
        return self.folder / "unet-training.pt"

    def start(self) -> MVDreamPrior:
        """The model as training finds it: random, with the VAE that was trained before it."""
        prior = MVDreamPrior.random(MINI, VOCABULARY, seed=self.settings.seed)
        prior.vae = AutoencoderKL.from_pretrained(self.folder / "vae").eval().requires_grad_(False)
        return prior

    def learning(self) -> tuple[nn.ModuleDict, list[nn.Module]]:
        """What is trained, and which parts of it at the quicker rate: the camera's embedding."""
        net = nn.ModuleDict({"unet": self.prior.unet, "text": self.prior.text_encoder})
        return net, [self.prior.unet.class_embedding]

    def resume(self) -> float:
        """Continue from the checkpoint where there is one; seconds already spent."""
        state = load_checkpoint(self.checkpoint)
        if state is None:
            return 0.0
        self.net.load_state_dict(state["net"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.generator.manual_seed(self.settings.seed + 1000 * rank() + self.step)
        return state["spent"]

    def save(self, spent: float) -> None:
        """Write the checkpoint."""
        state = {"net": self.net.state_dict(), "average": self.average.model.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "step": self.step, "spent": spent}
        save_checkpoint(self.checkpoint, state)

    def open(self, resolution: int) -> None:
        """Have the latents at this resolution ready, every process encoding its share; all must call it together."""
        if resolution in self.streams:
            return
        low = resolution != MINI.image_size
        variants = range(1 if low else self.settings.variants)
        for shard in self.shards[rank() :: world_size()]:
            for variant in variants:
                ensure_latents(self.prior, shard, resolution, variant)
        barrier()
        files = [[ensure_latents(self.prior, s, resolution, v) for s in self.shards] for v in variants]
        size = self.settings.low_batch if low else self.settings.batch
        self.streams[resolution] = Stream(
            [load_latents(paths) for paths in files], len(self.sets), size, self.generator
        )

    def loss(self, index: Tensor, x0: Tensor) -> Tensor:
        """Flat v-loss (systems.md 6.3, v as the target) of sets at `index` (B,) with latents (B * 4, C, h, w)."""
        settings, draw = self.settings, self.rng.random()
        flat = draw < settings.image_share
        views = 1 if flat else 4
        cameras = None if draw < settings.image_share + settings.camera_dropout else self.sets.cameras(index)
        device = self.prior.device
        t = draw_timesteps(len(x0) // views, settings, self.generator).repeat_interleave(views).to(device)
        x0, eps = x0.to(device), torch.randn(x0.shape, generator=self.generator).to(device)
        abar = self.prior.alphas_cumprod[t].view(-1, 1, 1, 1)
        x_t = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
        velocity = abar.sqrt() * eps - (1 - abar).sqrt() * x0
        told = self.told(index, x0.shape[-1])
        error = (self.prior.raw_output(x_t, t, told, cameras, views) - velocity).square().mean((1, 2, 3))
        self.losses.append((t[::views], error.detach().view(-1, views).mean(1)))  # stays on the device: no waiting
        return error.mean()

    def told(self, index: Tensor, size: int) -> Tensor | Condition:
        """What the model is told of sets at `index` (B,) with latents of `size`, one row a view; prompts drop out."""
        tokens = self.tokens[index].clone()
        tokens[torch.rand(len(index), generator=self.generator) < self.settings.text_dropout] = self.empty
        context = self.net.text(tokens.to(self.prior.device)).last_hidden_state
        return context.repeat_interleave(VIEWS, 0)

    def train_step(self, resolution: int, rate: float) -> None:
        """One optimiser step at a learning rate factor."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * rate * group["factor"]
        loss = self.loss(*self.streams[resolution].batch())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.net, self.step)

    def losses_by_noise(self) -> str:
        """Mean loss in five bands of t since the last call, and forget them."""
        t, loss = (torch.cat(parts).cpu() for parts in zip(*self.losses, strict=True))
        self.losses = []
        bands = [loss[(t >= low) & (t < low + 200)] for low in range(0, 1000, 200)]
        return " ".join(f"{band.mean():.3f}" if len(band) else "-" for band in bands)

    def measured(self) -> MVDreamPrior:
        """The averaged weights as a prior."""
        prior = MVDreamPrior.random(MINI, VOCABULARY)
        prior.vae = self.prior.vae
        prior.unet.load_state_dict(self.average.model["unet"].state_dict())
        prior.text_encoder.load_state_dict(self.average.model["text"].state_dict())
        return prior.to(self.prior.device)

    def report(self, resolution: int, spent: float) -> None:
        """Log how much the averaged model uses its camera on sets it never saw."""
        sets = self.test.subset(list(range(min(400, len(self.test)))))
        prior = self.measured()
        latents = encode_sets(prior, sets, resolution, seed=99)
        for t in (700, 900):
            use = camera_use(prior, sets, latents, t)
            classes = " ".join(f"{name} {ratio:.2f}" for name, ratio in use.by_class.items())
            log.info("  %d steps %.0f s: t=%d loss %.4f, turned 90: x %.3f (%s)", self.step, spent, t, use.right,
                     use.ratio, classes)  # fmt: skip


def train_mvdream(shards: list[Path], folder: Path, settings: MVDreamTraining, version: str) -> None:
    """Train until the budget is spent, then write the embedded model's files into `folder/model`.

    Args:
        shards: Rendered sets; the last file is never trained on.
        folder: Holds the trained `vae` and takes checkpoints.
        settings: See the class.
        version: Written beside the weights.
    """
    torch.manual_seed(settings.seed + 1000 * rank())
    trainer = Trainer(shards, folder, settings)
    train(trainer)
    if rank() == 0:
        model = trainer.measured()
        model.save(folder / "model", version)
        sample_sheet(model).save(folder / "model" / "samples.png")


def train(trainer: Trainer) -> None:
    """Run a trainer from its checkpoint until its budget is spent; every process calls it."""
    settings = trainer.settings
    clock = Clock(settings.seconds, trainer.resume())
    saved = logged = synced = clock.spent
    since = 0
    half, full = MINI.image_size // 2, MINI.image_size
    while not agree(clock.fraction >= 1):
        resolution = half if agree(clock.fraction < settings.low_share) else full
        trainer.open(half)
        trainer.open(resolution)
        until = clock.spent + settings.sync_seconds
        while clock.spent < until:
            kept = trainer.rng.random() < settings.low_kept
            trainer.train_step(half if kept else resolution, cosine(clock.fraction, trainer.step, 60))
            since += 1
        average_weights(trainer.parameters, since)
        synced, since = clock.spent, 0
        if rank() == 0 and clock.spent - logged > 60:
            logged = clock.spent
            log.info(
                "%d steps %.0f s at %d px, loss by t %s", trainer.step, synced, resolution, trainer.losses_by_noise()
            )
        if rank() == 0 and (clock.spent - saved > 300 or clock.fraction >= 1):
            saved = clock.spent
            trainer.save(clock.spent)
            trainer.report(resolution, clock.spent)
