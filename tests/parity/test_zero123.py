"""Zero123 on stock blocks against what the reference implementation answered on the same random weights.

The case lies beside the repository (`../shared/parity`), not in it. Tolerance: 5e-6 of the largest value for a forward
pass, 2e-5 for sampling; the worst seen when the case was made was 1.9e-6 and 3.8e-6 (checkpoints.md section 7). The
case has no EMA copy: those tests make one in the layout that checkpoint-keys/zero123.tsv lists.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from dreamlift.priors import published, zero123_keys
from dreamlift.priors.clip_images import normalise
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.priors.zero123 import Zero123Condition, Zero123Prior
from dreamlift.priors.zero123_config import ZERO123, Zero123Config
from dreamlift.rendering.cameras import orbit

SHARED = Path(__file__).parents[3] / "shared"
CASE = SHARED / "parity" / "zero123_tiny.pt"
TABLE = SHARED / "spec" / "checkpoint-keys" / "zero123.tsv"
pytestmark = pytest.mark.skipif(not CASE.is_file(), reason=f"the reference answers are not at {CASE}")


def error_of(mine, reference):
    return float((mine - reference).abs().max() / reference.abs().max())


def close(mine, reference, tolerance=5e-6):
    assert mine.shape == reference.shape
    error = error_of(mine, reference)
    assert error < tolerance, f"largest error {error:.1e} of the largest value, allowed {tolerance:.0e}"


@pytest.fixture(scope="module")
def case():
    return torch.load(CASE, weights_only=True)


@pytest.fixture(scope="module")
def config(case):
    return Zero123Config.from_reference(case["config"], vision=case["vision"], embed_dim=case["embed_dim"])


@pytest.fixture(scope="module")
def prior(case, config):
    return Zero123Prior.from_published(case["state_dict"], config=config)


@pytest.fixture(scope="module")
def told(case, prior):
    """The case's one picture as a condition, for its three cameras; and the camera numbers."""
    condition = prior.encode(case["inputs"]["cond_image"] / 2 + 0.5).repeat_interleave(3)
    return condition, prior.numbers_of_moves(case["inputs"]["delta_polar_azimuth_deg_radius"])


def with_ema_copy(state, seed=0):
    """The state dict with an averaged U-Net that differs from the raw one, and the counters."""
    generator = torch.Generator().manual_seed(seed)
    copies = {
        zero123_keys.ema_key(key): value + 0.02 * torch.randn(value.shape, generator=generator)
        for key, value in state.items()
        if key.startswith(published.UNET)
    }
    counters = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(105000)}
    return {**state, **copies, **counters}


def test_the_picture_is_told_as_in_the_reference(case, prior):
    condition = prior.encode(case["inputs"]["cond_image"] / 2 + 0.5)
    close(condition.embedding, case["outputs"]["clip_embed"])
    close(condition.latent, case["outputs"]["c_concat"])


def test_camera_numbers_and_context_token_equal_the_reference(case, prior, told):
    condition, numbers = told
    close(numbers[:, None], case["outputs"]["T"])
    close(prior.context(condition, numbers), case["outputs"]["context"])


def test_predicted_noise_equals_the_reference(case, prior, told):
    given = case["inputs"]
    close(prior.predict(given["x"], given["t"], *told), case["outputs"]["eps"])
    condition, numbers = told
    mine = prior.predict(given["x"], given["t"], condition.unconditional(), numbers)
    close(mine, case["outputs"]["eps_uncond"])


def test_sampling_with_guidance_equals_the_reference(case, prior, told):
    given = case["inputs"]
    mine = prior.sample(
        *told, steps=given["ddim_steps"], guidance=given["cfg_scale"], eta=0.0, noise=given["x_T"].clone()
    )
    close(mine, case["outputs"]["ddim_eta0"], 2e-5)


def test_decoding_equals_the_reference(case, prior):
    close(prior.decode_raw(case["inputs"]["x"]), case["outputs"]["decoded"])


