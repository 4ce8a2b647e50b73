"""Words to token ids for the mini text encoder: a closed vocabulary of whole words.

Knows no objects: the words come with the weights. The published models use CLIP's own tokenizer instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
