"""Perpendicular negatives: weights and texts by view, and how the predictions are combined."""

import math

import pytest
import torch

from dreamlift.priors.perp_neg import (
    ViewTexts,
    combine,
    guided_noise,
    negative_weights,
    perpendicular,
    view_dependent,
    view_prompts,
)


@pytest.fixture
def texts():
    return ViewTexts(*(torch.full((2, 3), value) for value in (1.0, 2.0, 3.0, 4.0, 0.0)))


@pytest.mark.parametrize(
    ("azimuth", "expected"),
    [
        (0, (-(4 * math.exp(-0.5) - 2.426), -(4 - 2.426))),
        (45, (-(4 * math.exp(-0.25) - 2.426), -(4 * math.exp(-0.25) - 2.426))),
        (90, (-(math.exp(-0.5) - 0.606), -(math.exp(-0.5) + 0.967))),
        (135, (-(math.exp(-0.25) - 0.606), -(math.exp(-0.25) + 0.967))),
        (180, (-(1 - 0.606), -(1 + 0.967))),
    ],
)
def test_weights_are_the_published_ones(azimuth, expected):
    for turn in (azimuth, -azimuth, azimuth + 360, azimuth - 720):
        assert negative_weights(torch.tensor([float(turn)]))[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_no_weight_ever_pulls():
    assert (negative_weights(torch.linspace(-400, 400, 3001)) <= 0).all()


def test_texts_go_from_front_over_side_to_back(texts):
    azimuth = torch.tensor([0.0, 45.0, 90.0, -135.0, 180.0])
    condition = view_dependent(texts, azimuth, torch.zeros(5))
    assert condition.positive[:, 0, 0].tolist() == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0])
    assert condition.negatives[:, :, 0, 0].tolist() == [[1, 2], [1, 2], [2, 1], [2, 1], [2, 1]]
    assert (condition.unconditional == 0).all()


def test_from_overhead_there_are_no_negatives(texts):
    condition = view_dependent(texts, torch.tensor([10.0, 10.0]), torch.tensor([59.0, 61.0]))
    assert (condition.positive[1] == 4).all() and (condition.weights[1] == 0).all()
    assert (condition.weights[0] < 0).all()


def test_the_perpendicular_part_is_perpendicular_and_adds_up():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(3, 4, 5, 5, generator=generator), torch.randn(3, 4, 5, 5, generator=generator)
    part = perpendicular(a, b)
    assert (part * b).sum((1, 2, 3)).abs().max() < 1e-4
    along = a - part
    cosine = torch.nn.functional.cosine_similarity(along.flatten(1), b.flatten(1)).abs()
    assert torch.allclose(cosine, torch.ones(3), atol=1e-5)
    assert torch.equal(perpendicular(a, torch.zeros_like(b)), a)


def test_without_negatives_it_is_classifier_free_guidance():
    generator = torch.Generator().manual_seed(0)
    u, c, n = (torch.randn(2, 3, 4, 4, generator=generator) for _ in range(3))
    both = torch.stack([n, n], dim=1)
    assert torch.allclose(combine(u, c, both, torch.zeros(2, 2), 20.0), u + 20 * (c - u), atol=1e-4)


def test_a_negative_equal_to_the_positive_changes_nothing():
    """The part along e_pos is left alone: that is what keeps a front view from being pushed away from itself."""
    generator = torch.Generator().manual_seed(0)
    u, c = (torch.randn(2, 3, 4, 4, generator=generator) for _ in range(2))
    both = torch.stack([c, c], dim=1)
    told = combine(u, c, both, torch.full((2, 2), -1.5), 7.5)
    assert torch.allclose(told, u + 7.5 * (c - u), atol=1e-4)


def test_four_predictions_are_made_in_one_batch_and_combined(texts):
    calls = []

    def predict(x_t, t, context):
        calls.append((x_t.shape, t.shape, context.shape))
        shift = context.mean((1, 2)).view(-1, 1, 1, 1)
        return x_t * shift + shift.square() * torch.linspace(0, 1, 4)

    x_t = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    condition = view_dependent(texts, torch.tensor([30.0, 150.0]), torch.zeros(2))
    told = guided_noise(predict, x_t, torch.tensor([500, 500]), condition, 20.0)
    assert calls == [((8, 3, 4, 4), (8,), (8, 2, 3))]

    def one(context):
        return predict(x_t, torch.tensor([500, 500]), context)

    negatives = torch.stack([one(condition.negatives[:, k]) for k in range(2)], dim=1)
    expected = combine(one(condition.unconditional), one(condition.positive), negatives, condition.weights, 20.0)
    assert torch.allclose(told, expected)


def test_prompts_name_their_view():
    asked = []

    def encode_text(prompts):
        asked.extend(prompts)
        return torch.arange(5.0).view(5, 1, 1).expand(5, 2, 3)

    texts = ViewTexts.encode(encode_text, "a corgi", "blurry")
    assert asked == [
        "a corgi, front view",
        "a corgi, side view",
        "a corgi, back view",
        "a corgi, overhead view",
        "blurry",
    ]
    assert texts.back[0, 0] == 2 and texts.unconditional[0, 0] == 4
    assert view_prompts("x")["side"] == "x, side view"
