"""What a cut-out picture shows, in the words of the mini models, read from the picture alone.

A small convolutional network tells the sentence but for its colours, "a _ mug with a _ handle", and points at where in
the picture each of the colours is seen. It sees no hues, only where colours change, so it cannot know things by their
colours: an orange mug is a mug though every mug that it met had another colour. Knows pictures and words; knows no
object, no field and no diffusion.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .latent import read_model, write_folder
from .picture_pose import SIZE, halved, seen_small
from .tokenizer import WordTokenizer

MINI_FOLDER = Path(__file__).parent.parent / "mini" / "picture_words"
BLANK = "_"  # stands for a colour
MOST_BLANKS = 2
SEEN = 5  # channels of `hueless`
_WIDTHS = (32, 64, 96, 128)  # channels at 32, 16, 8 and 4 pixels a side
_WHOLE, _KEYS = 192, 32


class PictureWords(nn.Module):
    """Cut-outs to sentences.

    Args:
        templates: What may be said, each with one or two blanks for colours, the plain "a _ mug" of every class among
            them.
        colours: sRGB in [0, 1] by name.
        usual: Templates whose last blank goes without saying where it is this colour: a tree's trunk is brown.
        synonyms: Other words for the templates' own: "cup" is "mug".
        version: Of the weights, for reports.
    """

    name = "mini-picture-words"

    def __init__(
        self,
        templates: Sequence[str],
        colours: Mapping[str, Sequence[float]],
        usual: Mapping[str, str] | None = None,
        synonyms: Mapping[str, str] | None = None,
        version: str = "",
    ):
        super().__init__()
        self.templates, self.version = tuple(templates), version
        self.colours = {name: tuple(values) for name, values in colours.items()}
        self.usual, self.synonyms = dict(usual or {}), dict(synonyms or {})
        self.classes = {text.split()[-1] for text in self.templates if len(text.split()) == 3}  # "a _ mug"
        self.start = nn.Sequential(nn.Conv2d(SEEN, _WIDTHS[0], 4, 2, 1), nn.SiLU())
        self.levels = nn.ModuleList(halved(*pair) for pair in itertools.pairwise(_WIDTHS))
        self.whole = nn.Sequential(nn.Flatten(), nn.Linear(_WIDTHS[-1] * (SIZE // 16) ** 2, _WHOLE), nn.SiLU())
        self.sentence = nn.Linear(_WHOLE, len(self.templates))
        self.keys = nn.ModuleList(nn.Conv2d(width, _KEYS, 1) for width in _WIDTHS[:3])
        self.queries = nn.Linear(_WHOLE, MOST_BLANKS * _KEYS)
        self.gains = nn.Linear(_WHOLE, MOST_BLANKS)

    def forward(self, cut_outs: Tensor) -> tuple[Tensor, Tensor]:
        """What is learnt.

        Args:
            cut_outs: As `PicturePose.forward` takes them: premultiplied, (N, 4, 64, 64) in [0, 1].

        Returns:
            Logits of the templates, (N, T), and the colours in their blanks without light, sRGB, (N, 2, 3); the second
            means nothing where a template has one blank.
        """
        levels = [self.start(hueless(cut_outs))]
        for level in self.levels:
            levels.append(level(levels[-1]))
        whole = self.whole(levels[-1])
        size = levels[0].shape[-2:]
        keys = sum(F.interpolate(key(level), size) for key, level in zip(self.keys, levels, strict=False))
        queries = self.queries(whole).unflatten(1, (MOST_BLANKS, _KEYS))
        looks = (queries @ keys.flatten(2) * _KEYS**-0.5).softmax(2)  # at 32 x 32 places
        seen = looks @ F.avg_pool2d(cut_outs, 2).flatten(2).transpose(1, 2)
        lit = seen[..., :3] / seen[..., 3:].clamp_min(1e-3)
        return self.sentence(whole), lit * self.gains(whole).exp()[..., None]

    def named(self, prompt: str) -> tuple[list[str], set[str]]:
        """The colours, in their order, and the classes that a prompt names."""
        words = self._words(prompt)
        return [word for word in words if word in self.colours], self.classes & set(words)

    @torch.no_grad()
    def caption(self, picture: Tensor, told: str = "") -> str:
        """What a picture shows, in a sentence.

        Args:
            picture: The cut-out, straight colour and opacity in [0, 1], centred, its longer side `FILL` of the square
                (`picture_pose`); (4, S, S).
            told: See `worded`.
        """
        logits, colours = self(seen_small(picture)[None])
        return self.worded(logits[0].cpu(), colours[0].cpu(), told)

    def worded(self, logits: Tensor, colours: Tensor, told: str = "") -> str:
        """The likeliest sentence among those that say what is told.

        Args:
            logits: Of the templates, as `forward` answers for one picture. (T,).
            colours: In their blanks. (2, 3).
            told: What is known of the picture in words. Templates that share the most of them are chosen from, and
                colours that it names are among those of the sentence, as many as it has blanks for.
        """
        words = set(self._words(told))
        shared = torch.tensor([len(words & _meant(text)) for text in self.templates])
        template = self.templates[int(logits.masked_fill(shared < shared.max(), -torch.inf).argmax())]
        blanks = template.count(BLANK)
        wanted = set(self.named(told)[0][:blanks])
        choices = [names for names in itertools.permutations(self.colours, blanks) if wanted <= set(names)]
        known = torch.tensor([[self.colours[name] for name in names] for names in choices])
        errors = (known - colours[:blanks]).square().sum((1, 2))
        return self.said(template, choices[int(errors.argmin())])

    def _words(self, prompt: str) -> list[str]:
        return [self.synonyms.get(word, word) for word in WordTokenizer.split(prompt)]

    def said(self, template: str, names: Sequence[str]) -> str:
        """The sentence of a template with these colours, one for each blank; without what goes without saying."""
        if self.usual.get(template) == names[-1]:
            template = template.split(" with ")[0]
        return filled(template, names)

    def save(self, folder: Path, version: str) -> None:
        """Write the weights in half precision with their words, version and hashes."""
        tensors = {key: value.half().contiguous() for key, value in self.state_dict().items()}
        about = {"name": self.name, "version": version}
        words = ("templates", "colours", "usual", "synonyms")
        write_folder(folder, tensors, about | {name: getattr(self, name) for name in words})

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: The folder holds no weights.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        words = ("templates", "colours", "usual", "synonyms", "version")
        return read_model(folder, lambda about: cls(*(about[name] for name in words)))

    @classmethod
    def mini(cls) -> Self:
        """The embedded model."""
        return cls.from_folder(MINI_FOLDER)


def hueless(cut_outs: Tensor) -> Tensor:
    """What stays the same in any order of red, green and blue, times the opacity.

    Args:
        cut_outs: Premultiplied, (N, 4, H, W) in [0, 1]; H and W even.

    Returns:
        Opacity; brightness; the channels' spread; how far the colour is from the subject's median colour; the same of
        the shares of red, green and blue, which shading leaves alone. (N, 5, H, W).
    """
    opacity = cut_outs[:, 3:]
    straight = (cut_outs[:, :3] / opacity.clamp_min(1e-3)).clamp(0, 1)
    shares = straight / (straight.sum(1, keepdim=True) + 0.1)  # what is nearly black has no hue
    both = torch.cat([straight, shares], 1)
    inside = both.masked_fill(opacity < 0.5, torch.nan)[:, :, ::2, ::2]  # every fourth pixel tells a median
    off = (both - inside.flatten(2).nanmedian(2).values.nan_to_num()[..., None, None]).unflatten(1, (2, 3))
    spread = straight.amax(1, keepdim=True) - straight.amin(1, keepdim=True)
    seen = torch.cat([torch.ones_like(opacity), straight.mean(1, keepdim=True), spread, off.norm(dim=2)], 1)
    return seen * opacity


def filled(template: str, names: Sequence[str]) -> str:
    """A template with colours in its blanks, as many as it has; "an" before a vowel."""
    for name in names:
        template = template.replace(BLANK, name, 1)
    return re.sub(r"\ba (?=[aeiou])", "an ", template)


def _meant(template: str) -> set[str]:
    """The words of a template that say what a thing is."""
    return set(template.split()) - {"a", "and", "with", "on", BLANK}
