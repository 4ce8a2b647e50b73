"""Trains the mini MVDream: a few-million-parameter four-view diffusion model on procedural objects. Resumes.

Follows the paper's recipe (systems.md 6.3): four-view batches with one timestep a set, 2D batches without camera, text
dropout; with what mini.md measured for small models: flat v-loss, zero terminal SNR, high noise drawn often.
Resolution grows once: classes, colours and cameras are learnt four times cheaper at half resolution.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from ..priors.configs import MINI
from ..priors.mvdream import MVDreamPrior
from .camera_use import camera_use
from .dataset import load_shards
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
    world_size,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MVDreamTraining:
    """Settings of a run.

    Args:
        seconds: Budget on the clock, over all sessions.
        low_share: Share of the budget at 32 px before 64 px.
        low_batch: Sets a step at 32 px.
        batch: Sets a step at 64 px.
        learning_rate: Peak of AdamW.
        camera_rate: Factor on the camera embedding's learning rate (mini.md: it is learnt last).
        image_share: Share of 2D batches: single views, no camera (the paper uses 0.3 with LAION pictures).
        camera_dropout: Share of four-view batches whose cameras are dropped.
        text_dropout: Share of prompts replaced by the empty one.
        high_noise: Shares of timesteps drawn from [850, 1000) and from [400, 1000); the rest is uniform.
        variants: How many random backgrounds each set is encoded over at 64 px.
        sync_seconds: How often processes average their weights.
    """

    seconds: float = 5400.0
    low_share: float = 0.45
    low_batch: int = 8
    batch: int = 8
    learning_rate: float = 8e-4
    camera_rate: float = 4.0
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


class Trainer:
    """One process of a run: its data, model, optimiser and step."""

    def __init__(self, shards: list[Path], folder: Path, settings: MVDreamTraining):
        self.settings, self.folder = settings, folder
        self.sets, self.test = load_shards(shards[:-1]), load_shards(shards[-1:])
        self.shards = shards[:-1]
        self.prior = MVDreamPrior.random(MINI, VOCABULARY, seed=settings.seed)
        self.prior.vae = AutoencoderKL.from_pretrained(folder / "vae").eval().requires_grad_(False)
        self.net = (
            nn.ModuleDict({"unet": self.prior.unet, "text": self.prior.text_encoder}).requires_grad_(True).train()
        )
        self.net.unet.to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.net, 0.998)
        camera = list(self.prior.unet.class_embedding.parameters())
        rest = [p for p in self.net.parameters() if all(p is not c for c in camera)]
        groups = [{"params": rest, "factor": 1.0}, {"params": camera, "factor": settings.camera_rate}]
        self.optimizer = torch.optim.AdamW(groups, settings.learning_rate, (0.9, 0.98), weight_decay=1e-2, fused=True)
        self.parameters = list(self.net.parameters())
        self.tokens = self.prior.tokenizer([about["prompt"] for about in self.sets.meta])
        self.empty = self.prior.tokenizer([""])[0]
        self.generator = torch.Generator().manual_seed(settings.seed + 1000 * rank())
        self.rng = random.Random(settings.seed + 1000 * rank())
        self.step = self.epoch = 0
        self.order, self.place, self.latents, self.resolution = torch.empty(0), 0, [], 0
        self.losses: list[tuple[Tensor, Tensor]] = []

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept."""
        return self.folder / "unet-training.pt"

    def resume(self) -> float:
        """Continue from the checkpoint where there is one; seconds already spent."""
        state = load_checkpoint(self.checkpoint)
        if state is None:
            return 0.0
        self.net.load_state_dict(state["net"])
        self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.epoch = state["step"], state["epoch"]
        self.generator.manual_seed(self.settings.seed + 1000 * rank() + self.step)
        return state["spent"]

    def save(self, spent: float) -> None:
        """Write the checkpoint."""
        state = {"net": self.net.state_dict(), "average": self.average.model.state_dict()}
        state |= {"optimizer": self.optimizer.state_dict(), "step": self.step, "epoch": self.epoch, "spent": spent}
        save_checkpoint(self.checkpoint, state)

    def open_epoch(self, resolution: int) -> None:
        """Shuffle, and take the next background variant at this resolution."""
        self.resolution, self.place = resolution, 0
        variant = self.epoch % (self.settings.variants if resolution == MINI.image_size else 1)
        self.latents = load_latents([ensure_latents(self.prior, s, resolution, variant) for s in self.shards])
        self.order = torch.randperm(len(self.sets), generator=self.generator)
        self.epoch += 1

    def encode(self, resolution: int) -> None:
        """Encode what is not encoded yet, every process its share; all processes must call it together."""
        for variant in range(self.settings.variants if resolution == MINI.image_size else 1):
            for shard in self.shards[rank() :: world_size()]:
                ensure_latents(self.prior, shard, resolution, variant)
        barrier()

    def batch(self, resolution: int) -> Tensor:
        """Indices of the next sets."""
        size = self.settings.batch if resolution == MINI.image_size else self.settings.low_batch
        if resolution != self.resolution or self.place + size > len(self.order):
            self.open_epoch(resolution)
        self.place += size
        return self.order[self.place - size : self.place]

    def loss(self, index: Tensor) -> Tensor:
        """Flat v-loss of some sets (systems.md 6.3 with v as the target)."""
        settings, draw = self.settings, self.rng.random()
        x0 = gather(self.latents, index).flatten(0, 1)
        tokens = self.tokens[index].clone()
        tokens[torch.rand(len(index), generator=self.generator) < settings.text_dropout] = self.empty
        flat = draw < settings.image_share
        views = 1 if flat else 4
        cameras = None if draw < settings.image_share + settings.camera_dropout else self.sets.cameras(index)
        t = draw_timesteps(len(x0) // views, settings, self.generator).repeat_interleave(views)
        eps = torch.randn(x0.shape, generator=self.generator)
        abar = self.prior.alphas_cumprod[t].view(-1, 1, 1, 1)
        x_t = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
        velocity = abar.sqrt() * eps - (1 - abar).sqrt() * x0
        context = self.net.text(tokens).last_hidden_state.repeat_interleave(4, 0)
        error = (self.prior.raw_output(x_t, t, context, cameras, views) - velocity).square().mean((1, 2, 3))
        self.losses.append((t[::views], error.detach().view(-1, views).mean(1)))
        return error.mean()

    def train_step(self, resolution: int, rate: float) -> None:
        """One optimiser step at a learning rate factor."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * rate * group["factor"]
        loss = self.loss(self.batch(resolution))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.net, self.step)

    def losses_by_noise(self) -> str:
        """Mean loss in five bands of t since the last call, and forget them."""
        t, loss = (torch.cat(parts) for parts in zip(*self.losses, strict=True))
        self.losses = []
        bands = [loss[(t >= low) & (t < low + 200)] for low in range(0, 1000, 200)]
        return " ".join(f"{band.mean():.3f}" if len(band) else "-" for band in bands)

    def measured(self) -> MVDreamPrior:
        """The averaged weights as a prior."""
        prior = MVDreamPrior.random(MINI, VOCABULARY)
        prior.vae = self.prior.vae
        prior.unet.load_state_dict(self.average.model["unet"].state_dict())
        prior.text_encoder.load_state_dict(self.average.model["text"].state_dict())
        return prior

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
    clock = Clock(settings.seconds, trainer.resume())
    saved = logged = synced = clock.spent
    since = 0
    while not agree(clock.fraction >= 1):
        low = agree(clock.fraction < settings.low_share)
        resolution = MINI.image_size // 2 if low else MINI.image_size
        if resolution != trainer.resolution:
            trainer.encode(resolution)
        until = clock.spent + settings.sync_seconds
        while clock.spent < until:
            trainer.train_step(resolution, cosine(clock.fraction, trainer.step, 60))
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
    if rank() == 0:
        trainer.measured().save(folder / "model", version)
