"""Stable Diffusion against a reference: MVDream is Stable Diffusion with cameras, so its cases without them are ours.

Taking the camera's tensors out of MVDream's case leaves a Stable Diffusion of the same weights, and the reference's
answer for single pictures without cameras is what that one must say. The tables of all keys serve the same way.
"""

import copy

import pytest
import torch
from parity.reference import SHARED, close, error_of, meta_state, read_table
from transformers import CLIPTextConfig, CLIPTextModel

from dreamlift.priors.published import CheckpointMismatch
from dreamlift.priors.random_weights import empty_parameters
from dreamlift.priors.stable_diffusion import StableDiffusionPrior
from dreamlift.priors.stable_diffusion_config import SD15, SD21_BASE, StableDiffusionConfig

CASE = SHARED / "parity" / "mvdream_v21_tiny.pt"
CAMERA = "model.diffusion_model.camera_embed."
pytestmark = pytest.mark.skipif(not CASE.is_file(), reason=f"the reference answers are not at {CASE}")


@pytest.fixture(scope="module")
def case():
    return torch.load(CASE, weights_only=True)


@pytest.fixture(scope="module")
def prior(case):
    yaml = copy.deepcopy(case["config"])
    yaml.get("model", yaml)["params"]["unet_config"]["params"].pop("camera_dim")
    config = StableDiffusionConfig.from_reference(yaml, text=case["text"])
    state = {key: value for key, value in case["state_dict"].items() if not key.startswith(CAMERA)}
    return StableDiffusionPrior.from_published(state, config=config)


def test_noise_equals_the_reference(case, prior):
    given = case["inputs"]
    close(prior.predict(given["x"], given["t"], given["context"]), case["outputs"]["eps_nocamera_2d"])


def test_text_and_pictures_equal_the_reference(case, prior):
    given, answered = case["inputs"], case["outputs"]
    close(prior.encode_tokens(given["tokens"]), answered["text_context"])
    close(prior.encode_images(given["image"] / 2 + 0.5) / 0.18215, answered["vae_mean"])
    close(prior.decode_raw(given["latent"]), answered["vae_decoded"])


def test_another_latent_scale_does_not(case, prior):
    given = case["inputs"]
    assert error_of(prior.decode_raw(given["latent"] * 0.18215), case["outputs"]["vae_decoded"]) > 1e-2


def test_a_camera_that_is_left_over_is_named(case, prior):
    with pytest.raises((CheckpointMismatch, RuntimeError), match="MVDream|camera"):
        StableDiffusionPrior.from_published(case["state_dict"], config=prior.config)


@pytest.mark.parametrize(("table", "config"), [("mvdream_v21", SD21_BASE), ("mvdream_v15", SD15)])
def test_every_full_size_key_is_read(table, config):
    state = {key: value for key, value in meta_state(read_table(table)).items() if not key.startswith(CAMERA)}
    if config is SD15:  # its list leaves the text tower out, which is CLIP's in transformers' own names
        with torch.device("meta"):
            tower = CLIPTextModel(CLIPTextConfig(**SD15.text)).state_dict()
        state |= {f"cond_stage_model.transformer.text_model.{key}": value for key, value in tower.items()}
    with empty_parameters():
        prior = StableDiffusionPrior.from_published(state, config=config)
    assert all(parameter.is_meta for parameter in prior.parameters())
    some = next(key for key in state if key.startswith("model.diffusion_model.output_blocks.3."))
    with pytest.raises(CheckpointMismatch, match="1 missing"):
        StableDiffusionPrior.from_published({k: v for k, v in state.items() if k != some}, config=config)
