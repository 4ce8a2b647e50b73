"""Words to token ids: a closed vocabulary for the mini text encoder, CLIP's own tokenizer for the published models.

Knows no objects: the mini model's words come with its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from .configs import MVDreamConfig
from .weight_errors import MissingWeights

_START, _END, _UNKNOWN = 0, 1, 2


class WordTokenizer:
    """Whole words, lower case, punctuation dropped.

    Args:
        words: The vocabulary, in the order of the ids after the three special tokens.
        length: Tokens per prompt, with start and end; the rest is padded with end tokens.
    """

    def __init__(self, words: Sequence[str], length: int):
        self.words, self.length = tuple(words), length
        self._ids = {word: number + 3 for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words) + 3

    @staticmethod
    def split(prompt: str) -> list[str]:
        """The prompt's words."""
        return "".join(c if c.isalnum() else " " for c in prompt.lower()).split()

    def unknown(self, prompt: str) -> list[str]:
        """Words outside the vocabulary, in order, each once."""
        return list(dict.fromkeys(word for word in self.split(prompt) if word not in self._ids))

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Ids of the prompts: (B, length) long. Words past the length are dropped."""
        rows = []
        for prompt in prompts:
            ids = [self._ids.get(word, _UNKNOWN) for word in self.split(prompt)][: self.length - 2]
            rows.append([_START, *ids] + [_END] * (self.length - 1 - len(ids)))
        return torch.tensor(rows)


class MissingTokenizer:
    """Stands where weights came without a tokenizer: tokens can be encoded, prompts cannot.

    Args:
        folder: Where it was looked for; None where the weights came as tensors and there was nowhere to look.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Always raises MissingWeights, a FileNotFoundError: says where the files belong."""
        if self.folder is None:
            what = "These weights came as tensors, without a tokenizer."
            raise MissingWeights(Path("tokenizer"), what, "Give tokens, or the path of the published file.")
        missing = self.folder / "vocab.json"
        raise MissingWeights(missing, f"{missing} is missing.", "Put CLIP's vocab.json and merges.txt there.")


def find_tokenizer(folder: Path | None, config: MVDreamConfig) -> Callable[[Sequence[str]], Tensor]:
    """CLIP's tokenizer where its folder is there, else one that says so when it is asked.

    Args:
        folder: May hold `vocab.json` and `merges.txt`.
        config: Has the length and the special tokens.
    """
    if folder is None or config.text is None or not folder.is_dir():
        return MissingTokenizer(folder)
    return clip_tokenizer(folder, config)


def clip_tokenizer(folder: Path, config: MVDreamConfig) -> Callable[[Sequence[str]], Tensor]:
    """CLIP's tokenizer from a local folder (`vocab.json`, `merges.txt`), padded as the configuration says.

    Raises:
        MissingWeights: The folder lacks a file; says which.
    """
    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            what = f"{folder / name} is missing."
            raise MissingWeights(folder / name, what, "Put CLIP's vocab.json and merges.txt there.")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    length, pad, end = (config.text[key] for key in ("max_position_embeddings", "pad_token_id", "eos_token_id"))

    def encode(prompts: Sequence[str]) -> Tensor:
        rows = [tokenizer(prompt, truncation=True, max_length=length)["input_ids"] for prompt in prompts]
        rows = [row if row[-1] == end else [*row[:-1], end] for row in rows]
        return torch.tensor([row + [pad] * (length - len(row)) for row in rows])

    return encode
