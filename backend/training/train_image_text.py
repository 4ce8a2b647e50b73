"""Trains the small image-text model on procedural objects. Resumes.

Two contrasts: a picture against the prompts of its batch, where every picture with the same canonical description is
right; and a picture against another picture of the same object, which makes the space tell proportions and shades
apart that no prompt speaks of. Pictures are image prompts and training views alike, over random colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..priors.image_text import ImageTextModel
from .dataset import VIEWS, ViewSets, load_shards
from .image_prompts import prompt_path
from .prompts import VOCABULARY, describe, parse_prompt
from .render import over
from .runner import LoneTraining, train_lone, training_device


@dataclass(frozen=True)
class ImageTextTraining(LoneTraining):
    """Settings of a run; see `LoneTraining`.

    Args:
        same_object: Weight of the contrast between two pictures of one object.
    """

    seconds: float = 480.0
    batch: int = 48
    learning_rate: float = 1e-3
    same_object: float = 0.5
    seed: int = 11


def contrast(one: Tensor, other: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric cross entropy of cosines (B, B), every row's weight shared by all that is right in it.

    Args:
        one: Unit vectors (B, D).
        other: Unit vectors (B, D); row i belongs to row i of `one`.
        scale: Factor on the cosines.
        same: (B, B) bool: which pairs are right; the diagonal must be.
    """
    logits = scale * one @ other.T
    target = same.float() / same.sum(1, keepdim=True)
    return -0.5 * ((target * logits.log_softmax(1)).sum(1).mean() + (target.T * logits.log_softmax(0)).sum(0).mean())


class Pairs:
    """Batches of two pictures of each object with its prompt.

    Args:
        sets: Training views.
        prompts: Their image prompts, (N, 4, 64, 64) uint8.
        generator: Draws.
    """

    def __init__(self, sets: ViewSets, prompts: Tensor, generator: torch.Generator):
        self.sets, self.prompts, self.generator = sets, prompts, generator
        canonical = [describe(parse_prompt(about["prompt"])) for about in sets.meta]
        number = {text: k for k, text in enumerate(dict.fromkeys(canonical))}
        self.meaning = torch.tensor([number[text] for text in canonical])

    def batch(self, index: Tensor) -> tuple[Tensor, list[str], Tensor]:
        """Pictures (2 B, 3, 64, 64), first of all objects, then a second of each; their prompts; who means the same."""
        count = len(index)
        side = torch.randint(VIEWS, (2, count), generator=self.generator)
        views = [self.sets.views[index, side[k]] for k in range(2)]
        is_prompt = torch.rand(count, generator=self.generator) < 0.7
        views[0] = torch.where(is_prompt.view(-1, 1, 1, 1), self.prompts[index], views[0])
        pictures = torch.cat(views).float() / 255
        colours = torch.rand(len(pictures), 3, 1, 1, generator=self.generator)
        grey = torch.rand(len(pictures), 1, 1, 1, generator=self.generator)
        is_grey = torch.rand(len(pictures), 1, 1, 1, generator=self.generator) < 0.6
        meaning = self.meaning[index]
        same = meaning[:, None] == meaning[None]
        prompts = [self.sets.meta[i]["prompt"] for i in index.tolist()]
        return over(pictures, torch.where(is_grey, grey, colours)), prompts, same


@torch.no_grad()
def retrieval(model: ImageTextModel, pairs: Pairs, count: int = 200) -> tuple[float, float]:
    """Shares of unseen pictures whose nearest prompt means the right thing, and whose nearest other picture is of the
    same object, among up to `count` objects.
    """
    count = min(count, len(pairs.sets))
    pictures, prompts, same = pairs.batch(torch.arange(count))
    images = torch.cat([model.embed_images(part) for part in pictures.split(100)])
    first, second = images.chunk(2)
    found = (first @ model.embed_texts(prompts).T).argmax(1)
    right = same[torch.arange(count), found.cpu()].float().mean().item()
    own = ((first @ second.T).argmax(1).cpu() == torch.arange(count)).float().mean().item()
    return right, own


def train_image_text(shards: list[Path], folder: Path, settings: ImageTextTraining, version: str) -> ImageTextModel:
    """Train until the budget is spent and write `folder/image_text`; the last shard only measures."""
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    kept = [load_shards(shards[:-1]), load_shards(shards[-1:])]
    pictures = [
        torch.cat([torch.from_numpy(np.load(prompt_path(shard), allow_pickle=False)) for shard in part])
        for part in (shards[:-1], shards[-1:])
    ]
    pairs, unseen = (Pairs(sets, own, generator) for sets, own in zip(kept, pictures, strict=True))
    model = ImageTextModel(VOCABULARY).to(training_device()).train()

    def loss() -> Tensor:
        batch, prompts, same = pairs.batch(torch.randint(len(pairs.sets), (settings.batch,), generator=generator))
        first, second = model.embed_images(batch).chunk(2)
        scale, texts = model.log_scale.exp().clamp(max=100), model.embed_texts(prompts)
        same = same.to(model.device)
        value = 0.5 * (contrast(first, texts, scale, same) + contrast(second, texts, scale, same))
        return value + settings.same_object * contrast(first, second, scale, torch.eye(len(first)).to(same))

    def measure(averaged: ImageTextModel) -> dict[str, float]:
        return dict(zip(("right prompt", "same object"), retrieval(averaged, unseen), strict=True))

    trained = train_lone("image-text", model, folder, settings, generator, loss, measure, betas=(0.9, 0.98))
    trained.save(folder / "image_text", version)
    return trained
