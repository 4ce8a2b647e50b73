"""A published file becomes safetensors once: whole or not at all, with its papers, and gives the same answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
import torch

from dreamlift.models.catalogue import MODELS, Model, Published
from dreamlift.models.convert import Reader, convert, open_prior, papers
from dreamlift.models.errors import ModelError
from dreamlift.models.store import State, Store, write_note
from dreamlift.priors.configs import MINI
from dreamlift.priors.families import Family
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.weight_errors import MissingWeights, UnsafeWeights, WeightsError

TINY = Model(
    "tiny", "Tiny", Family.MVDREAM, (Published("w.pt", "lab/one"),), MODELS["mvdream-2.1"].licence, ("mvdream",)
)
WORDS = ("a", "red", "mushroom")
CONFIG = replace(MINI, name="Tiny")


class Opened:
    """Reads a state dict in the mini model's own names: a stand-in for a key map, with the real `save`."""

    def __init__(self):
        self.times = 0

    def published(self, path):
        from dreamlift.priors.files import read_weights

        self.times += 1
        prior = MVDreamPrior.random(CONFIG, WORDS)
        prior.load_state_dict(read_weights(path))
        return prior

    def reader(self) -> Reader:
        return Reader(self.published, lambda folder: MVDreamPrior.from_folder(folder, CONFIG))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "w.pt"
    torch.save(MVDreamPrior.random(CONFIG, WORDS, seed=3).state_dict(), path)
    return path


@pytest.fixture
def store(tmp_path, weights):
    store = Store([tmp_path / "own", tmp_path / "share"])
    place = tmp_path / "share" / "tiny" / "published"
    place.mkdir(parents=True)
    (place / "w.pt").symlink_to(weights)
    return store


def test_the_copy_holds_the_same_numbers_and_says_where_they_came_from(store, weights):
    opened = Opened()
    folder = convert(store, TINY, reader=opened.reader())
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert folder == store.folders[0] / "tiny" / "converted", "the share is not written to"
    assert papers(folder)["sha256"] == sha256 and papers(folder)["licence"]["name"] == TINY.licence.name
    prior = open_prior(store, TINY, opened.reader())
    assert prior.name == f"Tiny published, sha256 {sha256[:12]}", "the name goes into every asset's provenance"
    for key, value in torch.load(weights, weights_only=True).items():
        torch.testing.assert_close(prior.state_dict()[key], value.half().float(), rtol=0, atol=0)
    assert store.presence(TINY).state is State.CONVERTED and opened.times == 1


def test_it_happens_once(store):
    opened = Opened()
    first = convert(store, TINY, reader=opened.reader())
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    assert convert(store, TINY, reader=opened.reader()) == first
    assert opened.times == 1 and (first / "model.safetensors").stat().st_mtime_ns == stamp
    convert(store, TINY, again=True, reader=opened.reader())
    assert opened.times == 2 and (first / "model.safetensors").stat().st_mtime_ns != stamp


def test_a_conversion_that_fails_leaves_the_old_copy_and_no_rest(store):
    folder = convert(store, TINY, reader=Opened().reader())
    before = (folder / "model.safetensors").read_bytes()

    def refuse(path):
        raise UnsafeWeights(path, "It carries code.", "Do not use it.")

    with pytest.raises(WeightsError):
        convert(store, TINY, again=True, reader=Reader(refuse, refuse))
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.parent.iterdir()) == [".lock", "converted"]


def test_what_a_killed_conversion_left_is_swept_away(store):
    left = store.folders[0] / "tiny" / "converted.1.new"
    left.mkdir(parents=True)
    convert(store, TINY, reader=Opened().reader())
    assert not left.exists()


def test_a_file_that_changed_since_it_was_fetched_is_not_converted(store):
    note = {"files": {"w.pt": {"sha256": "ab" * 32}}}
    write_note(store.folders[1] / "tiny" / "about.json", note)
    with pytest.raises(ModelError) as caught:
        convert(store, TINY, reader=Opened().reader())
    assert caught.value.code == "hash_changed"


def test_nothing_to_convert_says_how_to_get_it(tmp_path):
    with pytest.raises(MissingWeights, match="models pull tiny"):
        convert(Store([tmp_path]), TINY)


def test_models_published_as_safetensors_in_parts_need_no_copy(tmp_path):
    model = MODELS["if-i-xl"]
    place = tmp_path / model.id / "published" / "unet" / "diffusion_pytorch_model.safetensors"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    assert convert(Store([tmp_path]), model) == tmp_path / model.id / "published"


def test_the_note_is_json_for_people_and_programs(store):
    folder = convert(store, TINY, reader=Opened().reader())
    told = json.loads((folder / "provenance.json").read_text())
    assert {"id", "source", "sha256", "licence", "written", "dreamlift"} <= told.keys()
