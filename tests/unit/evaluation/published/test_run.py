"""`dreamlift evaluate images`: what can be measured is, the rest says why not; alpha is laid on white."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dreamlift.evaluation.published.run import main, read_on_white
from dreamlift.pipelines.context import RequestError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "views").mkdir()
    random = np.random.default_rng(0)
    for k in range(2):
        pixels = random.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "views" / f"{k}.png")
    Image.open(tmp_path / "views" / "0.png").save(tmp_path / "reference.png")
    return tmp_path


def test_without_weights_the_plain_metrics_run_and_the_others_say_what_they_need(folder, capsys):
    assert main(["--images", str(folder / "views"), "--reference", str(folder / "reference.png")]) == 0
    printed = capsys.readouterr().out
    report = json.loads(printed.splitlines()[-1])
    values = report["values"]
    assert report["images"] == 2 and "unavailable" in printed
    assert values["PSNR, dB"]["first"] == 60.0 > values["PSNR, dB"]["mean"], "the first picture is the reference"
    assert values["SSIM"]["first"] == pytest.approx(1.0)
    for name, option in {
        "LPIPS (alex)": "--lpips",
        "contextual distance": "--vgg19",
        "CLIP score (text)": "--clip",
        "CLIP score (image)": "--clip",
        "R-precision": "--clip",
        "QIS": "--inception",
    }.items():
        assert values[name]["mean"] is None and values[name]["why"] == f"needs {option}"


def test_without_a_reference_nothing_is_compared(folder, capsys):
    assert main(["--images", str(folder / "views"), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and json.loads(lines[0])["values"]["PSNR, dB"]["why"] == "needs --reference"


def test_half_transparent_pixels_are_blended_and_the_published_way_leaves_them(tmp_path):
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:16, :, 3], pixels[16:24, :, 3] = 255, 51
    Image.fromarray(pixels).save(tmp_path / "a.png")
    blended, legacy = read_on_white(tmp_path / "a.png"), read_on_white(tmp_path / "a.png", legacy_alpha=True)
    assert torch.equal(blended[:, 30], torch.ones(3, 32)) and torch.equal(legacy[:, 30], torch.ones(3, 32))
    assert blended[0, 20, 0] == pytest.approx(0.8) and legacy[0, 20, 0] == 0 == blended[0, 2, 0]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no pictures"):
        main(["--images", str(tmp_path)])
