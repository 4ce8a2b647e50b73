"""The T5 text encoder of DeepFloyd IF: tokens without SentencePiece, 8-bit weights, embeddings made once."""

import gc
import json
import struct
import weakref

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

from dreamlift.priors.published import CheckpointMismatch
from dreamlift.priors.t5 import Int8Linear, T5Text, build_encoder, eight_bit, load_encoder
from dreamlift.priors.t5_tokens import byte_tokens, read_pieces, t5_tokenizer
from dreamlift.priors.weight_errors import WeightsError

TINY = {
    "vocab_size": 300,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
    "dropout_rate": 0.0,
    "is_encoder_decoder": False,
}
PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), ("\u2581a", -3.0), ("\u2581cor", -4.0)]
PIECES += [("gi", -4.5), ("g", -6.0), ("i", -6.0), ("c", -7.0), ("o", -7.0), ("r", -7.0), ("a", -7.0), ("A", -7.0)]


def spiece(pieces):
    """A SentencePiece file, written by hand."""

    def block(number, payload):
        assert len(payload) < 128
        return bytes([number << 3 | 2, len(payload)]) + payload

    model = b"".join(block(1, block(1, text.encode()) + b"\x15" + struct.pack("<f", score)) for text, score in pieces)
    trainer = block(2, b"\x18\x80\x7d" + b"\x25" + struct.pack("<f", 0.5))  # what we skip: a varint and a float
    return trainer + model + block(3, block(1, b"nmt_nfkc"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "spiece.model").write_bytes(spiece(PIECES))
    return tmp_path


def test_pieces_and_scores_are_read(folder):
    pieces, rules = read_pieces((folder / "spiece.model").read_bytes())
    assert pieces == PIECES and rules == b""


def test_prompts_become_ids_with_an_end_and_a_mask(folder):
    ids, mask = t5_tokenizer(folder, 8)(["a  corgi", "", "A q"])
    assert ids[0].tolist() == [4, 5, 6, 1, 0, 0, 0, 0] and mask[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert ids[1].tolist() == [1] + [0] * 7 and mask[1].sum() == 1
    assert ids[2].tolist() == [3, 13, 3, 2, 1, 0, 0, 0]  # capitals are kept, what is unknown is <unk>


def test_long_prompts_are_cut_before_the_end_token(folder):
    ids, mask = t5_tokenizer(folder, 6)(["a a a a a a a a a"])
    assert ids[0].tolist() == [4, 4, 4, 4, 4, 1] and mask.all()


def test_the_ids_are_those_of_transformers_own_tokenizer(folder):
    reference = T5Tokenizer(vocab=list(PIECES), extra_ids=0)
    for prompt in ("a corgi", "  corgi  a ", "gia A", ""):
        ids, mask = t5_tokenizer(folder, 12)([prompt])
        assert ids[0, : mask.sum()].tolist() == reference(prompt)["input_ids"]


def test_a_tokenizer_json_will_do_too(tmp_path):
    Tokenizer(Unigram(PIECES, unk_id=2)).save(str(tmp_path / "tokenizer.json"))
    ids, _ = t5_tokenizer(tmp_path, 5)(["gi"])
    assert ids[0].tolist() == [6, 1, 0, 0, 0]


@pytest.mark.parametrize("data", [b"", b"<html>Sign in</html>", spiece(PIECES)[:-30], spiece(PIECES[3:])])
def test_what_is_no_tokenizer_is_refused(tmp_path, data):
    (tmp_path / "spiece.model").write_bytes(data)
    if data == spiece(PIECES)[:-30]:  # cut inside the normaliser's block
        (tmp_path / "spiece.model").write_bytes(data[: len(data) // 2 + 1])
    with pytest.raises(ValueError, match="spiece.model"):
        t5_tokenizer(tmp_path)


def test_a_folder_without_tokenizer_says_what_belongs_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="spiece.model"):
        t5_tokenizer(tmp_path)


def test_eight_bits_lose_less_than_half_a_step():
    weight = torch.randn(40, 60, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 40)[:, None]
    numbers, scale = eight_bit(weight)
    assert numbers.dtype == torch.int8
    assert ((numbers * scale - weight).abs() <= scale * 0.501).all()
    assert torch.equal(eight_bit(torch.zeros(2, 3))[0], torch.zeros(2, 3, dtype=torch.int8))


@pytest.fixture
def published(tmp_path):
    """A whole T5, decoder included, in two shards, as such models are published."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = T5ForConditionalGeneration(T5Config(**{**TINY, "is_encoder_decoder": True, "num_decoder_layers": 1}))
    state = {key: value.contiguous() for key, value in whole.state_dict().items() if "embed_tokens" not in key}
    state["lm_head.weight"] = state["lm_head.weight"].clone()
    names = sorted(state)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, keys in shards.items():
        save_file({key: state[key] for key in keys}, tmp_path / file)
    index = {"weight_map": {key: file for file, keys in shards.items() for key in keys}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    ids, mask = byte_tokens(9, 300)(["ab", "a longer one"])
    with torch.no_grad():
        states = whole.eval().encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    return tmp_path, (ids, mask), states


@torch.no_grad()
def test_a_published_encoder_answers_as_transformers_does(published):
    folder, (ids, mask), states = published
    encoder = load_encoder(folder, TINY, dtype=torch.float32)
    assert torch.allclose(encoder(input_ids=ids, attention_mask=mask).last_hidden_state, states, atol=1e-6)


@torch.no_grad()
def test_eight_bit_weights_answer_nearly_the_same(published):
    folder, (ids, mask), states = published
    encoder = load_encoder(folder, TINY, dtype=torch.float32, in_eight_bit=True)
    mine = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    assert sum(isinstance(module, Int8Linear) for module in encoder.modules()) == 2 * 7
    assert torch.nn.functional.cosine_similarity(mine, states, dim=-1).min() > 0.999
    assert not torch.equal(mine, states)
    half = load_encoder(folder, TINY, in_eight_bit=True)
    assert {m.scale.dtype for m in half.modules() if isinstance(m, Int8Linear)} == {torch.float32}
    assert half(input_ids=ids, attention_mask=mask).last_hidden_state.dtype == torch.bfloat16


def test_an_encoder_of_another_size_is_refused(published):
    with pytest.raises(CheckpointMismatch, match="misshaped"):
        load_encoder(published[0], {**TINY, "d_ff": 32})
    with pytest.raises(CheckpointMismatch, match="missing"):
        load_encoder(published[0], {**TINY, "num_layers": 3})


def test_weights_of_something_else_are_refused(tmp_path):
    save_file({"conv.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError):
        load_encoder(tmp_path, TINY)


@pytest.fixture
def counted():
    opened = []

    def load():
        opened.append(1)
        torch.manual_seed(3)
        return build_encoder(TINY)

    return load, opened


def text_of(load, **more):
    return T5Text(load, byte_tokens(9, 300), more.pop("fingerprint", "tiny"), **more)


def test_the_encoder_opens_once_for_all_unknown_prompts(counted):
    load, opened = counted
    text = text_of(load)
    first = text(["a", "b", "a"])
    assert first.shape == (3, 9, 32) and torch.equal(first[0], first[2]) and not torch.equal(first[0], first[1])
    assert torch.equal(text(["b"])[0], first[1]) and len(opened) == 1
    text(["c"])
    assert len(opened) == 2


def test_embeddings_outlive_the_process_on_disk(counted, tmp_path):
    load, opened = counted
    first = text_of(load, cache=tmp_path / "cache")(["a", "b"])
    again = text_of(load, cache=tmp_path / "cache")(["b", "a"])
    assert torch.equal(first, again.flip(0)) and len(opened) == 1
    text_of(load, cache=tmp_path / "cache", fingerprint="other weights")(["a"])
    assert len(opened) == 2
    names = [file.name for file in (tmp_path / "cache").iterdir()]
    assert len(names) == 3 and all(name.endswith(".safetensors") and len(name) == 64 + 12 for name in names)


def test_a_damaged_embedding_is_made_again(counted, tmp_path, caplog):
    load, opened = counted
    text = text_of(load, cache=tmp_path)
    first = text(["a"])
    text.file_of("a").write_bytes(b"half")
    assert torch.equal(text_of(load, cache=tmp_path)(["a"]), first)
    assert len(opened) == 2 and "damaged" in caplog.text


def test_the_encoder_is_released(counted):
    load, _ = counted
    alive = []

    def watched():
        encoder = load()
        alive.append(weakref.ref(encoder))
        return encoder

    text_of(watched)(["a"])
    gc.collect()
    assert alive[0]() is None
