"""Trains the mini ImageDream's controllers on top of the mini MVDream. Resumes.

Follows the paper's recipe (systems.md 5.2 and 5.3): global and local controllers learn their adapter and the new keys
and values alone, the pixel controller learns the whole U-Net; every object comes with a picture of its own that was
taken with other settings than the targets, over the targets' background; some pictures drop out.
Text encoder and codec are the mini MVDream's, the image encoder is the image-text model's; none of them is trained.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..priors.attention import ImageAttention
from ..priors.clip_images import clip_pixels
from ..priors.configs import MINI
from ..priors.imagedream import ImageContext, ImageDreamPrior
from .camera_use import v_losses
from .dataset import VIEWS, ViewSets
from .image_prompts import prompt_path
from .latents import ensure_latents, gather, load_latents
from .objects import ASYMMETRIC
from .prompts import describe, parse_prompt
from .render import over
from .runner import barrier, cosine, random_background, rank, training_device, whole_file, world_size
from .sheet import image_sheet
from .train_mvdream import MVDreamTraining, Trainer, train

log = logging.getLogger(__name__)

GLOBAL_PLACES = (2, 3, 6, 15)  # of a caption's tokens: first colour, noun, a second colour's place, and the end


@dataclass(frozen=True)
class ImageDreamTraining(MVDreamTraining):
    """Settings of a run; further ones: `MVDreamTraining`.

    Args:
        controller: "global", "local" or "pixel".
        caption_steps: Steps of `read_captions` before the U-Net is asked.
        both_dropout: Share of objects that lose prompt and picture, the unconditional side of guidance.
        picture_dropout: Share that lose the picture alone.
        text_dropout: Share that lose the prompt alone: a picture needs no caption.
        plain_share: Of the pictures that drop out, the share that becomes a plain colour, as in the paper; the others
            become zero features and zero latents, which is what sampling and distillation use.
        sheet: Unseen pictures whose views are drawn at the end, for a look.
    """

    controller: str = "local"
    learning_rate: float = 1e-3
    quick_rate: float = 3.0
    image_share: float = 0.0  # single views have no picture of another kind here
    text_dropout: float = 0.25
    caption_steps: int = 1500
    both_dropout: float = 0.1
    picture_dropout: float = 0.05
    plain_share: float = 0.3
    sheet: int = 20


class Pictures:
    """Image prompts of all sets as the model takes them, computed once a shard and kept beside it.

    Args:
        prior: Its encoders are used.
        shards: Of the training sets.
    """

    def __init__(self, prior: ImageDreamPrior, shards: list[Path]):
        for shard in shards[rank() :: world_size()]:
            _ensure(shard, ("pixels-64", "pixels-32"), lambda images: _latents(prior, images))
            _ensure(shard, ("features", "embeddings"), lambda images: _features(prior, images))
        barrier()
        names = ("features", "embeddings", "pixels-64", "pixels-32")
        self.arrays = {name: load_latents([_file(shard, name) for shard in shards]) for name in names}

    def get(self, name: str, index: Tensor) -> Tensor:
        """ "features", "embeddings", "pixels-64" or "pixels-32" for sets at `index` (B,): (B, ...) float32."""
        return gather(self.arrays[name], index)


def _file(shard: Path, name: str) -> Path:
    return shard.with_name(f"pictures-{name}-{shard.stem}.npy")


@torch.no_grad()
def _ensure(shard: Path, names: tuple[str, ...], encode: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
    """Encode the image prompts of a shard, over the greys of its latents' first variant, where that is missing."""
    if all(_file(shard, name).exists() for name in names):
        return
    prompts = torch.from_numpy(np.load(prompt_path(shard), allow_pickle=False))
    number = int(shard.stem.split("-")[-1])
    grey = random_background(len(prompts), torch.Generator().manual_seed(number)).view(-1, 1, 1, 1)
    parts = [encode(over(prompts[k].float() / 255, grey[k])) for k in torch.arange(len(prompts)).split(50)]
    for name, made in zip(names, zip(*parts, strict=True), strict=True):
        path = _file(shard, name)
        with whole_file(path) as file:
            np.save(file, torch.cat(made).half().cpu().contiguous().numpy())
    log.info("encoded %s of %s", " and ".join(names), shard.name)


def _latents(prior: ImageDreamPrior, images: Tensor) -> tuple[Tensor, Tensor]:
    return prior.picture_latents(images), prior.picture_latents(images, size=32)


def _features(prior: ImageDreamPrior, images: Tensor) -> tuple[Tensor, Tensor]:
    pixels = clip_pixels(images, MINI.image_size).to(prior.device)
    seen = prior.image_encoder(pixels, output_hidden_states=True)
    return seen.hidden_states[-2], seen.image_embeds


