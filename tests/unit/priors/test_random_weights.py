"""Random weights at any size: nothing held twice, zero-initialised layers too, the same seed the same numbers."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from dreamlift.priors.configs import MINI, MVDREAM_SD21
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.random_weights import empty_parameters, random_prior, randomise
from dreamlift.rendering.cameras import orthogonal_views


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 8)
        self.linear = nn.Linear(8, 100, bias=True)
        self.linear.weight = self.embedding.weight
        self.norm = nn.LayerNorm(64)
        self.last = nn.Conv2d(64, 64, 3)
        nn.init.zeros_(self.last.weight)
        self.register_buffer("steps", torch.arange(5.0))


def test_parameters_are_empty_and_buffers_are_not():
    with empty_parameters():
        small = Small()
    assert all(parameter.is_meta for parameter in small.parameters())
    assert small.steps.tolist() == [0, 1, 2, 3, 4]
    assert not nn.Linear(2, 2).weight.is_meta  # outside, everything is as before


def test_an_error_while_building_changes_nothing_outside():
    with pytest.raises(ZeroDivisionError), empty_parameters():
        raise ZeroDivisionError
    assert not nn.Linear(2, 2).weight.is_meta


def test_every_parameter_gets_a_sensible_spread_zero_layers_included():
    with empty_parameters():
        small = Small().requires_grad_(False)
    randomise(small, seed=1)
    assert small.last.weight.std() == pytest.approx(1 / 24, rel=0.02)  # 1 / sqrt(64 * 9)
    assert small.embedding.weight.std() == pytest.approx(8**-0.5, rel=0.1)
    assert small.norm.weight.mean() == pytest.approx(1.0, abs=0.05) and small.norm.weight.std() > 0.05
    assert 0 < small.last.bias.abs().max() < 0.1


def test_shared_parameters_stay_shared():
    with empty_parameters():
        small = Small()
    randomise(small)
    assert small.linear.weight is small.embedding.weight


def test_precision_is_for_parameters_only_and_gradient_flags_stay():
    with empty_parameters():
        small = Small()
    small.norm.requires_grad_(False)
    randomise(small, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in small.parameters()} == {torch.bfloat16}
    assert small.steps.dtype == torch.float32
    assert not small.norm.weight.requires_grad and small.last.weight.requires_grad


def test_the_same_seed_gives_the_same_numbers_from_meta_or_real():
    with empty_parameters():
        first = Small()
    a, b, c = (randomise(module, seed=seed).last.weight for module, seed in ((first, 4), (Small(), 4), (Small(), 5)))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_prior_built_this_way_runs_and_its_schedule_is_exact():
    prior = random_prior(MVDreamPrior, MINI, seed=2, dtype=torch.bfloat16)
    assert prior.version == "random weights" and not any(p.requires_grad for p in prior.parameters())
    assert prior.alphas_cumprod.dtype == torch.float32
    assert torch.equal(prior.alphas_cumprod, MVDreamPrior.random(MINI).alphas_cumprod)
    prior.precision = torch.bfloat16
    x_t, cameras = torch.randn(4, 8, 16, 16), orthogonal_views(0, 15, 2.7, 40)
    eps = prior.predict(x_t, torch.full((4,), 500), prior.encode_text(["x"] * 4), cameras)
    assert torch.isfinite(eps).all() and eps.std() > 0.05


def test_a_full_size_model_is_built_without_memory():
    with empty_parameters():
        prior = MVDreamPrior.random(MVDREAM_SD21)
    assert sum(p.numel() for p in prior.unet.parameters()) > 860e6
    assert all(p.is_meta for p in prior.parameters())
    assert not any(buffer.is_meta for buffer in prior.buffers())


def test_random_unets_answer_with_unit_scale():
    """Neither vanishing nor exploding: a deep U-Net stays within half precision."""
    with empty_parameters():
        unet = UNet2DConditionModel(
            sample_size=16, block_out_channels=(32, 64, 64), layers_per_block=2, cross_attention_dim=32,
            down_block_types=("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3,
        )  # fmt: skip
    randomise(unet)
    with torch.no_grad():
        out = unet(torch.randn(1, 4, 16, 16), 500, torch.randn(1, 7, 32)).sample
    assert 0.05 < out.std() < 20
