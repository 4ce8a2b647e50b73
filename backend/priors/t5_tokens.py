"""Prompts to T5's token ids: SentencePiece files without the SentencePiece package, or `tokenizer.json`.

Knows files and ids. Knows no encoder. Threestudio's prompt processor is followed: the prompt as it is (T5's vocabulary
knows capitals), cut to 77 tokens with the end token, padded with 0; the mask says what is no padding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import Unigram
from torch import Tensor

PAD, END, UNKNOWN = 0, 1, 2
LENGTH = 77  # tokens a prompt, the end token included
VOCABULARY = 32128  # rows of the published embedding; SentencePiece fills 32000 of them

Tokenize = Callable[[Sequence[str]], tuple[Tensor, Tensor]]  # ids and mask, both (B, L) long


def t5_tokenizer(folder: Path, length: int = LENGTH) -> Tokenize:
    """T5's tokenizer from a local folder.

    Args:
        folder: Holds `tokenizer.json` or SentencePiece's `spiece.model`.
        length: Tokens a prompt, the end token included; longer prompts are cut, shorter ones padded.

    Raises:
        FileNotFoundError: It holds neither.
        ValueError: `spiece.model` is no SentencePiece model.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    elif (folder / "spiece.model").is_file():
        tokenizer = _unigram(folder / "spiece.model")
    else:
        raise FileNotFoundError(f"{folder} holds neither tokenizer.json nor spiece.model; put T5's tokenizer there.")
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def tokenize(prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = [e.ids for e in tokenizer.encode_batch(list(prompts), add_special_tokens=False)]
        return padded(rows, length)

    return tokenize


def byte_tokens(length: int = LENGTH, vocabulary: int = VOCABULARY) -> Tokenize:
    """Tokens without a vocabulary, one a byte: for random weights, where only difference matters.

    Args:
        length: Tokens a prompt.
        vocabulary: Ids stay below it.
    """

    def tokenize(prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        return padded([[3 + byte % (vocabulary - 3) for byte in prompt.encode()] for prompt in prompts], length)

    return tokenize


def padded(rows: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
    """Rows of ids, cut to `length` with the end token, and the mask of what is not padding; both (B, length) long."""
    ended = [[*row[: length - 1], END] for row in rows]
    ids = torch.tensor([row + [PAD] * (length - len(row)) for row in ended])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ended])
    return ids, mask


def _unigram(path: Path) -> Tokenizer:
    pieces, rules = read_pieces(path.read_bytes(), path)
    tokenizer = Tokenizer(Unigram(pieces, unk_id=UNKNOWN, byte_fallback=False))
    if rules:
        tokenizer.normalizer = normalizers.Precompiled(rules)
    space = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space])
    return tokenizer


def read_pieces(data: bytes, name: Path | str = "spiece.model") -> tuple[list[tuple[str, float]], bytes]:
    """Pieces with their scores, and the compiled normalisation rules, of a SentencePiece model.

    The file is one protocol buffer: field 1 repeats the pieces (1 text, 2 score), field 3 is the normaliser (2 rules).
    Reading these four fields spares a dependency.

    Args:
        data: The file's bytes.
        name: For the message.

    Raises:
        ValueError: The bytes are no such model, or have fewer pieces than the special ones.
    """
    pieces, rules = [], b""
    try:
        for field, value in _fields(data):
            if field == 1 and isinstance(value, bytes):
                parts = dict(_fields(value))
                pieces.append((parts[1].decode(), struct.unpack("<f", parts[2])[0] if 2 in parts else 0.0))
            elif field == 3 and isinstance(value, bytes):
                rules = dict(_fields(value)).get(2, b"")
    except (IndexError, KeyError, ValueError, struct.error, AttributeError) as error:
        raise ValueError(f"{name} is no SentencePiece model ({error!r}); download it again.") from error
    if [piece for piece, _ in pieces[:3]] != ["<pad>", "</s>", "<unk>"]:
        raise ValueError(f"{name} does not start with T5's three special pieces; is it another model's tokenizer?")
    return pieces, rules


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of a protocol buffer's fields; fixed and length-delimited values come as bytes."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield tag >> 3, value
            continue
        size, place = _varint(data, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
        if place + size > len(data):
            raise ValueError("a field ends after the file")
        yield tag >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if not byte & 128:
            return value, place
