"""DeepFloyd IF's stage I at toy size: the channel split, the schedule, pixels, and reading its folder."""

import dataclasses
import json

import pytest
import torch
from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from dreamlift.priors.contract import TextContext
from dreamlift.priors.deepfloyd import DeepFloydPrior, deepfloyd_schedule
from dreamlift.priors.deepfloyd_config import IF_I_XL, DeepFloydConfig, with_unet_file
from dreamlift.priors.perp_neg import ViewTexts, guided_noise, view_dependent
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.priors.random_weights import empty_parameters, randomise
from dreamlift.priors.weight_errors import WeightsError

TINY = DeepFloydConfig(
    name="tiny IF",
    image_size=16,
    unet={
        **IF_I_XL.unet,
        "sample_size": 16,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": IF_I_XL.unet["down_block_types"][:2],
        "up_block_types": IF_I_XL.unet["up_block_types"][-2:],
        "attention_head_dim": 8,
        "cross_attention_dim": 64,
        "encoder_hid_dim": 32,
        "addition_embed_type_num_heads": 2,
    },
    text={
        "vocab_size": 300,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 1,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": False,
    },
)


@pytest.fixture(scope="module")
def prior():
    made = DeepFloydPrior.random(TINY, seed=1)
    randomise(made, seed=1)
    return made


@pytest.fixture
def call():
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(2, 3, 16, 16, generator=generator)
    return x_t, torch.tensor([20, 900]), torch.randn(2, 77, 32, generator=generator)


def test_the_schedule_is_the_published_one(prior):
    assert prior.alphas_cumprod[[20, 500, 980]].tolist() == pytest.approx([0.99811, 0.49229, 8.77e-4], rel=2e-3)
    assert prior.scheduler.config.variance_type == "learned_range" and prior.scheduler.config.thresholding


def test_the_noise_is_the_first_three_of_six_channels(prior, call):
    raw = prior.raw_output(*call)
    assert raw.shape == (2, 6, 16, 16)
    assert torch.equal(prior.predict(*call), raw[:, :3])
    assert not torch.allclose(raw[:, :3], raw[:, 3:])


def test_the_stock_unet_answers_the_same(prior, call):
    stock = UNet2DConditionModel(**TINY.unet).eval()
    stock.load_state_dict(prior.unet.state_dict())
    with torch.no_grad():
        assert torch.equal(stock(*call).sample, prior.raw_output(*call))


def test_noise_and_clean_pixels_add_up_to_the_input(prior, call):
    x_t, t, context = call
    abar = prior.alphas_cumprod[t].view(-1, 1, 1, 1)
    mixed = abar.sqrt() * prior.predict_x0(x_t, t, context) + (1 - abar).sqrt() * prior.predict(x_t, t, context)
    assert torch.allclose(mixed, x_t, atol=1e-4)


def test_pictures_become_small_pixels_and_back_with_gradient(prior):
    images = torch.rand(2, 3, 40, 40, requires_grad=True)
    pixels = prior.encode_images(images)
    assert pixels.shape == (2, 3, 16, 16) and pixels.min() >= -1 and pixels.max() <= 1
    pixels.sum().backward()
    assert (images.grad.abs().sum((1, 2, 3)) > 0).all()
    assert torch.equal(prior.encode_images(torch.ones(1, 3, 16, 16)), torch.ones(1, 3, 16, 16))
    assert torch.equal(prior.decode_latents(torch.tensor([-2.0, 0.0, 1.0])), torch.tensor([0.0, 0.5, 1.0]))


def test_half_precision_weights_compute_on_a_cpu_too(prior, call):
    half = randomise(DeepFloydPrior.random(TINY, seed=1), seed=1, dtype=torch.bfloat16)
    told = half.predict(*call)
    assert told.dtype == torch.float32 and torch.isfinite(told).all()


def test_texts_differ_and_conditions_carry_them(prior):
    condition = prior.encode(["a corgi", "a cat"])
    assert isinstance(condition, TextContext) and condition.text.shape == (2, 77, 32)
    x_t, t = torch.zeros(2, 3, 16, 16), torch.tensor([500, 500])
    told = prior.predict(x_t, t, condition)
    assert torch.equal(told, prior.predict(x_t, t, condition.text))
    assert (told[0] - told[1]).abs().max() > 1e-3