@torch.no_grad()
def copy_text_attention(prior: ImageDreamPrior) -> None:
    """Start the image's keys and values as the text's own: a token that says "red" then means red wherever it is from.

    From IP-Adapter [Ye et al. 2023], whose decoupled attention ImageDream took over.
    """
    for name, processor in prior.unet.attn_processors.items():
        if isinstance(processor, ImageAttention):
            attention = prior.unet.get_submodule(name.removesuffix(".processor"))
            processor.to_k_ip[0].weight.copy_(attention.to_k.weight)
            processor.to_v_ip[0].weight.copy_(attention.to_v.weight)


def read_captions(
    prior: ImageDreamPrior, pictures: Pictures, sets: ViewSets, settings: ImageDreamTraining, batch: int = 64
) -> None:
    """Teach the projection to make of a picture what the text encoder makes of its plain caption.

    An addition of ours: a step costs a hundredth of one through the U-Net, and without it the adapters of a frozen
    U-Net had learnt next to nothing of shapes after 2,000 steps (docs/log.md).
    """
    captions = prior.tokenizer([describe(parse_prompt(about["prompt"])) for about in sets.meta])
    name = "embeddings" if settings.controller == "global" else "features"
    places = torch.tensor(GLOBAL_PLACES) if name == "embeddings" else torch.arange(prior.config.image_tokens)
    projection = prior.unet.encoder_hid_proj.requires_grad_(True)
    optimizer = torch.optim.AdamW(projection.parameters(), 2e-3, (0.9, 0.98), weight_decay=1e-2, fused=True)
    generator = torch.Generator().manual_seed(settings.seed)
    for step in range(settings.caption_steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * cosine(step / settings.caption_steps, step, 50)
        index = torch.randint(len(sets), (batch,), generator=generator)
        wanted = prior.encode_tokens(captions[index])[:, places]
        loss = (prior.project(pictures.get(name, index)) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 250 == 249 and rank() == 0:
            log.info("captions: %d steps, error %.3f of variance %.3f", step + 1, loss.item(), wanted.var().item())


class ImageDreamTrainer(Trainer):
    """One process of a run.

    Args:
        shards: Rendered sets with their image prompts; the last file is never trained on.
        folder: Takes checkpoints and, below the controller's name, the result.
        settings: See the class.
    """

    settings: ImageDreamTraining
    prior: ImageDreamPrior

    def __init__(self, shards: list[Path], folder: Path, settings: ImageDreamTraining):
        super().__init__(shards, folder, settings)
        self.unseen, self.last = Pictures(self.prior, shards[-1:]), shards[-1]

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept."""
        return self.folder / f"{self.settings.controller}-training.pt"

    def fresh(self) -> ImageDreamPrior:
        """The mini MVDream with a random adapter, and the image encoder of this folder where one was trained there."""
        encoder = self.folder / "image_text"
        own = encoder if encoder.is_dir() else None
        return ImageDreamPrior.from_parts_of_mini(self.settings.controller, None, "", own)

    def start(self) -> ImageDreamPrior:
        """The mini MVDream with an adapter that starts by reading pictures as captions."""
        torch.manual_seed(self.settings.seed)
        prior = self.fresh().to(training_device())
        copy_text_attention(prior)
        self.pictures = Pictures(prior, self.shards)
        if not self.checkpoint.exists():
            read_captions(prior, self.pictures, self.sets, self.settings)
        return prior.requires_grad_(False)

    def learning(self) -> tuple[nn.ModuleDict, list[nn.Module]]:
        """The adapter, its keys and values; with a pixel controller the U-Net, and those at the quicker rate."""
        unet = self.prior.unet
        attention = nn.ModuleList([each for each in unet.attn_processors.values() if isinstance(each, nn.Module)])
        adapter = nn.ModuleDict({"projection": unet.encoder_hid_proj, "attention": attention})
        if self.settings.controller != "pixel":
            return adapter, []
        return nn.ModuleDict({"unet": unet}), [adapter]

    def told(self, index: Tensor, size: int) -> ImageContext:
        """What the model is told of sets at `index` (B,): one row an object."""
        settings, count = self.settings, len(index)
        draw = torch.rand(count, generator=self.generator)
        both = draw < settings.both_dropout
        no_picture = both | ((draw >= 0.5) & (draw < 0.5 + settings.picture_dropout))
        no_text = both | (draw >= 1 - settings.text_dropout)
        tokens = self.tokens[index].clone()
        tokens[no_text] = self.empty
        name = "embeddings" if settings.controller == "global" else "features"
        features = self.pictures.get(name, index).to(self.prior.device)
        pixels = self.pictures.get(f"pixels-{size * 4}", index).to(self.prior.device)
        for i in no_picture.nonzero()[:, 0].tolist():
            features[i], pixels[i] = self._nothing(size)
        image = self.prior.project(features)
        return ImageContext(self.prior.encode_tokens(tokens), image, pixels if self.prior.config.pixel else None)

    def _nothing(self, size: int) -> tuple[Tensor, Tensor]:
        """Features and latents in place of a picture: of a plain colour, or zeros."""
        if self.rng.random() >= self.settings.plain_share:
            return self.prior.zero_features()[0], torch.zeros(1, device=self.prior.device)
        colour = torch.rand(1, 3, 1, 1, generator=self.generator).expand(1, 3, size * 4, size * 4)
        features = self.prior.image_features(clip_pixels(colour, MINI.image_size))[0]
        return features, self.prior.picture_latents(colour, size=size * 4)[0]

    def measured(self) -> ImageDreamPrior:
        """The averaged weights as a prior."""
        prior = self.fresh()
        prior.load_state_dict(self.prior.state_dict())
        learnt = self.average.model
        if self.settings.controller == "pixel":
            prior.unet.load_state_dict(learnt["unet"].state_dict())
        else:
            own = [each for each in prior.unet.attn_processors.values() if isinstance(each, nn.Module)]
            nn.ModuleList(own).load_state_dict(learnt["attention"].state_dict())
            prior.unet.encoder_hid_proj.load_state_dict(learnt["projection"].state_dict())
        return prior.to(self.prior.device).requires_grad_(False)

    def report(self, resolution: int, spent: float) -> None:
        """Log how much the averaged model uses picture and camera on sets it never saw."""
        prior = self.measured()
        chosen = [i for i, about in enumerate(self.test.meta[:400]) if about["kind"] in ASYMMETRIC][:64]
        sets = self.test.subset(chosen)
        latents = gather(load_latents([ensure_latents(prior, self.last, resolution, 0)]), torch.tensor(chosen))
        for t in (700, 900):
            use = self.picture_use(prior, sets, latents, torch.tensor(chosen), t)
            log.info("  %d steps %.0f s: t=%d loss %.4f, no picture x %.3f, another's x %.3f, turned 90 x %.3f",
                     self.step, spent, t, *use)  # fmt: skip

    def picture_use(
        self, prior: ImageDreamPrior, sets: ViewSets, latents: Tensor, index: Tensor, t: int
    ) -> tuple[float, ...]:
        """Loss with the right picture and no prompt; and by what factor it grows without picture, with another
        object's picture, and with cameras turned by 90 degrees.

        Args:
            prior: The model under test.
            sets: Unseen sets.
            latents: Theirs, over the greys of their pictures. (B, 4, C, h, w).
            index: Their places in the last shard, (B,).
            t: Timestep in [0, 999].
        """
        name = "embeddings" if self.settings.controller == "global" else "features"
        tokens = prior.image_tokens(self.unseen.get(name, index))
        pixels = self.unseen.get(f"pixels-{latents.shape[-1] * 4}", index) if prior.config.pixel else None
        text = prior.encode_text([""]).expand(len(index), -1, -1)
        right = ImageContext(text, tokens, pixels)
        none = ImageContext(text, prior.zero_tokens(len(index)), None if pixels is None else torch.zeros_like(pixels))
        x0, order = latents.flatten(0, 1), torch.arange(len(index))
        losses = []
        for context, turn in ((right, 0.0), (none, 0.0), (right[order.roll(1)], 0.0), (right, 90.0)):
            cameras = sets.cameras(order, turn)
            losses.append(v_losses(prior, x0, context.repeat_interleave(VIEWS), cameras, t).mean().item())
        return losses[0], *(loss / losses[0] for loss in losses[1:])


def train_imagedream(shards: list[Path], folder: Path, settings: ImageDreamTraining, version: str) -> None:
    """Train one controller until the budget is spent and write its files into `folder/<controller>`.

    Args:
        shards: Rendered sets; the last file is never trained on. Their image prompts lie beside them.
        folder: Takes checkpoints and results; may hold the image encoder in `image_text`, else the embedded one is
            used.
        settings: See the class.
        version: Written beside the weights.
    """
    torch.manual_seed(settings.seed + 1000 * rank())
    trainer = ImageDreamTrainer(shards, folder, settings)
    train(trainer)
    if rank() == 0:
        model = trainer.measured()
        target = folder / settings.controller
        model.save_controller(target, version)
        pictures = torch.from_numpy(np.load(prompt_path(shards[-1]), allow_pickle=False))
        captions = [about["prompt"] for about in trainer.test.meta[: settings.sheet]]
        image_sheet(model, pictures[: settings.sheet], captions).save(target / "samples.png")
