"""CLIP's tokenizer from local files: special tokens, padding of either family, and what is said where it is missing."""

import json

import pytest

from dreamlift.priors.configs import MVDREAM_SD15, MVDREAM_SD21
from dreamlift.priors.tokenizer import MissingTokenizer, clip_tokenizer, find_tokenizer

START, END = 49406, 49407


@pytest.fixture
def folder(tmp_path):
    """A tiny vocabulary in CLIP's format: letters, ends of words, one merge."""
    words = ["a", "b", "a</w>", "b</w>", "ab</w>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    vocabulary |= {"<|startoftext|>": START, "<|endoftext|>": END}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    return tmp_path


@pytest.mark.parametrize(("config", "pad"), [(MVDREAM_SD21, 0), (MVDREAM_SD15, END)], ids=["2.1", "1.5"])
def test_prompts_are_lowered_merged_and_padded_as_each_family_was_trained(folder, config, pad):
    tokens = clip_tokenizer(folder, config)(["AB a", ""])
    assert tokens.shape == (2, 77)
    assert tokens[0, :5].tolist() == [START, 4, 2, END, pad]
    assert tokens[1, :3].tolist() == [START, END, pad]


def test_a_long_prompt_is_cut_and_still_ends(folder):
    tokens = clip_tokenizer(folder, MVDREAM_SD21)(["a " * 100])
    assert tokens[0, 0] == START and tokens[0, -1] == END and (tokens[0, 1:-1] == 2).all()


def test_a_missing_tokenizer_says_where_it_belongs_when_it_is_asked(tmp_path):
    asked = find_tokenizer(tmp_path / "tokenizer", MVDREAM_SD21)
    with pytest.raises(FileNotFoundError, match=r"tokenizer.vocab\.json is missing"):
        asked(["a"])
    with pytest.raises(FileNotFoundError, match="came as tensors"):
        MissingTokenizer(None)(["a"])


def test_half_a_tokenizer_is_told_at_once(folder):
    (folder / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"merges\.txt is missing"):
        find_tokenizer(folder, MVDREAM_SD21)
