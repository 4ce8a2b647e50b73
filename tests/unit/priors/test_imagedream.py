"""What ImageDream does with pictures and rows, without weights that mean anything."""

from dataclasses import replace

import pytest
import torch
from fakes.tiny_view_models import IMAGEDREAM

from dreamlift.priors.clip_images import clip_pixels, normalise
from dreamlift.priors.configs import IMAGEDREAM_LOCAL
from dreamlift.priors.imagedream import ImageDreamPrior
from dreamlift.rendering.cameras import orthogonal_views

TINY = replace(
    IMAGEDREAM,
    text={**IMAGEDREAM.text, "vocab_size": 50000},
    vision={**IMAGEDREAM.vision, "projection_dim": 16},
)


@pytest.fixture(scope="module")
def prior():
    return ImageDreamPrior.random(TINY, ["a", "owl"], seed=3)


def test_a_picture_is_cut_to_its_centre_and_normalised():
    wide = torch.zeros(1, 3, 28, 84)
    wide[..., 28:56] = 1.0
    assert torch.allclose(clip_pixels(wide, 28)[..., 2:-2], normalise(torch.ones(1, 3, 28, 24)), atol=1e-5)
    assert clip_pixels(torch.rand(2, 3, 101, 67), 28).shape == (2, 3, 28, 28)


def test_prompts_and_pictures_are_encoded_and_denoised_as_four_views(prior):
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    told = prior.encode(["a owl", "a"], images, torch.Generator().manual_seed(1))
    assert told.pixels.shape == (2, 4, 4, 4)
    x = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    t = torch.full((8,), 400)
    cameras = orthogonal_views(0, 0, 1.0, 40)[torch.arange(4).repeat(2)]
    eps, x0 = prior.predict(x, t, told, cameras), prior.predict_x0(x, t, told, cameras)
    abar = prior.alphas_cumprod[400]
    assert eps.shape == x.shape
    assert torch.allclose(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, x, atol=1e-4)
    assert torch.allclose(eps, prior.predict(x, t, told.repeat_interleave(4), cameras), atol=1e-5)


def test_the_picture_frame_reaches_the_views_and_no_other_object(prior):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    told = prior.encode(["a owl", "a"], images)
    x, t = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(5)), torch.full((8,), 600)
    changed = replace(told, pixels=torch.cat([told.pixels[:1] + 1, told.pixels[1:]]))
    moved = (prior.predict(x, t, changed, torch.zeros(8, 16)) - prior.predict(x, t, told, torch.zeros(8, 16))).abs()
    assert (moved[:4].amax((1, 2, 3)) > 1e-6).all() and moved[4:].max() < 1e-6


def test_the_local_variant_makes_no_picture_frame():
    local = ImageDreamPrior.random(replace(TINY, name=IMAGEDREAM_LOCAL.name, controller="local"), ["a"], seed=3)
    assert local.encode(["a"], torch.rand(1, 3, 32, 32)).pixels is None
    assert local.encode(["a"], None).pixels is None


def test_released_encoders_say_so_and_denoising_goes_on():
    prior = ImageDreamPrior.random(TINY, ["a"], seed=3)
    told = prior.encode(["a"], torch.rand(1, 3, 32, 32))
    prior.release_encoders()
    assert not any(key.startswith(("text_encoder.", "image_encoder.")) for key in prior.state_dict())
    with pytest.raises(RuntimeError, match="has no text encoder here"):
        prior.encode(["a"], None)
    with pytest.raises(RuntimeError, match="let go of its image encoder"):
        prior.image_features(torch.zeros(1, 3, 28, 28))
    assert prior.predict(torch.randn(4, 4, 4, 4), torch.full((4,), 9), told, torch.zeros(4, 16)).shape == (4, 4, 4, 4)


def test_half_precision_weights_compute_and_keep_an_exact_noise_schedule():
    prior = ImageDreamPrior.random(TINY, ["a"], seed=3)
    exact = prior.alphas_cumprod.clone()
    prior.to(torch.bfloat16)
    assert prior.unet.conv_in.weight.dtype == torch.bfloat16
    assert prior.alphas_cumprod.dtype == torch.float32 and torch.equal(prior.alphas_cumprod, exact)
    told = prior.encode(["a"], torch.rand(1, 3, 32, 32))
    eps = prior.predict(torch.randn(4, 4, 4, 4), torch.full((4,), 9), told, torch.zeros(4, 16))
    assert eps.dtype == told.pixels.dtype == torch.float32 and torch.isfinite(eps).all()
