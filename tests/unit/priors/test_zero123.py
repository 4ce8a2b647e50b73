"""Zero123's own logic on a tiny model of random weights; equality with the reference is in tests/parity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dreamlift.priors import zero123_keys
from dreamlift.priors.zero123 import Zero123Condition, Zero123Prior
from dreamlift.priors.zero123_config import ZERO123
from dreamlift.rendering.cameras import orbit

TINY = replace(
    ZERO123,
    name="tiny",
    image_size=32,
    unet={
        **ZERO123.unet,
        "sample_size": 8,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
    },
    vae={
        **ZERO123.vae,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    },
    vision={
        **ZERO123.vision,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "projection_dim": 12,
    },
)


@pytest.fixture(scope="module")
def prior():
    return Zero123Prior.random(TINY)


@pytest.fixture(scope="module")
def told(prior):
    return prior.encode(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))


def test_a_seed_gives_the_same_weights_and_another_seed_others(prior):
    weight = prior.unet.conv_in.weight
    assert torch.equal(weight, Zero123Prior.random(TINY).unet.conv_in.weight)
    assert not torch.equal(weight, Zero123Prior.random(TINY, seed=1).unet.conv_in.weight)


def test_the_unconditional_side_sees_no_picture_wherever_the_camera_is(prior, told):
    nothing = told.unconditional()
    numbers = prior.camera_numbers(orbit([30.0, 90.0], 10.0, 3.8, 20.0), told)
    assert not prior.context(nothing, numbers).any() and not nothing.latent.any()
    assert prior.context(told, numbers).any()


def test_guidance_of_one_is_the_conditional_answer(prior, told):
    x, t = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([500, 20])
    cameras = orbit([30.0, 90.0], 10.0, 3.8, 20.0)
    assert prior.predict_guided(x, t, told, cameras, 1.0) == pytest.approx(prior.predict(x, t, told, cameras), abs=1e-5)


def test_the_picture_is_in_front_unless_its_camera_is_given(prior, told):
    assert told.view.tolist() == [pytest.approx([0.0, 0.0, 3.8])] * 2
    moved = prior.encode(torch.zeros(1, 3, 32, 32), orbit([40.0], 15.0, 2.0, 20.0))
    assert moved.view[0] == pytest.approx(torch.tensor([15.0, 40.0, 2.0]), abs=1e-4)
    same = prior.camera_numbers(orbit([40.0], 15.0, 2.0, 20.0), moved)
    assert same[0] == pytest.approx(torch.tensor([0.0, 0.0, 1.0, 0.0]), abs=1e-6)


def test_a_views_latents_are_drawn_and_decoded(prior, told):
    drawn = prior.sample(told, orbit([30.0, 90.0], 10.0, 3.8, 20.0), steps=3)
    assert drawn.shape == told.latent.shape and drawn.isfinite().all()
    assert prior.decode_latents(drawn).shape == (2, 3, 32, 32)


def test_the_averaged_copy_is_found_by_its_dotless_name():
    assert zero123_keys.ema_key("model.diffusion_model.out.0.bias") == "model_ema.diffusion_modelout0bias"
    counters = {"model_ema.decay": torch.ones(()), "model_ema.num_updates": torch.ones(())}
    assert not zero123_keys.has_ema(counters)
    assert zero123_keys.has_ema(counters | {"model_ema.diffusion_modelout0bias": torch.ones(1)})


def test_conditions_join_row_by_row(told):
    both = Zero123Condition.cat([told, told.unconditional()])
    assert len(both) == 4 and both.given.tolist() == [1, 1, 0, 0]
