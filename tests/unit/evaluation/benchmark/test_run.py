"""The benchmark's run: scores kept, gone on with, shared where they are the same; one line of JSON and a page."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest

from dreamlift.evaluation.benchmark import scores as scores_module
from dreamlift.evaluation.benchmark.objects import BY_NAME
from dreamlift.evaluation.benchmark.page import TILE, write_page
from dreamlift.evaluation.benchmark.run import (
    BENCHMARKS,
    VARIANTS,
    Found,
    add_arguments,
    chosen_objects,
    chosen_variants,
    evaluate,
    main,
    runnable,
)
from dreamlift.evaluation.benchmark.scores import BenchmarkFolder, score_asset
from dreamlift.evaluation.benchmark.variants import COMPARISONS, IMAGE_TO_3D, TRUTH, true_asset
from dreamlift.evaluation.runner import Made
from dreamlift.pipelines import catalog
from dreamlift.pipelines.context import RequestError

MUG = BY_NAME["mug-orange-blue"]


@pytest.fixture(scope="module")
def mug():
    return true_asset(MUG)


def test_the_true_object_through_the_finishing_scores_almost_perfectly(mug):
    score = score_asset(Made(mug, 12.5, 2_000_000_000), MUG, 1)
    assert (score.name, score.seed, score.seconds, score.peak_gb) == (MUG.name, 1, 12.5, 2.0)
    assert score.reference_psnr > 30 and score.psnr > 30 and score.psnr_inside > 22 and score.ssim > 0.98
    assert min(score.reference_iou, score.silhouette_iou) > 0.985 and score.volume_iou > 0.97
    assert score.chamfer < 0.005 and score.normal_error < 5 and 0.5 < score.sharpness < 1.5
    assert score.solid and score.janus is False and (score.stray, score.floaters) == (0.0, 0)
    assert abs(score.saturation) < 0.02 and not score.problem
    if score.image_similarity is not None:
        assert score.image_similarity > 0.7 and score.text_similarity > 0.5


def test_a_turned_object_scores_badly_at_every_camera(mug):
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    score = score_asset(Made(replace(mug, vertices=mug.vertices @ turn.T), 1.0, 0), MUG, 0)
    assert score.reference_iou < 0.9 and score.silhouette_iou < 0.92 and score.psnr_inside < 15
    assert score.janus, "the handle is where the truth has its front"


def test_a_second_handle_is_a_janus_and_a_floater(mug):
    turn = np.diag([-1.0, -1.0, 1.0]).astype(np.float32)
    doubled = replace(
        mug,
        vertices=np.concatenate([mug.vertices, mug.vertices @ turn]),
        faces=np.concatenate([mug.faces, mug.faces + len(mug.vertices)]).astype(np.int32),
        uvs=np.concatenate([mug.uvs, mug.uvs]),
    )
    score = score_asset(Made(doubled, 1.0, 0), MUG, 0)
    assert score.janus and score.floaters >= 1 and score.stray > 0.01 and not score.solid


def test_a_run_without_an_asset_scores_as_an_empty_picture():
    score = score_asset(Made(None, 3.0, 0, "Nothing took shape."), MUG, 0)
    assert score.silhouette_iou == score.reference_iou == score.volume_iou == 0 and not score.solid
    assert 5 < score.psnr < 20 and score.psnr_inside < 8 and score.chamfer is None and score.janus is None
    assert score.problem == "Nothing took shape."


def test_a_run_is_kept_goes_on_and_is_measured_again_only_when_a_definition_changes(tmp_path, monkeypatch):
    found = [Found(TRUTH, tmp_path / "truth")]
    first = evaluate(found, ["ring-cyan"], seeds=3)["truth"]
    assert len(first) == 1, "the true object has no seeds"
    made_at = (tmp_path / "truth" / "assets" / "ring_cyan-0.npz").stat().st_mtime_ns
    assert evaluate(found, ["ring-cyan"], seeds=3)["truth"] == first
    monkeypatch.setattr(scores_module, "METRICS_VERSION", 99)
    folder = BenchmarkFolder(tmp_path / "truth")
    assert folder.score(BY_NAME["ring-cyan"], 0) is None, "out of date"
    assert evaluate(found, ["ring-cyan", "cone-purple"], 3, only_kept=True)["truth"] == first
    assert folder.score(BY_NAME["ring-cyan"], 0) == first[0]
    assert (tmp_path / "truth" / "assets" / "ring_cyan-0.npz").stat().st_mtime_ns == made_at
    assert not folder.has(BY_NAME["cone-purple"], 0), "nothing was made"


def test_the_command_ends_in_json_and_writes_its_page(tmp_path, capsys):
    page = tmp_path / "quality.md"
    page.write_text("# Ours\n\n<!-- image-to-3d: begin -->\nyesterday\n<!-- image-to-3d: end -->\n\nafter\n")
    options = ["--variants", "truth", "--objects", "ring-cyan", "--jobs", "1", "--out", str(tmp_path / "out")]
    assert main("image-to-3d", [*options, "--docs", str(page)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(printed.splitlines()[-1])
    solid = report["variants"]["truth"]["metrics"]["solid"]
    assert solid["mean"] == 1.0 and solid["met"]
    assert report == json.loads((tmp_path / "out" / "image-to-3d.json").read_text())
    assert "reference view" in printed
    text = page.read_text()
    assert text.startswith("# Ours") and text.endswith("after\n") and "yesterday" not in text
    assert "| novel views: PSNR, dB | >= 20.0 | **" in text and "--objects ring-cyan" in text
    assert (tmp_path / "pictures" / "quality-image-to-3d-truth.jpg").stat().st_size > 1000
    numbers = json.loads((tmp_path / "quality-image-to-3d.json").read_text())
    assert numbers["variants"]["truth"]["metrics"]["psnr"]["mean"] > 25 and "scores" not in numbers
    assert main("image-to-3d", [*options, "--json", "--docs", str(page)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert page.read_text().count("image-to-3d: begin") == 1


def test_a_page_without_markers_is_refused(tmp_path):
    page = tmp_path / "other.md"
    page.write_text("nothing here")
    options = ["--variants", "truth", "--objects", "ring-cyan", "--jobs", "1", "--out", str(tmp_path), "--kept"]
    with pytest.raises(RequestError, match="image-to-3d: begin"):
        main("image-to-3d", [*options, "--docs", str(page)])


def test_variants_ask_for_what_the_pipelines_have():
    for variant in VARIANTS.values():
        variant.check()
        if variant.pipeline:
            request = variant.request(MUG, 3)
            words = MUG.caption if variant.tells else ""
            assert (request.preset, request.seed, request.prompt) == ("mini", 3, words)
            assert set(request.images) == ({"reference"} if variant.sees else set())
    assert {name for pair in COMPARISONS for name in pair} <= set(VARIANTS)


def test_equal_requests_share_a_folder_and_others_do_not():
    folders = {name: variant.folder() for name, variant in VARIANTS.items() if "imagedream" not in variant.pipeline}
    assert folders["mvdream"] != folders["mvdream-refined"] and folders["truth"] == "truth"
    plain = catalog.PIPELINES["mvdream"].settings
    usual = next(setting.defaults["mini"] for setting in plain if setting.key == "refine_texture")
    seen = {variant.folder() for variant in IMAGE_TO_3D}
    assert len(seen) == len(IMAGE_TO_3D)
    assert folders["caption-only"] == folders["mvdream-refined" if usual else "mvdream"]


def test_a_variant_without_weights_is_left_out_and_none_left_is_an_error(tmp_path):
    missing = replace(VARIANTS["pixel"], name="gone", weights=("nowhere",))
    assert [each.variant.name for each in runnable([missing, TRUTH], tmp_path)] == ["truth"]
    with pytest.raises(RequestError, match="No weights are there for gone"):
        runnable([missing], tmp_path)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(RequestError, match=r"'pixle'.*pixel, pixel-wordless"):
        chosen_variants("pixle")
    with pytest.raises(RequestError, match=r"'hippopotamus'.*ring-cyan"):
        chosen_objects("hippopotamus")
    assert chosen_objects(None) == list(BY_NAME)


def test_the_options_have_the_defaults_of_the_issue():
    for benchmark, variants in BENCHMARKS.items():
        parser = argparse.ArgumentParser()
        add_arguments(parser, benchmark)
        args = parser.parse_args([])
        assert args.seeds == 3 and args.limit is None and chosen_variants(args.variants) == list(variants)


def test_a_missing_sheet_leaves_its_place_empty(tmp_path):
    write_page([tmp_path / "gone.png"] * 4, tmp_path / "page.jpg")
    from PIL import Image

    with Image.open(tmp_path / "page.jpg") as page:
        assert page.size[0] > 3 * 6 * TILE and page.getextrema() == ((255, 255),) * 3