def test_all_steps_of_ddim_instead_of_one_fewer_is_noticed(case, prior, told):
    given = case["inputs"]
    prior.scheduler.set_timesteps(given["ddim_steps"])
    x = given["x_T"].clone()
    for t in prior.scheduler.timesteps:
        eps = prior.predict_guided(x, t.expand(3), *told, given["cfg_scale"])
        x = prior.scheduler.step(eps, t, x, eta=0.0).prev_sample
    assert error_of(x, case["outputs"]["ddim_eta0"]) > 0.1


def test_a_scaled_latent_is_noticed(case, prior, told):
    given, (condition, numbers) = case["inputs"], told
    scaled = Zero123Condition(
        condition.embedding, condition.latent * prior.vae.config.scaling_factor, condition.view, condition.given
    )
    wrong = prior.predict(given["x"], given["t"], scaled, numbers)
    assert error_of(wrong, case["outputs"]["eps"]) > 1e-2


def test_resizing_without_aligned_corners_is_noticed(case, prior):
    image = case["inputs"]["cond_image"] / 2 + 0.5
    pixels = normalise(F.interpolate(image, (224, 224), mode="bicubic", align_corners=False))
    wrong = prior.image_encoder(pixel_values=pixels).image_embeds[:, None]
    assert error_of(wrong, case["outputs"]["clip_embed"]) > 1e-2


def test_the_plain_gelu_is_noticed(case, config):
    vision = {**config.vision, "hidden_act": "gelu"}
    other = Zero123Config(**{**vars(config), "vision": vision})
    wrong = Zero123Prior.from_published(case["state_dict"], config=other)
    embedding = wrong.image_embedding(case["inputs"]["cond_image"] / 2 + 0.5)
    assert error_of(embedding, case["outputs"]["clip_embed"]) > 1e-4


def test_the_averaged_copy_is_preferred_and_the_raw_one_can_be_asked_for(case, config, told):
    given, state = case["inputs"], with_ema_copy(case["state_dict"])
    raw_layout = zero123_keys.with_ema(state)
    averaged = Zero123Prior.from_published(raw_layout, config=config).predict(given["x"], given["t"], *told)
    assert error_of(averaged, case["outputs"]["eps"]) > 1e-2, "the two copies must differ for this test"
    for choice, expected, used in (
        ("auto", averaged, "ema"),
        ("ema", averaged, "ema"),
        ("raw", case["outputs"]["eps"], "raw"),
    ):
        prior = Zero123Prior.from_published(state, config=config, ema=choice)
        close(prior.predict(given["x"], given["t"], *told), expected)
        assert prior.weights_used == used


def test_a_file_without_an_averaged_copy_falls_back_to_the_raw_one(case, config, prior):
    assert prior.weights_used == "raw"
    counters = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(1)}
    assert Zero123Prior.from_published(case["state_dict"] | counters, config=config).weights_used == "raw"
    with pytest.raises(CheckpointMismatch, match="model_ema.diffusion_model"):
        Zero123Prior.from_published(case["state_dict"], config=config, ema="ema")
    with pytest.raises(ValueError, match="ema must be one of"):
        Zero123Prior.from_published(case["state_dict"], config=config, ema="both")


def test_an_incomplete_averaged_copy_is_refused_by_name(case, config):
    state = with_ema_copy(case["state_dict"])
    state.pop("model_ema.diffusion_modelout2bias")
    with pytest.raises(CheckpointMismatch, match="1 missing: model_ema.diffusion_modelout2bias"):
        Zero123Prior.from_published(state, config=config)


def test_a_missing_camera_projection_is_named(case, config):
    state = {key: value for key, value in case["state_dict"].items() if key != "cc_projection.bias"}
    with pytest.raises(CheckpointMismatch, match="camera projection: 1 missing: bias"):
        Zero123Prior.from_published(state, config=config)


