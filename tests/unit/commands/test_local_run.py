"""Running here: files appear whole or not at all, a checkpoint belongs to one request."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes.growing import asset
from PIL import Image

from dreamlift.commands.local_run import fingerprint, mini_note, write_files
from dreamlift.models.store import Store
from dreamlift.pipelines.context import Request

REQUEST = Request(prompt="a red mushroom")


def test_the_glb_and_the_sheet_are_written(tmp_path):
    write_files(asset(REQUEST, 1.0), tmp_path / "x.glb", tmp_path / "x.png")
    assert (tmp_path / "x.glb").read_bytes()[:4] == b"glTF"
    assert np.asarray(Image.open(tmp_path / "x.png")).std() > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.glb", "x.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "x.glb").write_text("the old one")
    broken = dataclasses.replace(asset(REQUEST, 1.0), uvs=np.zeros((1, 3, 2), np.float32))
    with pytest.raises((ValueError, IndexError)):
        write_files(broken, tmp_path / "x.glb", None)
    assert (tmp_path / "x.glb").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["x.glb"]


def test_without_published_weights_one_line_says_that_the_mini_model_is_at_work(tmp_path):
    store = Store([tmp_path])
    without = mini_note("mvdream", store)
    assert "no published weights are here" in without and "dreamlift models list" in without and len(without) <= 80
    place = tmp_path / "mvdream-2.1" / "converted"
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert "--preset full" in mini_note("mvdream", store)


@pytest.mark.parametrize("change", [{"prompt": "b"}, {"seed": 1}, {"preset": "full"}, {"settings": {"steps": 3}}])
def test_another_request_has_another_checkpoint(change):
    assert fingerprint(dataclasses.replace(REQUEST, **change)) != fingerprint(REQUEST)
    assert fingerprint(dataclasses.replace(REQUEST)) == fingerprint(REQUEST)