def test_sampling_is_diffusers_own_pipeline(prior):
    """The same noise and texts through IFPipeline: the split, the guidance, the thresholding and the variance."""
    mine = prior.sample(["a corgi"], negative_prompt="ugly", steps=4, guidance=7.0, seed=5)
    pipeline = IFPipeline(None, None, prior.unet, deepfloyd_schedule(), None, None, None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    text, negative = prior.encode_text(["a corgi"]), prior.encode_text(["ugly"])
    generator = torch.Generator().manual_seed(5)
    theirs = pipeline(
        prompt_embeds=text, negative_prompt_embeds=negative, num_inference_steps=4, guidance_scale=7.0,
        height=16, width=16, generator=generator, output_type="pt",
    ).images  # fmt: skip
    theirs = theirs if theirs.min() >= 0 else (theirs / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_perpendicular_negatives_run_on_it(prior):
    texts = ViewTexts.encode(prior.encode_text, "a corgi")
    condition = view_dependent(texts, torch.tensor([10.0, 120.0]), torch.tensor([15.0, 15.0]))
    x_t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    eps = guided_noise(prior.predict, x_t, torch.tensor([500, 500]), condition, 20.0)
    assert eps.shape == x_t.shape and torch.isfinite(eps).all()


@pytest.fixture
def folder(prior, tmp_path):
    (tmp_path / "unet").mkdir()
    save_file(prior.unet.state_dict(), tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    return tmp_path


def test_a_published_folder_is_read(prior, folder, call):
    read = DeepFloydPrior.from_published(folder, config=TINY)
    assert torch.equal(read.predict(*call), prior.predict(*call))
    assert read.name == "tiny IF published" and not read.commercial_use
    half = DeepFloydPrior.from_published(folder, config=TINY, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16} and half.alphas_cumprod.dtype == torch.float32


def test_a_state_dict_or_one_file_will_do(prior, folder, call):
    for source in (dict(prior.unet.state_dict()), folder / "unet" / "diffusion_pytorch_model.safetensors"):
        read = DeepFloydPrior.from_published(source, config=TINY)
        assert torch.equal(read.predict(*call), prior.predict(*call))
        with pytest.raises(FileNotFoundError, match="whole folder"):
            read.encode_text(["a corgi"])


def test_prompts_in_the_cache_need_no_text_encoder(prior, folder):
    read = DeepFloydPrior.from_published(folder, config=TINY, text_cache=folder / "cache")
    (folder / "cache").mkdir()
    states = torch.randn(77, 32)
    save_file({"states": states}, read.encoder.file_of("a corgi"))
    assert torch.equal(read.encode_text(["a corgi"])[0], states)
    with pytest.raises(FileNotFoundError, match="tokenizer is missing"):
        read.encode_text(["a cat"])


def test_the_folders_own_configuration_has_the_last_word(folder, caplog):
    file = folder / "unet" / "config.json"
    told = {"_class_name": "UNet2DConditionModel", "act_fn": "silu", "sample_size": 16, "unheard_of": 3}
    file.write_text(json.dumps(told))
    changed = with_unet_file(TINY, file)
    assert changed.unet["act_fn"] == "silu" and "unheard_of" not in changed.unet and "_class_name" not in changed.unet
    assert "act_fn" in caplog.text and "sample_size" not in caplog.text
    file.write_text("not JSON")
    with pytest.raises(CheckpointMismatch, match="config.json"):
        with_unet_file(TINY, file)


def test_weights_of_another_size_or_family_are_refused(prior, folder):
    state = dict(prior.unet.state_dict())
    state.pop("conv_in.bias")
    with pytest.raises(CheckpointMismatch, match="1 missing: conv_in.bias"):
        DeepFloydPrior.from_published(state, config=TINY)
    with pytest.raises(CheckpointMismatch, match="misshaped"):
        wider = dataclasses.replace(TINY, unet={**TINY.unet, "cross_attention_dim": 32})
        DeepFloydPrior.from_published(folder, config=wider)
    with pytest.raises(WeightsError):
        DeepFloydPrior.from_published({"model.diffusion_model.out.2.weight": torch.zeros(4, 4, 3, 3)}, config=TINY)
    with pytest.raises(WeightsError):
        DeepFloydPrior.from_published(folder / "nowhere.safetensors", config=TINY)


def test_what_was_saved_is_read_again(prior, tmp_path, call):
    prior.save(tmp_path / "if", "7")
    read = DeepFloydPrior.from_folder(tmp_path / "if", TINY, text=prior.encoder)
    assert read.name == "tiny IF 7"
    assert torch.allclose(read.predict(*call), prior.predict(*call), atol=5e-2)  # float16 on disk
    assert torch.equal(read.encode_text(["x"]), prior.encode_text(["x"]))


def test_the_built_in_sizes_are_those_of_the_published_model():
    with empty_parameters():
        prior = DeepFloydPrior.random(IF_I_XL)
    assert sum(p.numel() for p in prior.parameters()) == pytest.approx(4.3e9, rel=0.005)
    assert isinstance(prior.scheduler, DDPMScheduler)