def test_a_u_net_alone_answers_and_says_what_it_lacks(case, told):
    given, (condition, numbers) = case["inputs"], told
    state = with_ema_copy({key: value for key, value in case["state_dict"].items() if key.startswith(published.UNET)})
    alone = Zero123Prior.from_published(state, config=Zero123Config.from_reference(case["config"]), ema="raw")
    with torch.no_grad():
        eps = alone.raw_output(given["x"], given["t"], case["outputs"]["context"], condition.latent)
    close(eps, case["outputs"]["eps"])
    with pytest.raises(RuntimeError, match="camera_projection of Zero123 .* is not loaded"):
        alone.predict(given["x"], given["t"], condition, numbers)
    with pytest.raises(RuntimeError, match="image_encoder"):
        alone.encode(torch.zeros(1, 3, 32, 32))
    with pytest.raises(CheckpointMismatch, match="no weights of Zero123"):
        Zero123Prior.from_published({"something.weight": torch.zeros(1)})


def test_cameras_of_ours_give_the_published_numbers(case, prior):
    deltas = case["inputs"]["delta_polar_azimuth_deg_radius"]
    condition = prior.encode(torch.zeros(3, 3, 32, 32), orbit([10.0] * 3, 5.0, 1.5, 40.0))
    cameras = orbit(10.0 + deltas[:, 1], 5.0 - deltas[:, 0], 1.5 + deltas[:, 2], 40.0)
    close(prior.camera_numbers(cameras, condition)[:, None], case["outputs"]["T"])


def test_stable_zero123_takes_the_pictures_own_polar_angle(case, config):
    stable = Zero123Prior.random(Zero123Config(**{**vars(config), "absolute_polar": True}))
    condition = stable.encode(torch.zeros(1, 3, 32, 32), orbit([0.0], 20.0, 3.8, 20.0))
    numbers = stable.camera_numbers(orbit([90.0], 50.0, 2.0, 20.0), condition)[0]
    expected = torch.deg2rad(torch.tensor([-30.0, 90.0, 90.0, 70.0]))
    assert numbers[[0, 3]] == pytest.approx(expected[[0, 3]], abs=1e-6)
    assert numbers[1:3] == pytest.approx(torch.tensor([1.0, 0.0]), abs=1e-6)


def test_the_published_sampler_leaves_out_the_noisiest_timestep(prior):
    assert prior.timesteps(50) == list(range(961, 0, -20))
    assert len(prior.timesteps(30)) == 30 and prior.timesteps(30)[0] == 958  # 31 laid out, as 1000 // 30 is 33
    with pytest.raises(ValueError, match="2 to 500 steps, got 1"):
        prior.timesteps(1)


def test_noisy_sampling_repeats_with_the_same_seed(prior, told):
    def draw(seed):
        return prior.sample(*told, steps=3, generator=torch.Generator().manual_seed(seed))

    first = draw(1)
    assert torch.equal(first, draw(1)) and not torch.equal(first, draw(2))


def test_what_is_saved_is_read_again(case, config, prior, told, tmp_path):
    given = case["inputs"]
    prior.save(tmp_path, "test")
    again = Zero123Prior.from_folder(tmp_path)
    assert again.name == f"{config.name} test" and again.weights_used == "raw"
    close(again.predict(given["x"], given["t"], *told), case["outputs"]["eps"], 2e-3)  # weights in half precision


@pytest.mark.parametrize("ema", ["auto", "raw"])
def test_every_full_size_key_is_read_and_every_target_covered(ema, caplog):
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    with torch.device("meta"):
        shapes = {row[0]: [int(n) for n in row[1].strip("()").split(",") if n.strip()] for row in rows}
        state = {key: torch.empty(shape) for key, shape in shapes.items()}
        prior = Zero123Prior.from_published(state, config=ZERO123, ema=ema)
    assert zero123_keys.unread(state) == [] and "not needed" not in caplog.text
    assert prior.weights_used == ("ema" if ema == "auto" else "raw")
    for part in ("unet", "vae"):
        targets = {target for _, _, owner, target, *_ in rows if owner == part}
        assert targets == getattr(prior, part).state_dict().keys()
