"""Trains the network that reads a picture's caption. Resumes.

Pictures are shown mirrored, and lighter or darker with the captions' colours. Their hues the network does not see
(`picture_words.hueless`): neither what a thing is nor where its colours are can be learnt from them, and classes are
read in colours that training never joined with them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..priors.picture_words import BLANK, PictureWords
from .objects import COLOURS
from .posed_pictures import arrays
from .prompts import SAID, template_of, templates, usual_colours
from .runner import LoneTraining, train_lone, training_device

ROBUST, COLOUR = 0.05, 20.0  # beyond this an error of a colour counts by its size; weight beside the sentence's
GAMMA = 0.25  # by which e-folds colours are raised, standard deviation: other light than the data has


@dataclass(frozen=True)
class PictureWordsTraining(LoneTraining):
    """Settings of a run; see `LoneTraining`."""

    seconds: float = 1200.0
    batch: int = 64
    learning_rate: float = 1.5e-3
    seed: int = 5


class DescribedPictures:
    """All pictures of some files in memory, with what they show.

    Args:
        paths: As `posed_pictures.ensure_posed` returns them.
    """

    def __init__(self, paths: list[Path]):
        read = arrays(paths, ("pictures", "captions", "colours"))
        self.pictures, self.colours = torch.from_numpy(read["pictures"]), torch.from_numpy(read["colours"])
        self.captions = read["captions"].tolist()
        said = templates()
        self.number = torch.tensor([said.index(template_of(caption)) for caption in self.captions])
        self.both = torch.tensor([said[k].count(BLANK) > 1 for k in self.number.tolist()])

    def __len__(self) -> int:
        return len(self.pictures)

    def varied(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures as they are shown, and what is to be read from them.

        Returns:
            Cut-outs (B, 4, 64, 64) in [0, 1]; numbers of templates (B,); colours (B, 2, 3); which of these are named
            (B, 2), bool.
        """
        count, opacity = len(index), self.pictures[index, 3:].float() / 255
        straight = (self.pictures[index, :3].float() / 255 / opacity.clamp_min(1e-3)).clamp(0, 1)
        gamma = (GAMMA * torch.randn(count, 1, 1, 1, generator=generator)).exp()
        pictures = torch.cat([straight**gamma * opacity, opacity], 1)
        turned = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
        colours = self.colours[index] ** gamma[:, :, 0]
        named = torch.stack([torch.ones(count, dtype=torch.bool), self.both[index]], 1)
        return torch.where(turned, pictures.flip(3), pictures), self.number[index], colours, named


def words_loss(logits: Tensor, colours: Tensor, number: Tensor, true: Tensor, named: Tensor) -> Tensor:
    """What is minimised.

    Args:
        logits: Of the templates. (B, T).
        colours: That were read. (B, 2, 3).
        number: Of the true template. (B,).
        true: The true colours. (B, 2, 3).
        named: Which of them the caption names. (B, 2), bool.
    """
    off = F.smooth_l1_loss(colours, true, beta=ROBUST, reduction="none").mean(2)
    return F.cross_entropy(logits, number) + COLOUR * (off * named).sum() / named.sum()


@torch.no_grad()
def reading(model: PictureWords, described: DescribedPictures) -> dict[str, float]:
    """On pictures that it was not trained on, shares that are read right.

    Returns:
        `classes`, whether a caption names the true one ("stack": both of its solids, in their order); `templates`;
        `captions`, whole; `told`, the same with the class told.
    """
    device = next(model.parameters()).device
    parts = [model(part.float().to(device) / 255) for part in described.pictures.split(200)]
    logits, colours = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    right = {"classes": 0.0, "templates": 0.0, "captions": 0.0, "told": 0.0}
    for i, seen in enumerate(described.captions):
        caption = model.said(template_of(seen), model.named(seen)[0])
        read = model.worded(logits[i], colours[i])
        nouns = [[word for word in text.split() if word in model.classes] for text in (read, caption)]
        right["classes"] += nouns[0] == nouns[1]
        right["templates"] += template_of(read) == template_of(caption)
        right["captions"] += read == caption
        right["told"] += model.worded(logits[i], colours[i], " ".join(nouns[1])) == caption
    return {name: count / len(described) for name, count in right.items()}


def train_picture_words(paths: list[Path], folder: Path, settings: PictureWordsTraining, version: str) -> PictureWords:
    """Train until the budget is spent and write `folder/picture_words`; the last file only measures."""
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    described, unseen = DescribedPictures(paths[:-1]), DescribedPictures(paths[-1:])
    device = training_device()
    model = PictureWords(templates(), COLOURS, usual_colours(), SAID).train()
    model.to(device, memory_format=torch.channels_last)

    def loss() -> Tensor:
        batch = described.varied(torch.randint(len(described), (settings.batch,), generator=generator), generator)
        pictures, *wanted = (value.to(device) for value in batch)
        return words_loss(*model(pictures.contiguous(memory_format=torch.channels_last)), *wanted)

    measure = functools.partial(reading, described=unseen)
    trained = train_lone("picture-words", model, folder, settings, generator, loss, measure)
    trained.save(folder / "picture_words", version)
    return trained
