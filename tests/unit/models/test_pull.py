"""Downloads from a small hub on this computer: resumed, checked, gated, mirrored, refused; never half a file."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
import torch
from fake_hub import COMMIT, FakeHub, serving

from dreamlift.models.catalogue import MVDREAM, Model, Published
from dreamlift.models.errors import AccessDenied, NoSpace, NotPublished, Unreachable
from dreamlift.models.hub import PullSettings, look_up
from dreamlift.models.pull import part_of, pull
from dreamlift.models.store import State, Store
from dreamlift.priors.families import Family
from dreamlift.priors.weight_errors import DamagedWeights, WebPage

KEY = "model.diffusion_model.camera_embed.0.weight"


def weights(number: int = 40000) -> bytes:
    content = io.BytesIO()
    torch.save({KEY: torch.arange(number, dtype=torch.float32)}, content)
    return content.getvalue()


def model(*extra: Published, gated: bool = False, mirrors: tuple[str, ...] = ()) -> Model:
    files = (Published("w.pt", "lab/one", gated=gated, mirrors=mirrors), *extra)
    return Model("tiny", "Tiny", Family.MVDREAM, files, MVDREAM, ("mvdream",))


@pytest.fixture(autouse=True)
def no_account(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def hub():
    with serving(FakeHub({("lab/one", "w.pt"): weights()})) as running:
        yield running


@pytest.fixture
def store(tmp_path):
    return Store([tmp_path / "models"])


def whole(store, own=None) -> bytes:
    return store.find(own or model(), (own or model()).files[0]).read_bytes()


def left(store) -> list[str]:
    return sorted(path.name for path in store.folders[0].rglob("*") if path.is_file())


def test_a_model_is_fetched_with_progress_and_its_papers(hub, store):
    told = []
    pull(store, model(), PullSettings(hub.url), lambda file, done, total: told.append((file.path, done, total)))
    content = weights()
    assert whole(store) == content
    assert told[0] == ("w.pt", 0, len(content)) and told[-1] == ("w.pt", len(content), len(content))
    about = store.about(model())
    entry = about["files"]["w.pt"]
    assert entry["sha256"] == hashlib.sha256(content).hexdigest() and entry["hash_from"] == "server"
    assert entry["commit"] == COMMIT and about["licence"]["name"] == MVDREAM.name
    assert store.presence(model()).state is State.PUBLISHED


def test_what_is_there_is_not_fetched_again(hub, store):
    pull(store, model(), PullSettings(hub.url))
    hub.asked.clear()
    pull(store, model(), PullSettings(hub.url))
    assert hub.asked == []


def test_a_cut_connection_goes_on_where_it_was(store):
    content = weights(6_000_000)  # pieces of 10 MB are the hub library's unit
    with serving(FakeHub({("lab/one", "w.pt"): content}, cut=[15_000_000])) as hub:
        pull(store, model(), PullSettings(hub.url))
        assert [ask[2] for ask in hub.asked if ask[0] == "GET"] == ["", "bytes=10485760-"]
    assert whole(store) == content


def test_another_run_goes_on_behind_what_the_first_one_left(hub, store):
    remote = look_up(model(), model().files[0], PullSettings(hub.url))
    part = part_of(store.folders[0] / "tiny" / "published", remote)
    part.parent.mkdir(parents=True)
    part.write_bytes(weights()[:50_000])
    assert store.presence(model()).state is State.UNFINISHED
    pull(store, model(), PullSettings(hub.url))
    assert ("GET", "/lab/one/resolve/main/w.pt", "bytes=50000-") in hub.asked
    assert whole(store) == weights() and not part.exists()


def test_a_part_of_another_version_is_not_gone_on_with(hub, store):
    remote = look_up(model(), model().files[0], PullSettings(hub.url))
    part = part_of(store.folders[0] / "tiny" / "published", remote).with_name("w.pt.0123456789ab.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"of an older file")
    pull(store, model(), PullSettings(hub.url))
    assert whole(store) == weights()


def test_a_server_that_goes_away_leaves_the_part_and_says_how_to_go_on(store, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    with serving(FakeHub({("lab/one", "w.pt"): weights(6_000_000)}, cut=[15_000_000, *[0] * 9])) as hub:
        with pytest.raises(Unreachable, match="goes on from there") as caught:
            pull(store, model(), PullSettings(hub.url))
    assert caught.value.code == "interrupted_download" and "10485760 of" in caught.value.what
    assert store.presence(model()).state is State.UNFINISHED
    assert store.find(model(), model().files[0]) is None


def test_a_wrong_hash_is_thrown_away_and_the_old_file_stays(hub, store):
    pull(store, model(), PullSettings(hub.url))
    good = whole(store)
    hub.files["lab/one", "w.pt"] = weights(50_000)
    hub.lie = "ab" * 32
    about = store.folders[0] / "tiny" / "about.json"
    changed = json.loads(about.read_text())
    changed["files"]["w.pt"]["size"] += 1  # so that it is fetched again
    about.write_text(json.dumps(changed))
    with pytest.raises(DamagedWeights, match="hub says abababababab"):
        pull(store, model(), PullSettings(hub.url))
    assert whole(store) == good
    assert not [name for name in left(store) if name.endswith(".part")]


def test_a_web_page_in_place_of_the_weights_is_not_kept(hub, store):
    hub.page = b"<!DOCTYPE html><html>captive portal</html>".ljust(len(weights()))
    with pytest.raises(WebPage):
        pull(store, model(), PullSettings(hub.url))
    assert left(store) == [".lock"]


def test_a_gated_model_without_a_token_says_what_to_do(hub, store):
    hub.gated.add("lab/one")
    with pytest.raises(AccessDenied, match="HF_TOKEN") as caught:
        pull(store, model(gated=True), PullSettings(hub.url))
    assert caught.value.code == "no_token" and "https://huggingface.co/lab/one" in str(caught.value)


def test_a_gated_model_that_was_not_accepted_says_where_to_accept_it(hub, store):
    hub.refused.add("lab/one")
    with pytest.raises(AccessDenied, match="Accept its licence at") as caught:
        pull(store, model(gated=True), PullSettings(hub.url, token="hf_good"))
    assert caught.value.code == "not_accepted"


def test_a_token_opens_a_gated_model(hub, store):
    hub.gated.add("lab/one")
    pull(store, model(gated=True), PullSettings(hub.url, token="hf_good"))
    assert whole(store) == weights()
    assert "hf_good" not in (store.folders[0] / "tiny" / "about.json").read_text()


def test_the_token_goes_to_no_other_server(hub, store):
    own = model(Published("extra.bin", url=f"{hub.url}/elsewhere/resolve/main/extra.bin"))
    hub.files["elsewhere", "extra.bin"] = weights(10)
    pull(store, own, PullSettings(hub.url, token="hf_good"))
    sent = [token for ask, token in zip(hub.asked, hub.tokens, strict=True) if "elsewhere" in ask[1]]
    assert sent == ["", ""]


def test_a_mirror_is_asked_where_the_first_repository_is_gone(store):
    with serving(FakeHub({("other/copy", "w.pt"): weights()})) as hub:
        own = model(mirrors=("gone/too", "other/copy"))
        pull(store, own, PullSettings(hub.url))
        assert store.about(own)["files"]["w.pt"]["from"] == "other/copy"


def test_a_repository_by_setting_wins(store):
    with serving(FakeHub({("mine/copy", "w.pt"): weights()})) as hub:
        pull(store, model(), PullSettings(hub.url, repository="mine/copy"))
        assert all("mine/copy" in ask[1] for ask in hub.asked)


def test_a_repository_that_is_gone_says_so(hub, store):
    del hub.files["lab/one", "w.pt"]
    with pytest.raises(NotPublished, match="--repository"):
        pull(store, model(), PullSettings(hub.url))


def test_shards_follow_their_list(store):
    index = json.dumps({"weight_map": {"a": "model-1.bin", "b": "model-2.bin"}}).encode()
    files = {("lab/one", "t/model.bin.index.json"): index, ("lab/one", "w.pt"): weights()}
    files |= {("lab/one", f"t/model-{number}.bin"): weights(number * 100) for number in (1, 2)}
    own = model(Published("t/model.bin.index.json", "lab/one"))
    with serving(FakeHub(files)) as hub:
        pull(store, own, PullSettings(hub.url))
        assert {"t/model-1.bin", "t/model-2.bin"} <= store.about(own)["files"].keys()
        (store.folders[0] / "tiny" / "published" / "t" / "model-2.bin").unlink()
        assert store.presence(own).state is State.UNFINISHED
        pull(store, own, PullSettings(hub.url))
    assert store.presence(own).state is State.PUBLISHED


def test_a_list_of_shards_cannot_lead_out_of_the_folder(store):
    index = json.dumps({"weight_map": {"a": "../../../evil.bin"}}).encode()
    own = model(Published("model.bin.index.json", "lab/one"))
    with serving(FakeHub({("lab/one", "w.pt"): weights(), ("lab/one", "model.bin.index.json"): index})) as hub:
        with pytest.raises(DamagedWeights, match="outside its folder"):
            pull(store, own, PullSettings(hub.url))


def test_a_full_disk_is_found_out_before_anything_is_fetched(hub, store, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1 << 20})())
    with pytest.raises(NoSpace, match="are free in"):
        pull(store, model(), PullSettings(hub.url))
    assert not [ask for ask in hub.asked if ask[0] == "GET"]


def test_offline_means_no_connection_at_all(hub, store):
    with pytest.raises(Unreachable, match="DREAMLIFT_MODELS"):
        pull(store, model(), PullSettings(hub.url, offline=True))
    assert hub.asked == []


def test_no_server_is_said_in_words(store):
    with serving(FakeHub()) as hub:
        pass
    with pytest.raises(Unreachable, match="DREAMLIFT_HUB"):
        pull(store, model(), PullSettings(hub.url))


@pytest.mark.parametrize(
    ("environment", "settings"),
    [
        ({}, PullSettings()),
        ({"HF_ENDPOINT": "https://mirror.example/"}, PullSettings("https://mirror.example")),
        ({"HF_ENDPOINT": "https://a", "DREAMLIFT_HUB": "https://b"}, PullSettings("https://b")),
        ({"HF_HUB_OFFLINE": "1"}, PullSettings(offline=True)),
        ({"DREAMLIFT_OFFLINE": "0", "HF_TOKEN": " hf_x\n"}, PullSettings(token="hf_x")),
    ],
)
def test_settings_come_from_the_environment(environment, settings):
    assert PullSettings.here(environment) == settings
