"""`--image` and `--mask` become a request's pictures, whichever command and whichever machine it goes to."""

from __future__ import annotations

import argparse
import dataclasses
import json

import pytest
from fakes.tiny_view_models import as_file, cut_out

from dreamlift.cli import main
from dreamlift.commands.images import images_of
from dreamlift.commands.local_run import fingerprint
from dreamlift.commands.outcomes import CommandError, Exit
from dreamlift.commands.requests import object_request
from dreamlift.pipelines.context import Request, RequestError


def arguments(**changes):
    plain = {"pipeline": None, "preset": None, "prompt": "", "negative": "", "seed": 0, "weights": "trained"}
    return argparse.Namespace(**{**plain, "settings": [], "image": None, "mask": None, **changes})


@pytest.fixture
def files(tmp_path):
    (tmp_path / "x.png").write_bytes(as_file(cut_out()))
    (tmp_path / "m.png").write_bytes(as_file(cut_out().getchannel("A")))
    return tmp_path


def test_a_picture_alone_asks_imagedream_for_an_object(files):
    request = object_request(arguments(image=files / "x.png", mask=files / "m.png"))
    assert (request.pipeline, request.prompt) == ("imagedream", "")
    assert request.images == {"reference": as_file(cut_out()), "mask": as_file(cut_out().getchannel("A"))}
    assert object_request(arguments(prompt="a red box")).pipeline == "mvdream"


def test_a_pipeline_of_words_takes_no_picture(files):
    with pytest.raises(RequestError) as caught:
        object_request(arguments(image=files / "x.png", pipeline="mvdream", prompt="a red box"))
    assert caught.value.code == "no_image" and "imagedream" in caught.value.remedy


@pytest.mark.parametrize("pictures", [{"mask": "m.png"}, {"image": "gone.png"}, {"image": "."}])
def test_a_picture_that_cannot_be_read_is_told(files, pictures):
    with pytest.raises(CommandError) as caught:
        images_of(arguments(**{role: files / name for role, name in pictures.items()}))
    assert caught.value.what.endswith(".") and caught.value.remedy.endswith(".")


def test_another_picture_has_another_checkpoint():
    plain = Request(pipeline="imagedream", images={"reference": b"a"})
    other = dataclasses.replace(plain, images={"reference": b"b"})
    masked = dataclasses.replace(plain, images={"reference": b"a", "mask": b"m"})
    assert len({fingerprint(each) for each in (plain, other, masked)}) == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--image", "gone.png"), "bad_image"),
        (("--mask", "m.png", "a", "box"), "usage"),
        (("--image", "x.png", "--pipeline", "v3d"), "no_object"),
        (("--image", "x.png", "--pipeline", "mvdream", "a", "box"), "no_image"),
        (("a", "box", "--pipeline", "imagedream"), "missing_image"),
        (("--image", "x.png", "--preset", "huge"), "unknown_preset"),
    ],
)
def test_generate_refuses_wrong_pictures_before_anything_heavy(capsys, files, monkeypatch, words, code):
    monkeypatch.chdir(files)
    ended = main(["generate", *words, "--json"])
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (ended, error["code"]) == (Exit.USAGE, code)
    assert sorted(path.name for path in files.iterdir()) == ["m.png", "x.png"]
