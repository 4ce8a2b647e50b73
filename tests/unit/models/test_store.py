"""The folders of models: found, told apart, locked, shared read-only, and never taken for more than they are."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dreamlift.models.catalogue import MODELS, Commercial, Model, Published, needed_by, size_in_words
from dreamlift.models.convert import located, reader_of
from dreamlift.models.errors import ModelError
from dreamlift.models.store import State, Store
from dreamlift.models.verify import sha256_of, verify
from dreamlift.pipelines.catalog import PIPELINES
from dreamlift.priors.families import Family
from dreamlift.priors.weight_errors import MissingWeights

TINY = Model("tiny", "Tiny", Family.MVDREAM, (Published("w.pt", "lab/one"),), MODELS["zero123"].licence, ("mvdream",))
STATE = {"model.diffusion_model.camera_embed.0.weight": torch.ones(4, 4)}


def published(folder: Path, at: str = "tiny/published/w.pt") -> Path:
    path = folder / at
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(STATE, path)
    return path


def converted(folder: Path) -> Path:
    place = folder / "tiny" / "converted"
    place.mkdir(parents=True)
    save_file(STATE, place / "model.safetensors")
    (place / "config.json").write_text("{}")
    names = ("model.safetensors", "config.json")
    (place / "SHA256SUMS").write_text("".join(f"{sha256_of(place / name)}  {name}\n" for name in names))
    return place


def noted(folder: Path, **entry) -> None:
    path = folder / "tiny" / "about.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"files": {"w.pt": entry}}))


@pytest.fixture
def store(tmp_path):
    return Store([tmp_path / "own", tmp_path / "share"])


@pytest.fixture
def own(store):
    return store.folders[0]


@pytest.fixture
def share(store):
    return store.folders[1]


def test_an_empty_store_has_nothing_and_says_how_to_get_it(store):
    assert store.presence(TINY).state is State.ABSENT
    with pytest.raises(MissingWeights, match="dreamlift models pull tiny"):
        located(store, TINY)


@pytest.mark.parametrize("at", ["tiny/published/w.pt", "tiny/w.pt", "w.pt"])
def test_a_file_copied_by_hand_is_found(store, share, at):
    path = published(share, at)
    assert store.published(TINY) == path
    assert store.presence(TINY).state is State.PUBLISHED


def test_a_converted_copy_is_preferred_even_on_the_second_folder(store, own, share):
    published(own)
    place = converted(share)
    assert store.presence(TINY).state is State.CONVERTED
    assert located(store, TINY) == place


def test_the_first_folder_wins(store, own, share):
    published(share)
    first = published(own)
    assert store.published(TINY) == first


def test_the_environment_names_folders(tmp_path):
    named = os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")])
    assert Store.here({"DREAMLIFT_MODELS": named}).folders == (tmp_path / "a", tmp_path / "b")
    assert Store.here({"DREAMLIFT_HOME": str(tmp_path)}).folders == (tmp_path / "models",)


@pytest.fixture
def readable():
    """A folder that everybody may read; pytest's own are for their owner alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can lend its rights away")
def test_a_read_only_share_is_read_and_never_written(readable):
    own = readable / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)
    store = Store([readable / "share"])
    published(store.folders[0])
    noted(store.folders[0])
    os.seteuid(65534)
    try:
        with pytest.raises(ModelError, match="can be written to") as caught:
            store.remove(TINY)
        assert caught.value.code == "store_read_only"
        assert store.presence(TINY).state is State.PUBLISHED
        assert verify(store, TINY)[0].good is None
        assert Store([readable / "share", own]).writable() == own
    finally:
        os.seteuid(0)


def test_where_a_folder_cannot_be_made_the_next_one_is_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = Store([tmp_path / "file" / "models", tmp_path / "own"])
    assert store.writable() == tmp_path / "own"
    with pytest.raises(ModelError, match="DREAMLIFT_MODELS"):
        Store([tmp_path / "file" / "models"]).writable()


def test_a_cut_file_is_unfinished_and_a_changed_one_is_damaged(store, own):
    path = published(own)
    noted(own, size=path.stat().st_size + 1)
    assert store.presence(TINY).state is State.DAMAGED
    path.write_bytes(path.read_bytes()[:200])
    assert store.presence(TINY).state is State.UNFINISHED
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 5\n")
    assert "git-lfs" in store.presence(TINY).problem


def test_a_file_that_another_one_needs_is_missed(store, own):
    model = Model("tiny", "Tiny", TINY.family, (*TINY.files, Published("tokenizer/vocab.json")), TINY.licence, ())
    published(own)
    here = store.presence(model)
    assert here.state is State.UNFINISHED and "tokenizer/vocab.json" in here.problem


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '{"files": {"../x": {}}}', '{"files": {"/etc/x": {}}}'])
def test_a_note_that_nobody_could_have_written_is_ignored(store, own, content):
    (own / "tiny").mkdir(parents=True)
    (own / "tiny" / "about.json").write_text(content)
    assert store.about(TINY) == {}


def test_two_processes_do_not_work_on_one_model(store):
    with store.locked(TINY), pytest.raises(ModelError) as caught, store.locked(TINY):
        pass
    assert caught.value.code == "model_busy"


def test_removing_frees_the_own_folder_and_leaves_the_share(store, own, share):
    published(own), converted(own), published(share)
    assert store.remove(TINY) > 0
    assert not (own / "tiny").exists()
    assert store.presence(TINY).state is State.PUBLISHED


def test_the_published_file_alone_can_be_removed(store, own):
    published(own), converted(own)
    store.remove(TINY, published_only=True)
    assert store.published(TINY) is None and store.presence(TINY).state is State.CONVERTED


def test_verify_reads_every_byte(store, own):
    path = published(own)
    assert [one.good for one in verify(store, TINY)] == [None]
    noted(own, size=path.stat().st_size, sha256=sha256_of(path))
    place = converted(own)
    assert [one.good for one in verify(store, TINY)] == [True, True, True]
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    (place / "config.json").write_text("{ }")
    assert [one.good for one in verify(store, TINY)].count(False) == 2


def test_every_model_of_the_catalogue_can_be_opened_and_has_its_papers():
    for model in MODELS.values():
        assert model.licence.name and model.licence.url.startswith("https://")
        assert model.source.startswith("https://") and size_in_words(model)
        assert all(file.repository or file.url for file in model.files)
        assert reader_of(model)


def test_the_catalogue_and_the_priors_say_the_same_about_licences():
    from dreamlift.models.convert import config_of

    for model in MODELS.values():
        config = config_of(model)
        assert config.commercial_use == (model.licence.commercial is Commercial.ALLOWED), model.id
        if model.licence.commercial is not Commercial.UNCLEAR:
            assert config.licence == model.licence.name, model.id


def test_every_pipeline_that_has_a_published_size_names_a_model():
    for name, pipeline in PIPELINES.items():
        if any(preset.name != "mini" for preset in pipeline.presets):
            assert needed_by(name), name


def test_the_page_lists_every_model_with_its_terms():
    page = (Path(__file__).resolve().parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    for model in MODELS.values():
        row = rows[model.id]
        assert f"[{model.licence.name}]({model.licence.url})" in row, model.id
        assert f"| {model.licence.commercial.value} | {'yes' if model.gated else 'no'} |" in row, model.id
        assert size_in_words(model) in row and ", ".join(model.pipelines) in row, model.id
