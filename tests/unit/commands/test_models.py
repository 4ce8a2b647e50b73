"""`dreamlift models` as somebody types it: tables, JSON, questions, exit codes; the hub is a small one right here."""

from __future__ import annotations

import json
import struct

import pytest
from fake_hub import FakeHub, serving

from dreamlift.cli import main
from dreamlift.commands.outcomes import Exit

HEADER = b'{"cc_projection.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(16)
FILE = ("cvlab/zero123-weights", "105000.ckpt")


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    for name in ("HF_TOKEN", "DREAMLIFT_HUB", "HF_ENDPOINT", "HF_HUB_OFFLINE", "DREAMLIFT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("DREAMLIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DREAMLIFT_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def hub(monkeypatch):
    with serving(FakeHub({FILE: WEIGHTS})) as running:
        monkeypatch.setenv("DREAMLIFT_HUB", running.url)
        yield running


def run(capsys, *words):
    code = main(["models", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def events(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def pulled(capsys):
    assert run(capsys, "pull", "zero123", "--yes", "--no-convert")[0] == Exit.OK


def test_the_list_says_what_there_is_and_that_mini_works_without(capsys):
    code, out, err = run(capsys, "list")
    assert code == Exit.OK
    assert "mvdream-2.1" in out and "not here" in out and "forbidden" in out and "(gated)" in out
    assert "embedded mini models" in err
    assert len(err.strip().splitlines()) == 2, "the folders in one line, the mini models in another"


def test_the_list_of_one_pipeline(capsys):
    _, out, _ = run(capsys, "list", "--pipeline", "mvdream", "--json")
    assert {event["id"] for event in events(out)} == {"mvdream-2.1", "mvdream-1.5"}
    code, _, err = run(capsys, "list", "--pipeline", "mvdraem")
    assert code == Exit.USAGE and "Did you mean 'mvdream'" in err


def test_a_model_is_pulled_verified_and_removed(hub, own_store, capsys):
    code, out, err = run(capsys, "pull", "zero123", "--yes", "--no-convert")
    path = own_store / "zero123" / "published" / "105000.ckpt"
    assert code == Exit.OK and str(path.parent) in out
    assert path.read_bytes() == WEIGHTS
    assert "licence" in err and "MIT" in err, "the licence is shown before"
    assert run(capsys, "verify", "zero123")[0] == Exit.OK
    _, out, _ = run(capsys, "list", "--json")
    assert next(event for event in events(out) if event["id"] == "zero123")["state"] == "published"
    assert run(capsys, "remove", "zero123", "--yes")[0] == Exit.OK
    assert not path.exists()


def test_json_tells_the_same_in_lines(hub, capsys):
    code, out, _ = run(capsys, "pull", "zero123", "--yes", "--no-convert", "--json")
    told = events(out)
    assert code == Exit.OK
    assert list(dict.fromkeys(event["event"] for event in told)) == ["licence", "progress", "pulled"]
    assert told[0]["commercial_use"] == "allowed" and told[-2]["bytes"] == len(WEIGHTS)
    _, out, _ = run(capsys, "verify", "--json")
    assert events(out)[-1] == {"event": "verified", "files": 1, "problems": 0}


def test_a_licence_that_nobody_accepted_stops_the_download(hub, capsys):
    code, _, err = run(capsys, "pull", "zero123")
    assert code == Exit.USAGE and "--yes" in err
    assert hub.asked == []


@pytest.mark.parametrize(("answer", "code"), [("y\n", Exit.OK), ("n\n", Exit.USAGE), ("\n", Exit.USAGE)])
def test_the_question_takes_yes_or_no(hub, capsys, monkeypatch, answer, code):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert run(capsys, "pull", "zero123", "--no-convert")[0] == code
    assert bool(hub.asked) == (code == Exit.OK)


def test_a_gated_model_says_what_to_do(hub, capsys):
    hub.files["stabilityai/stable-zero123", "stable_zero123.ckpt"] = WEIGHTS
    hub.gated.add("stabilityai/stable-zero123")
    code, _, err = run(capsys, "pull", "stable-zero123", "--yes")
    assert code == Exit.UNREACHABLE and "HF_TOKEN" in err and "https://huggingface.co/stabilityai" in err


def test_a_changed_file_is_a_problem(hub, own_store, capsys):
    pulled(capsys)
    path = own_store / "zero123" / "published" / "105000.ckpt"
    path.write_bytes(WEIGHTS[:-1] + b"\1")
    code, out, _ = run(capsys, "verify", "zero123")
    assert code == Exit.PROBLEM and "must be" in out


def test_offline_and_a_wrong_name_are_said_in_words(hub, capsys, monkeypatch):
    code, _, err = run(capsys, "pull", "zero321", "--yes")
    assert code == Exit.USAGE and "Did you mean 'zero123'" in err
    monkeypatch.setenv("DREAMLIFT_OFFLINE", "1")
    code, _, err = run(capsys, "pull", "zero123", "--yes")
    assert code == Exit.UNREACHABLE and "DREAMLIFT_MODELS" in err and hub.asked == []


def test_weights_of_another_model_are_not_converted(hub, own_store, capsys):
    hub.files["MVDream/MVDream", "sd-v2.1-base-4view.pt"] = WEIGHTS
    for name in ("vocab.json", "merges.txt"):
        hub.files["openai/clip-vit-large-patch14", name] = b"{}"
    code, _, err = run(capsys, "pull", "mvdream-2.1", "--yes")
    assert code == Exit.PROBLEM and "This is Zero123" in err and "MVDream" in err
    assert not (own_store / "mvdream-2.1" / "converted").exists()
    assert (own_store / "mvdream-2.1" / "published" / "tokenizer" / "vocab.json").exists()


def test_nothing_to_remove_or_verify_is_told(capsys):
    assert run(capsys, "remove", "zero123", "--yes")[0] == Exit.USAGE
    assert run(capsys, "verify", "zero123")[0] == Exit.USAGE
    assert run(capsys, "verify")[0] == Exit.OK


def test_licences_name_terms_and_pages(capsys):
    code, out, _ = run(capsys, "licences")
    assert code == Exit.OK and out.count("commercial use") >= 12 and "unclear" in out
    _, out, _ = run(capsys, "licences", "v3d", "--json")
    told = events(out)[0]
    assert told["commercial_use"] == "unclear" and told["parts"]["svd_xt.safetensors"]["commercial_use"] == "forbidden"


def test_the_command_loads_no_torch_before_it_converts():
    import subprocess
    import sys

    code = "import sys; from dreamlift.cli import main; main(['models', 'list']); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert told.stdout.strip().endswith("False"), told.stderr
