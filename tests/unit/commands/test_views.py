"""`dreamlift views` from words to files: here with the embedded model, there with scripted workers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes.tiny_view_models import IMAGEDREAM, LARGE, V3D, as_file, cut_out
from faults.service_process import ServiceProcess
from PIL import Image

from dreamlift.cli import main
from dreamlift.commands.local_context import LocalContext
from dreamlift.commands.outcomes import CommandError, Exit
from dreamlift.commands.views import read_seeds
from dreamlift.memory import cards, shelf
from dreamlift.memory.cards import GIB, card_of_size, computer
from dreamlift.pipelines.context import Stop
from dreamlift.priors.sampling import ViewSampling


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
        (("a red mushroom", "--image", "PICTURE", "--pipeline", "mvdream"), "no_image"),
        (("a red mushroom", "--image", "no.png"), "bad_image"),
        (("a red mushroom", "--image", "PICTURE", "--preset", "full-plain"), "unknown_preset"),
        (("a red mushroom", "--pipeline", "imagedream"), "missing_image"),
        (("--image", "PICTURE"), "bad_image"),
        (("--pipeline", "v3d"), "missing_image"),
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


@pytest.fixture
def tiny_models(tmp_path, monkeypatch):
    """ImageDream and V3D without size, an empty store, a card that has room for the plan, and a picture `box.png`."""
    from dreamlift.pipelines import imagedream_prior, imagedream_views, v3d

    monkeypatch.setitem(imagedream_prior.PUBLISHED, "pixel", (IMAGEDREAM, "imagedream-pixel"))
    monkeypatch.setattr(v3d, "CONFIG", V3D)
    monkeypatch.setattr(imagedream_views, "SAMPLING_FULL", ViewSampling(3, 5.0, 0.0))
    monkeypatch.setattr(cards, "card_of", lambda device: computer(64 * GIB))
    monkeypatch.setenv("DREAMLIFT_MODELS", str(tmp_path / "no models"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "box.png").write_bytes(as_file(cut_out(*LARGE)))
    yield tmp_path
    shelf.clear()


RANDOM = ("--image", "box.png", "--preset", "full", "--weights", "random", "--device", "cpu")


@pytest.mark.parametrize(
    ("words", "sheet", "names"),
    [
        (("a", "red", "box"), "a-red-box-views.png", ["front", "right", "back", "left"]),
        (("--pipeline", "v3d"), "box-views.png", [f"{20 * view}" for view in range(18)]),
    ],
    ids=["imagedream", "v3d"],
)
def test_a_picture_becomes_a_sheet_of_views(capsys, tiny_models, words, sheet, names):
    code, events = run(capsys, *words, *RANDOM, "--seeds", "3,7", "--views", "shots")
    assert code == Exit.OK, events
    assert not [event for event in events if event["event"] == "warning"]
    wanted = [f"seed-{seed}-{name}.png" for seed in (3, 7) for name in names]
    assert [path.rsplit("/", 1)[-1] for path in events[-1]["views"]] == wanted
    height, width, _ = picture(tiny_models / sheet).shape
    assert width == max(1024, 96 * len(names)) and height > 2 * width / len(names)
    beside = picture(tiny_models / "shots" / f"seed-7-{names[1]}.png")
    code, events = run(capsys, *words, *RANDOM, "--seeds", "7,", "--views", "alone")
    assert code == Exit.OK, events
    assert abs(picture(tiny_models / "alone" / f"seed-7-{names[1]}.png") - beside).max() <= 2


@pytest.mark.parametrize("words", [("a box",), ("--pipeline", "v3d")], ids=["imagedream", "v3d"])
def test_without_weights_the_command_that_fetches_them_is_named(capsys, tiny_models, words):
    code, events = run(capsys, *words, "--image", "box.png", "--preset", "full", "--device", "cpu")
    model = "v3d" if "v3d" in words else "imagedream-pixel"
    assert (code, events[-1]["code"]) == (Exit.USAGE, "weights_missing")
    assert f"dreamlift models pull {model}" in events[-1]["remedy"]
    assert sorted(path.name for path in tiny_models.iterdir()) == ["box.png"]


@pytest.mark.parametrize("words", [("a box",), ("--pipeline", "v3d")], ids=["imagedream", "v3d"])
def test_a_machine_that_is_too_small_and_a_damaged_picture_are_told(capsys, tiny_models, monkeypatch, words):
    (tiny_models / "damaged.png").write_bytes((tiny_models / "box.png").read_bytes()[:50])
    code, events = run(capsys, *words, *RANDOM[2:], "--image", "damaged.png")
    assert (code, events[-1]["code"]) == (Exit.USAGE, "bad_image")
    monkeypatch.setattr(cards, "card_of", lambda device: card_of_size(4))
    code, events = run(capsys, *words, *RANDOM)
    assert (code, events[-1]["code"]) == (Exit.USAGE, "does_not_fit") and "GiB" in events[-1]["what"]


def test_a_stop_before_the_first_picture_is_told(capsys, tiny_models, monkeypatch):
    monkeypatch.setattr(LocalContext, "should_stop", lambda context: Stop.CANCEL)
    code, events = run(capsys, *RANDOM, "--pipeline", "v3d")
    assert (code, events[-1]["code"]) == (Exit.INTERRUPTED, "stopped")
    assert sorted(path.name for path in tiny_models.iterdir()) == ["box.png"]


def test_a_stop_afterwards_keeps_what_there_is(capsys, tiny_models, monkeypatch):
    monkeypatch.setattr(LocalContext, "should_stop", lambda context: Stop.FINISH)
    code, events = run(capsys, *RANDOM, "--pipeline", "v3d", "--seeds", "3,7")
    assert code == Exit.OK and events[-1]["seeds"] == [3, 7], "one step of both, as far as they had come"


@pytest.mark.parametrize("pipeline", ["v3d"])
def test_generate_refuses_what_only_draws_views(capsys, tmp_path, monkeypatch, pipeline):
    monkeypatch.chdir(tmp_path)
    code = main(["generate", "a box", "--pipeline", pipeline, "--json"])
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (code, error["code"]) == (Exit.USAGE, "no_object")
    assert f"dreamlift views --pipeline {pipeline}" in error["remedy"] and "mvdream" in error["remedy"]
    assert not list(tmp_path.iterdir())


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


def test_a_server_gets_the_picture_too(capsys, service, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_HOME", str(service.home))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "box.png").write_bytes(as_file(cut_out(*LARGE)))
    words = ("steps=3", "--pipeline", "v3d", "--image", "box.png", "--seeds", "9,", "-o", "x.png", "--server")
    code, events = run(capsys, *words)
    assert code == Exit.OK, events
    blobs = [path.read_bytes() for path in service.home.rglob("*") if path.is_file() and path.stat().st_size < 2000]
    assert (tmp_path / "box.png").read_bytes() in blobs
