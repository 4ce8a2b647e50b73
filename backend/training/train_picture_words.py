"""Trains the network that reads a picture's caption. Resumes.

Pictures are shown mirrored, and lighter or darker with the captions' colours. Their hues the network does not see
(`picture_words.hueless`): neither what a thing is nor where its colours are can be learnt from them, and classes are
read in colours that training never joined with them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..priors.picture_words import BLANK, PictureWords
from .objects import COLOURS
from .posed_pictures import arrays
from .prompts import SAID, template_of, templates, usual_colours
from .runner import AveragedModel, Clock, cosine, load_run, save_run, training_device

log = logging.getLogger(__name__)

ROBUST, COLOUR = 0.05, 20.0  # beyond this an error of a colour counts by its size; weight beside the sentence's
GAMMA = 0.25  # by which e-folds colours are raised, standard deviation: other light than the data has


@dataclass(frozen=True)
class PictureWordsTraining:
    """Settings of a run.

    Args:
        seconds: Budget on the clock, over all sessions.
        batch: Pictures a step.
        learning_rate: Peak of AdamW.
    """

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
    right = {"classes": 0.0, "templates": 0.0, "captions": 0.0, "told": 0.0}
    for picture, seen in zip(described.pictures, described.captions, strict=True):
        cut_out = picture.float().to(device) / 255
        straight = torch.cat([cut_out[:3] / cut_out[3:].clamp_min(1e-3), cut_out[3:]])
        caption = model.said(template_of(seen), model.named(seen)[0])
        read = model.caption(straight)
        nouns = [[word for word in text.split() if word in model.named(text)[1]] for text in (read, caption)]
        right["classes"] += nouns[0] == nouns[1]
        right["templates"] += template_of(read) == template_of(caption)
        right["captions"] += read == caption
        right["told"] += model.caption(straight, " ".join(nouns[1])) == caption
    return {name: count / len(described) for name, count in right.items()}


def train_picture_words(paths: list[Path], folder: Path, settings: PictureWordsTraining, version: str) -> PictureWords:
    """Train until the budget is spent and write `folder/picture_words`; the last file only measures."""
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    described, unseen = DescribedPictures(paths[:-1]), DescribedPictures(paths[-1:])
    device = training_device()
    model = (
        PictureWords(templates(), COLOURS, usual_colours(), SAID).to(device, memory_format=torch.channels_last).train()
    )
    average = AveragedModel(model, 0.995)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=0.05, fused=True)
    checkpoint = folder / "picture-words-training.pt"
    step, spent = load_run(checkpoint, model, average, optimizer)
    generator.manual_seed(settings.seed + step)
    clock, saved = Clock(settings.seconds, spent), spent
    while clock.fraction < 1:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * cosine(clock.fraction, step, 100)
        batch = described.varied(torch.randint(len(described), (settings.batch,), generator=generator), generator)
        pictures, *wanted = (value.to(device) for value in batch)
        loss = words_loss(*model(pictures.contiguous(memory_format=torch.channels_last)), *wanted)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        step += 1
        average.update(model, step)
        if clock.spent - saved > 180 or clock.fraction >= 1:
            saved = clock.spent
            save_run(checkpoint, model, average, optimizer, step, saved)
            found = {name: round(value, 4) for name, value in reading(average.model, unseen).items()}
            log.info("picture-words: %d steps %.0f s, loss %.3f, unseen %s", step, saved, loss.item(), found)
    average.model.save(folder / "picture_words", version)
    return average.model
