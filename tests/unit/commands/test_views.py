"""`dreamlift views` from words to files: here with the embedded model, there with scripted workers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from faults.service_process import ServiceProcess
from PIL import Image

from dreamlift.cli import main
from dreamlift.commands.outcomes import CommandError, Exit
from dreamlift.commands.views import read_seeds


def run(capsys, *words):
    """Exit code and the JSON events of one command."""
    code = main(["views", *words, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def picture(path):
    """(H, W, 3) int."""
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("4", (0, 1, 2, 3)), ("1", (0,)), ("3,7,11", (3, 7, 11)), ("7,", (7,)), (" 7 , 3 ", (7, 3)), (f"{2**62},1", ())],
)
def test_seeds_are_a_number_of_them_or_a_list(text, seeds):
    assert read_seeds(text) == (seeds or (2**62, 1))


@pytest.mark.parametrize("text", ["", "0", "-1", "17", "a", "1.5", ",", "3,3", "-3,4", f"{2**63},1", "99999999999999"])
def test_other_seeds_are_refused_with_what_to_write(text):
    with pytest.raises(CommandError) as caught:
        read_seeds(text)
    assert caught.value.code == "bad_seeds" and "--seeds 7," in caught.value.remedy


def test_the_embedded_model_writes_a_sheet_and_each_view(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, events = run(capsys, "a", "red", "mushroom", "--seeds", "3,7", "--views", "shots", "--device", "cpu")
    assert code == Exit.OK, events
    done = events[-1]
    assert done["event"] == "done" and done["seeds"] == [3, 7] and len(done["views"]) == 8
    assert picture(tmp_path / "a-red-mushroom-views.png").shape[1] == 1024
    front = picture(tmp_path / "shots" / "seed-7-front.png")
    assert front.shape == (64, 64, 3) and ((front[..., 0] - front[..., 1]) > 60).any()
    assert [event["stage"] for event in events if event["event"] == "progress"][0] == "views"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-red-mushroom-views.png", "shots"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("a red mushroom", "--image", "PICTURE"), "no_image"),
        (("a red mushroom", "--pipeline", "mvdreams"), "unknown_pipeline"),
        (("a red mushroom", "--preset", "huge"), "unknown_preset"),
        (("a red mushroom", "-o", "sheet.jpg"), "bad_output"),
        (("a red mushroom", "--views", "PICTURE"), "bad_output"),
        (("a red mushroom", "--views", "no/where"), "bad_output"),
        (("a red mushroom", "--device", "toaster"), "bad_device"),
        (("a dragon",), "unknown_words"),
        ((" ",), "empty_prompt"),
    ],
)
def test_what_cannot_be_drawn_says_so_and_writes_nothing(capsys, tmp_path, monkeypatch, words, code):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    exit_code, events = run(capsys, *[str(path) if word == "PICTURE" else word for word in words])
    assert (exit_code, events[-1]["code"]) == (Exit.USAGE, code)
    assert events[-1]["what"].endswith(".") and events[-1]["remedy"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with ServiceProcess(tmp_path_factory.mktemp("service"), cancel_grace=1.0) as service:
        service.start()
        service.client().close()
        yield service


def test_a_server_draws_the_same_way(capsys, service, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_HOME", str(service.home))
    monkeypatch.chdir(tmp_path)
    words = ("steps=3", "--seeds", "9,200", "-o", "x.png", "--views", "shots", "--server")
    code, events = run(capsys, *words)
    assert code == Exit.OK, events
    assert [event["event"] for event in events][0] == "accepted" and events[-1]["seeds"] == [9, 200]
    assert picture(tmp_path / "shots" / "seed-200-back.png").max() == 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shots", "x.png"]
    job = events[0]["job"]
    assert main(["jobs", "show", job]) == Exit.OK
    assert "views of seeds 9, 200" in capsys.readouterr().out
    assert main(["jobs", "download", job, "-o", "sheet.png"]) == Exit.OK
    assert picture(tmp_path / "sheet.png").shape == picture(tmp_path / "x.png").shape
    assert main(["jobs", "download", job, "-o", "x.glb"]) == Exit.PROBLEM
    assert "left no .glb file, but" in capsys.readouterr().err
