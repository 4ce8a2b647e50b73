"""The MVDream prior: conversions between what is predicted, 3D attention, saving."""

import pytest
import torch

from dreamlift.priors.configs import MINI
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.sampling import sample_views
from dreamlift.priors.tokenizer import WordTokenizer
from dreamlift.rendering.cameras import harmonic_camera, orbit, orthogonal_views

WORDS = ["a", "blue", "cube", "red"]


@pytest.fixture(scope="module")
def prior():
    return MVDreamPrior.random(MINI, WORDS, seed=1)


@pytest.fixture
def call(prior):
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(4, 8, 16, 16, generator=generator)
    return x_t, torch.full((4,), 700), prior.encode_text(["a red cube"] * 4), orthogonal_views(0, 15, 2.7, 40)


def test_noise_and_clean_latents_add_up_to_the_input(prior, call):
    x_t, t, *_ = call
    abar = prior.alphas_cumprod[t].view(-1, 1, 1, 1)
    eps, x0 = prior.predict(*call), prior.predict_x0(*call)
    assert torch.allclose(abar.sqrt() * x0 + (1 - abar).sqrt() * eps, x_t, atol=1e-4)


def test_pure_noise_still_has_a_clean_answer(prior, call):
    x_t, _, context, cameras = call
    assert prior.alphas_cumprod[999] == pytest.approx(0.0, abs=1e-8)
    x0 = prior.predict_x0(x_t, torch.full((4,), 999), context, cameras)
    assert torch.isfinite(x0).all() and x0.abs().max() < 100


def test_views_of_an_object_see_each_other_and_objects_do_not(prior, call):
    x_t, t, context, cameras = call
    both = (torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([context] * 2), _twice(cameras))
    plain = prior.predict(*both)
    other = both[0].clone()
    other[0] += 1  # first view of the first object
    changed = (prior.predict(other, *both[1:]) - plain).abs().amax((1, 2, 3))
    assert (changed[1:4] > 1e-5).all()
    assert (changed[4:] < 1e-5).all()


def test_one_view_is_the_plain_2d_model(prior, call):
    x_t, t, context, _ = call
    together = prior.predict(x_t, t, context, None, views=1)
    alone = torch.cat([prior.predict(x_t[k : k + 1], t[:1], context[:1], None, views=1) for k in range(4)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_the_camera_changes_the_answer(prior, call):
    x_t, t, context, _ = call
    turned = prior.predict(x_t, t, context, orthogonal_views(45, 15, 2.7, 40))
    assert (turned - prior.predict(*call)).abs().max() > 1e-4


def test_saved_weights_come_back_with_words_and_scale(prior, tmp_path):
    prior.save(tmp_path, "7")
    again = MVDreamPrior.from_folder(tmp_path)
    assert again.name == "mini-mvdream 7"
    assert again.unknown_words("a red dragon") == ["dragon"]
    assert again.vae.config.scaling_factor == pytest.approx(prior.vae.config.scaling_factor)
    x = torch.randn(4, 8, 16, 16)
    arguments = (torch.full((4,), 500), prior.encode_text(["a"] * 4), orthogonal_views(0, 15, 2.7, 40))
    assert torch.allclose(again.predict(x, *arguments), prior.predict(x, *arguments), atol=0.05)  # stored as float16


def test_missing_weights_say_which_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json is missing"):
        MVDreamPrior.from_folder(tmp_path)


def test_gradients_flow_through_the_picture_encoder(prior):
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    prior.encode_images(images).square().sum().backward()
    assert images.grad.abs().sum() > 0


def test_sampling_is_repeatable_and_in_range(prior):
    cameras = orthogonal_views(0, 15, 2.7, 40)
    first, second = (sample_views(prior, ["a red cube"], cameras, steps=3, seed=5) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (4, 3, 64, 64) and first.min() >= 0 and first.max() <= 1


def test_harmonics_tell_all_sides_apart_and_depend_on_the_matrix_alone():
    numbers = harmonic_camera(orbit([0.0, 90.0, 180.0, 270.0], 15.0, 2.7, 40.0))
    assert torch.cdist(numbers, numbers).add(torch.eye(4) * 9).min() > 1
    assert torch.allclose(harmonic_camera(orbit([360.0], 15.0, 2.7, 40.0)), numbers[:1], atol=1e-4)


def test_tokens_are_padded_cut_and_marked_unknown():
    tokenizer = WordTokenizer(WORDS, 5)
    assert tokenizer(["a red dragon", "a red blue cube a"]).tolist() == [[0, 3, 6, 2, 1], [0, 3, 6, 4, 1]]


def _twice(cameras):
    return cameras[torch.arange(4).repeat(2)]


def test_the_published_sampler_also_draws_with_weights_that_predict_v():
    prior = MVDreamPrior.mini()
    cameras = orthogonal_views(20.0, 15.0, 2.7, 40.0, 4)
    told, empty = (prior.encode_text([text]).repeat_interleave(4, 0) for text in ("a red ball", ""))
    start = torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    pictures = prior.decode_latents(prior.ddim_views(start, told, empty, cameras, steps=10, guidance=2.0))
    red, green, blue = pictures[:, :, 28:36, 28:36].mean((0, 2, 3)).tolist()
    assert red > 0.5 and max(green, blue) < 0.3  # taken for noise, its velocities drew a green ball
