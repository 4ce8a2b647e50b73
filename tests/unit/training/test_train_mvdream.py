"""The mini model's trainer: it runs, resumes, and measures whether cameras are used."""

import math

import pytest
import torch
from diffusers import AutoencoderKL

from dreamlift.priors.configs import MINI
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.rendering.cameras import ray_maps
from dreamlift.training.camera_use import camera_use
from dreamlift.training.dataset import load_shards, render_shard
from dreamlift.training.latents import encode_sets
from dreamlift.training.prompts import VOCABULARY
from dreamlift.training.runner import Clock, cosine, load_checkpoint, random_background
from dreamlift.training.train_mvdream import MVDreamTraining, draw_timesteps, train_mvdream
from dreamlift.training.train_vae import DecoderTraining, VAETraining, reconstruction_psnr, refine_decoder, train_vae


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    paths = [folder / f"sets-{number:03d}.npz" for number in range(2)]
    for number, path in enumerate(paths):
        render_shard(path, 12, seed=number)
    return paths


def test_a_run_writes_a_model_and_resumes_where_it_stopped(shards, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoencoderKL(**MINI.vae).save_pretrained(tmp_path / "vae")
    short = MVDreamTraining(seconds=4, low_share=0.5, low_batch=2, batch=2, sync_seconds=0.5)
    train_mvdream(shards, tmp_path, short, "test")
    first = load_checkpoint(tmp_path / "unet-training.pt")
    assert first["step"] >= 1 and first["spent"] >= 4
    assert MVDreamPrior.from_folder(tmp_path / "model").name == "mini-mvdream test"

    longer = MVDreamTraining(seconds=first["spent"] + 2, low_share=0.0, low_batch=2, batch=2, sync_seconds=0.5)
    train_mvdream(shards, tmp_path, longer, "test")
    second = load_checkpoint(tmp_path / "unet-training.pt")
    assert second["step"] > first["step"] and second["spent"] > first["spent"]


def test_the_vae_trains_and_resumes(shards, tmp_path):
    sets = load_shards(shards)
    vae = train_vae(sets, tmp_path, VAETraining(seconds=3, batch=4), held_back=2)
    again = train_vae(sets, tmp_path, VAETraining(seconds=4, batch=4), held_back=2)
    assert (tmp_path / "vae" / "config.json").is_file()
    assert again.config.scaling_factor > 0
    psnr, _ = reconstruction_psnr(again, sets.views[0])
    assert math.isfinite(psnr) and psnr != reconstruction_psnr(vae, sets.views[0])[0]


def test_refining_the_decoder_leaves_every_latent_as_it_was_and_resumes(shards, tmp_path):
    sets = load_shards(shards)
    vae = train_vae(sets, tmp_path, VAETraining(seconds=2, batch=4), held_back=2)
    pictures = sets.views[0, :, :3].float() / 127.5 - 1
    before, decoded = vae.encode(pictures).latent_dist.mode(), vae.decode(torch.zeros(1, 8, 16, 16)).sample
    refine_decoder(sets, tmp_path, DecoderTraining(seconds=2, batch=2), held_back=2)
    first = load_checkpoint(tmp_path / "decoder-training.pt")
    refined = refine_decoder(sets, tmp_path, DecoderTraining(seconds=first["spent"] + 1, batch=2), held_back=2)
    assert load_checkpoint(tmp_path / "decoder-training.pt")["step"] > first["step"]
    assert torch.allclose(refined.encode(pictures).latent_dist.mode(), before, atol=1e-5)
    assert refined.config.scaling_factor == pytest.approx(vae.config.scaling_factor)
    assert not torch.allclose(refined.decode(torch.zeros(1, 8, 16, 16)).sample, decoded, atol=1e-4)
    stored = AutoencoderKL.from_pretrained(tmp_path / "vae")
    assert torch.allclose(stored.decode(torch.zeros(1, 8, 16, 16)).sample,
                          refined.decode(torch.zeros(1, 8, 16, 16)).sample, atol=1e-5)  # fmt: skip


def test_a_prior_without_camera_is_found_out_and_one_with_camera_is_seen(shards):
    sets = load_shards(shards)
    prior = MVDreamPrior.random(MINI, VOCABULARY)
    latents = encode_sets(prior, sets, 32, seed=0)
    for parameter in prior.unet.class_embedding.parameters():
        parameter.zero_()
    prior.unet.conv_in.weight[:, 8:] = 0  # neither the embedding nor the rays reach it now
    blind = camera_use(prior, sets, latents, t=900)
    assert blind.ratio == pytest.approx(1.0, abs=1e-4)
    assert camera_use(Seeing(prior, latents, sets), sets, latents, t=900).ratio > 2


class Seeing:
    """Knows the true latents and shows them only where the rays are those of the right cameras."""

    def __init__(self, prior, latents, sets):
        self.alphas_cumprod, self.device, self.encode_text = prior.alphas_cumprod, prior.device, prior.encode_text
        index = torch.arange(len(sets))
        self.rays = ray_maps(sets.cameras(index), 8)
        self.latents = latents.flatten(0, 1).float()

    def predict(self, x_t, t, context, cameras, views=4):
        nearest = torch.cdist(ray_maps(cameras, 8).flatten(1), self.rays.flatten(1)).argmin(1)
        abar = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return (x_t - abar.sqrt() * self.latents[nearest]) / (1 - abar).sqrt()


def test_high_noise_is_drawn_as_often_as_the_settings_say():
    settings = MVDreamTraining()
    t = draw_timesteps(20000, settings, torch.Generator().manual_seed(0))
    very, high = settings.high_noise
    expected = very + high * 0.25 + (1 - very - high) * 0.15
    assert (t >= 850).float().mean().item() == pytest.approx(expected, abs=0.02)
    assert t.min() >= 0 and t.max() <= 999


def test_backgrounds_are_often_the_middle_grey_and_never_extreme():
    grey = random_background(5000, torch.Generator().manual_seed(0))
    assert (grey == 0.5).float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert grey.min() >= 0.2 and grey.max() <= 0.8


def test_the_learning_rate_warms_up_and_ends_low():
    assert cosine(0.0, 0, 60) < cosine(0.0, 59, 60) == pytest.approx(1.0)
    assert cosine(1.0, 10_000, 60) == pytest.approx(0.01)


def test_the_clock_counts_earlier_sessions():
    clock = Clock(100.0, spent=60.0)
    assert 0.6 <= clock.fraction < 0.61
