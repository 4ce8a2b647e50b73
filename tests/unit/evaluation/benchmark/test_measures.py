"""Known pairs: the truth is perfect against itself, a turned copy is wrong, a noisy or swollen one is in between."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from dreamlift.evaluation.benchmark import measures
from dreamlift.evaluation.benchmark.measures import BEST_PSNR
from dreamlift.evaluation.benchmark.pictures import Pictures, novel_cameras, pictures_of, raised
from dreamlift.evaluation.models import Model, model_of_object
from dreamlift.evaluation.views import views_of
from dreamlift.training.objects import ProceduralObject

CAR = ProceduralObject("car", "red", "white")


@functools.cache
def true_car():
    return model_of_object(CAR)


@functools.cache
def pictures(model_name):
    return pictures_of({"true": true_car, "turned": turned_car}[model_name](), novel_cameras(), 128)


@functools.cache
def turned_car():
    c2w = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
    model = true_car()
    return replace(model, vertices=model.vertices @ c2w.T, inside=np.rot90(model.inside, 1, axes=(0, 1)))


def noisy(seen, spread):
    noise = spread * torch.randn(seen.lit.shape, generator=torch.Generator().manual_seed(0))
    return replace(seen, lit=(seen.lit + noise * seen.alpha[:, None]).clamp(0, 1))


def test_the_truth_is_perfect_against_itself():
    seen, model = pictures("true"), true_car()
    assert measures.psnr(seen.over(1.0), seen.over(1.0)) == measures.psnr_inside(seen, seen) == BEST_PSNR
    assert measures.ssim(seen.over(1.0), seen.over(1.0)) == pytest.approx(1)
    assert measures.silhouette_iou(seen, seen) == 1 and measures.sharpness(seen, seen) == 1
    assert measures.normal_error(seen, seen) < 0.05, "rounding of the arc cosine"
    assert measures.stray(model, model) == (0.0, 0)
    assert measures.chamfer(model, model) < 0.003, "the points' own gaps"


def test_a_turned_object_is_wrong_in_everything_but_its_colours():
    seen, turned = pictures("true"), pictures("turned")
    assert measures.psnr(seen.over(1.0), turned.over(1.0)) < 16
    assert measures.silhouette_iou(seen, turned) < 0.8
    assert measures.normal_error(seen, turned) > 20
    assert measures.chamfer(true_car(), turned_car()) > 0.03
    share, bodies = measures.stray(turned_car(), true_car())
    assert share > 0.1 and bodies >= 2, "both ends stick out"
    assert measures.saturation(seen) == pytest.approx(measures.saturation(turned), abs=0.03)


def test_noise_costs_what_it_is_worth_and_looks_sharp():
    seen = pictures("true")
    little, much = (measures.psnr_inside(noisy(seen, spread), seen) for spread in (0.02, 0.1))
    assert little == pytest.approx(-20 * np.log10(0.02), abs=2), "clamping takes some of it away"
    assert 15 < much < little < BEST_PSNR
    assert measures.psnr(noisy(seen, 0.1).over(1.0), seen.over(1.0)) > much, "the background is free"
    assert measures.sharpness(noisy(seen, 0.1), seen) > 2


def test_a_blur_is_less_sharp_and_grey_is_less_saturated():
    seen = pictures("true")
    blurred = replace(seen, lit=torch.nn.functional.avg_pool2d(seen.lit, 3, 1, 1))
    assert measures.sharpness(blurred, seen) < 0.5
    grey = replace(seen, lit=seen.lit.mean(1, keepdim=True).expand_as(seen.lit))
    assert measures.saturation(grey) == 0 < measures.saturation(seen)


def test_a_plain_object_has_no_sharpness():
    ball = model_of_object(ProceduralObject("ball", "blue"))
    seen = pictures_of(ball, novel_cameras(), 64)
    assert measures.sharpness(seen, seen) is None


def test_a_swollen_object_lies_between():
    model = true_car()
    middle = np.array([0, 0, 0.2], np.float32)
    swollen = replace(model, vertices=(model.vertices - middle) * 1.06 + middle)
    assert 0.8 < measures.silhouette_iou(pictures_of(swollen, novel_cameras(), 128), pictures("true")) < 0.97
    assert 0.005 < measures.chamfer(swollen, model) < 0.03


def test_chamfer_of_two_squares_is_their_distance():
    def square(height):
        corners = np.array([[0, 0, height], [1, 0, height], [1, 1, height], [0, 1, height]], np.float32)
        return Model(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), None, None)

    assert measures.chamfer(square(0.0), square(0.25)) == pytest.approx(0.25, abs=1e-4)


def test_points_are_spread_by_area():
    corners = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 5], [1, 0, 5], [0, 1, 5]], np.float32)
    points = measures.surface_points(Model(corners, np.array([[0, 1, 2], [3, 4, 5]], np.int32), None, None), 4000, 0)
    assert np.mean(points[:, 2] == 0) == pytest.approx(0.75, abs=1e-3)
    assert points[points[:, 2] == 0].mean(0)[:2] == pytest.approx([1, 1 / 3], abs=0.05), "the triangle's centroid"


def test_a_loose_body_is_a_floater_and_a_thick_skin_is_not():
    model = true_car()
    inside = model.inside.copy()
    inside[5:9, 5:9, 60:64] = True
    share, bodies = measures.stray(replace(model, inside=inside), model)
    assert bodies == 1 and share == pytest.approx(64 / np.count_nonzero(model.inside))
    skin = replace(model, inside=ndimage.binary_dilation(model.inside, iterations=5))
    share, bodies = measures.stray(skin, model)
    assert share > 0.05 and bodies == 0, "a swelling, not a floater"


def test_nothing_against_the_truth_is_worth_nothing():
    seen = pictures("true")
    nothing = Pictures(*(torch.zeros_like(field) for field in (seen.lit, seen.unlit, seen.alpha, seen.normals)))
    assert measures.silhouette_iou(nothing, seen) == 0 and measures.normal_error(nothing, seen) is None
    assert measures.psnr_inside(nothing, seen) < 8 and measures.saturation(nothing) == 0


def test_pictures_have_smooth_edges_and_the_silhouettes_of_the_hard_views():
    model, views = true_car(), views_of(true_car())
    seen = pictures_of(model, raised(novel_cameras(), float(model.vertices[:, 2].max()) / 2 - 0.5), 128)
    partly = (seen.alpha > 0) & (seen.alpha < 1)
    assert partly.any() and not ((seen.mask != views.mask) & ~partly).any(), "they differ on the outline alone"
    assert float((seen.mask & views.mask).sum() / (seen.mask | views.mask).sum()) > 0.97
    assert torch.allclose(seen.normals.norm(dim=1)[seen.whole], torch.ones(()), atol=1e-4)
