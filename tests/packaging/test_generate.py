"""The whole path as a newcomer takes it: the installed command, the embedded model, a GLB. Few steps, a rough shape."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dreamlift import doctor
from dreamlift.commands.outcomes import Exit

QUICK = ("--set", "steps=24", "--set", "texture_size=512", "--set", "triangles=2000", "--json")


def command(*words):
    return [sys.executable, "-m", "dreamlift.cli", *words]


def events(text):
    return [json.loads(line) for line in text.splitlines()]  # anything that is not JSON fails here


def test_the_embedded_weights_are_whole():
    models = {finding.name: finding.level for finding in doctor.check_weights()}
    names = ("image_text", "imagedream-global", "imagedream-local", "imagedream-pixel", "mvdream")
    names += ("picture_pose", "picture_words")
    assert models == {f"weights {name}": "ok" for name in names}
    weights = doctor.MINI_FOLDER.rglob("*.safetensors")
    assert sum(path.stat().st_size for path in weights) < 40e6  # they are cloned with the repository


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made with spaces é")
    words = command("generate", "a red mushroom", "-o", "x.glb", "--sheet", "x.png", *QUICK)
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=280)
    assert result.returncode == Exit.OK, result.stdout[-500:] + result.stderr[-2000:]
    return folder, result


def test_a_prompt_becomes_a_glb_and_a_sheet_and_nothing_else(made):
    folder, _ = made
    assert sorted(path.name for path in folder.iterdir()) == ["x.glb", "x.png"]
    assert (folder / "x.glb").read_bytes()[:4] == b"glTF"
    assert (folder / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_stdout_holds_json_lines_alone_and_stderr_nothing(made):
    _, result = made
    kinds = [event["event"] for event in events(result.stdout)]
    assert kinds[-1] == "done" and "progress" in kinds
    assert result.stderr == ""


def test_the_asset_says_where_it_came_from(made):
    folder, _ = made
    data = (folder / "x.glb").read_bytes()
    document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    extras = json.dumps(document["asset"]["extras"])
    assert "a red mushroom" in extras and "mini-mvdream" in extras


def test_an_object_that_the_model_does_not_know_is_refused_with_the_words_it_knows(tmp_path):
    words = command("generate", "dragon", "-o", str(tmp_path / "x.glb"), *QUICK)
    result = subprocess.run(words, capture_output=True, text=True, timeout=280)
    assert result.returncode == Exit.USAGE
    error = events(result.stdout)[-1]
    assert error["code"] == "unknown_words" and "dragon" in error["what"] and "mushroom" in error["remedy"]
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_what_there_is(tmp_path):
    words = command("generate", "a blue ball", "-o", "x.glb", *QUICK[2:], "--set", "steps=5000")
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1]["event"] == "progress" and lines[-1]["step"] >= 5:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=280)
    lines += events(out)
    assert process.returncode == Exit.OK, err[-2000:]
    assert "finishing" in [event["event"] for event in lines] and lines[-1]["event"] == "done"
    assert [path.name for path in Path(tmp_path).iterdir()] == ["x.glb"]


def test_a_folder_that_may_not_be_written_is_refused_before_anything_is_loaded(tmp_path):
    place = tmp_path / "a file"
    place.write_text("")
    result = subprocess.run(
        command("generate", "a red cube", "-o", str(place / "x.glb")),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert result.returncode == Exit.USAGE and "does not exist" in result.stderr
