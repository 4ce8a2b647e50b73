"""V3D on stock blocks against what the reference implementation answered on the same random weights.

The cases lie beside the repository (`../shared/parity`), not in it: one holds the U-Net, one the first stage and the
image encoder. Tolerance: 5e-6 of the largest value for a forward pass, 2e-5 for sampling; the worst seen when the cases
were made was 1.9e-6 and 3.8e-6 (checkpoints.md section 7).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNetSpatioTemporalConditionModel

from dreamlift.priors import edm, published, svd_keys
from dreamlift.priors.clip_images import normalise, resize_aligned, resize_antialiased
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.priors.v3d import PARTS, V3DCondition, V3DPrior
from dreamlift.priors.v3d_config import V3D_512, V3DConfig

SHARED = Path(__file__).parents[3] / "shared"
UNET_CASE, STAGE_CASE = (SHARED / "parity" / name for name in ("v3d_unet_tiny.pt", "v3d_vae_clip_tiny.pt"))
TABLE = SHARED / "spec" / "checkpoint-keys" / "v3d.tsv"
here = UNET_CASE.is_file() and STAGE_CASE.is_file()
pytestmark = pytest.mark.skipif(not here, reason=f"the reference answers are not at {UNET_CASE.parent}")


def error_of(mine, reference):
    return float((mine - reference).abs().max() / reference.abs().max())


def close(mine, reference, tolerance=5e-6):
    assert mine.shape == reference.shape
    error = error_of(mine, reference)
    assert error < tolerance, f"largest error {error:.1e} of the largest value, allowed {tolerance:.0e}"


def config_of(case):
    return V3DConfig.from_reference(case["config"], vision=case["vision"], embed_dim=case["embed_dim"])


@pytest.fixture(scope="module")
def case():
    return torch.load(UNET_CASE, weights_only=True)


@pytest.fixture(scope="module")
def stage_case():
    return torch.load(STAGE_CASE, weights_only=True)


@pytest.fixture(scope="module")
def denoiser(case):
    return V3DPrior.from_published(case["state_dict"], config=config_of(case), parts=("unet",))


@pytest.fixture(scope="module")
def stages(stage_case):
    parts = ("encoder", "decoder", "image_encoder")
    return V3DPrior.from_published(stage_case["state_dict"], config=config_of(stage_case), parts=parts)


@pytest.fixture(scope="module")
def condition(case, denoiser):
    """The case's condition, whose rows are the same for all frames."""
    told = case["outputs"]
    return V3DCondition(told["crossattn"][:1], told["concat"][:1], torch.tensor([denoiser.config.vector]))


def noise_levels(case):
    return case["inputs"]["sigma"][:: case["inputs"]["num_frames"]]


def raw(prior, case, condition):
    both = V3DCondition.cat([condition.unconditional(), condition])
    with torch.no_grad():
        return prior.raw_output(case["inputs"]["x"], edm.scalings(noise_levels(case)).noise, both)


def test_the_vector_condition_equals_the_reference_on_both_sides(case, denoiser, condition):
    frames = case["inputs"]["num_frames"]
    for side, name in ((condition, "vector"), (condition.unconditional(), "uc_vector")):
        close(denoiser.vector_embedding(side).expand(frames, -1), case["outputs"][name])


def test_the_video_network_equals_the_reference(case, denoiser, condition):
    close(raw(denoiser, case, condition), case["outputs"]["unet_raw"])


def test_stock_epsilon_is_noticed(case, denoiser, condition):
    stock = V3DPrior.from_published(case["state_dict"], config=denoiser.config, parts=("unet",))
    unpatched = UNetSpatioTemporalConditionModel(**denoiser.config.unet)
    unpatched.load_state_dict(stock.unet.state_dict())
    stock.unet = unpatched.eval()
    assert error_of(raw(stock, case, condition), case["outputs"]["unet_raw"]) > 5e-6


def test_preconditioning_equals_the_reference(case, denoiser, condition):
    both = V3DCondition.cat([condition.unconditional(), condition])
    mine = denoiser.denoise(case["inputs"]["x"], noise_levels(case), both)
    close(mine, case["outputs"]["denoised"])


def test_predicted_noise_is_what_the_denoised_sample_leaves(case, denoiser, condition):
    both = V3DCondition.cat([condition.unconditional(), condition])
    x, sigma = case["inputs"]["x"], noise_levels(case)
    noise = denoiser.predict(x, sigma, both)
    close(x - case["inputs"]["sigma"].view(-1, 1, 1, 1) * noise, case["outputs"]["denoised"])
    with pytest.raises(ValueError, match="no camera input"):
        denoiser.predict(x, sigma, both, denoiser.orbit_cameras())


def test_noise_levels_equal_the_reference(case, denoiser):
    close(denoiser.sigmas(5), case["outputs"]["sigmas"])
    close(denoiser.sigmas(25), case["outputs"]["sigmas_25"])
    assert denoiser.sigmas()[:-1] == pytest.approx(case["outputs"]["sigmas"][:-1], rel=1e-5)  # small levels count too


def test_sampling_with_guidance_by_frame_equals_the_reference(case, denoiser, condition):
    mine = denoiser.sample(condition, noise=case["inputs"]["noise"].clone())
    close(mine, case["outputs"]["sample"], 2e-5)


def test_the_same_guidance_for_all_frames_is_noticed(case, denoiser, condition):
    flat = denoiser.sample(condition, guidance=(3.0, 3.0), noise=case["inputs"]["noise"].clone())
    assert error_of(flat, case["outputs"]["sample"]) > 1e-2


def test_two_orbits_in_one_batch_are_the_two_alone(denoiser, condition):
    generator = torch.Generator().manual_seed(3)
    frames, shape = denoiser.config.frames, condition.latent.shape[1:]
    noise = torch.randn((2 * frames, *shape), generator=generator)
    other = replace(condition, latent=condition.latent + 1)
    together = denoiser.sample(V3DCondition.cat([condition, other]), steps=1, noise=noise)
    # From 700 down to latents of a few units float32 loses 3 digits, with the published order of operations too.
    close(together[frames:], denoiser.sample(other, steps=1, noise=noise[frames:]), 1e-3)


def test_the_pictures_latent_equals_the_reference(stage_case, stages):
    given, answered = stage_case["inputs"], stage_case["outputs"]
    with torch.no_grad():
        close(stages.vae.encode(given["image"]).latent_dist.parameters, answered["vae_moments"])
    mine = stages.concat_latent(given["image"] / 2 + 0.5, noise=given["cond_noise"])
    close(mine, answered["cond_latent"])


def test_a_scaled_latent_or_noisy_pixels_are_noticed(stage_case, stages):
    given, answered = stage_case["inputs"], stage_case["outputs"]
    image = given["image"] / 2 + 0.5
    scaled = stages.concat_latent(image) * stages.vae.config.scaling_factor
    assert error_of(scaled, answered["cond_latent"]) > 0.5
    noisy = image + 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert error_of(stages.concat_latent(noisy), answered["cond_latent"]) > 1e-3


def test_the_image_embedding_equals_the_reference(stage_case, stages):
    close(stages.image_embedding(stage_case["inputs"]["image"] / 2 + 0.5), stage_case["outputs"]["clip_embed"])


def test_the_temporal_decoder_equals_the_reference(stage_case, stages):
    latents, answer = stage_case["inputs"]["latents_to_decode"], stage_case["outputs"]["decoded"]
    close(stages.decode_raw(latents), answer)
    assert error_of(stages.decode_raw(latents, together=1), answer) > 1e-2, "frames must see each other"
    assert stages.decode_latents(latents).aminmax() == (0, 1)


def test_an_encoder_with_another_quantiser_is_noticed(stage_case):
    parts = ("encoder",)
    prior = V3DPrior.from_published(stage_case["state_dict"], config=config_of(stage_case), parts=parts)
    torch.nn.init.normal_(prior.vae.quant_conv.weight, generator=torch.Generator().manual_seed(0))
    mine = prior.concat_latent(stage_case["inputs"]["image"] / 2 + 0.5)
    assert error_of(mine, stage_case["outputs"]["cond_latent"]) > 0.1


@pytest.mark.parametrize(("height", "width"), [(512, 512), (256, 256), (512, 300), (100, 64), (224, 224)])
def test_the_antialiased_resize_is_kornias_as_diffusers_keeps_it(height, width):
    from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import _resize_with_antialiasing

    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    close(resize_antialiased(image, 224), _resize_with_antialiasing(image, (224, 224)), 2e-6)


def test_plain_bicubic_at_512_is_noticed(stages):
    image = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = stages.image_encoder(pixel_values=normalise(resize_aligned(image, 224))).image_embeds[:, None]
    assert error_of(plain, stages.image_embedding(image)) > 1e-2


def test_parts_that_were_not_loaded_say_so(denoiser, stages, condition):
    assert denoiser.parts == ("unet",) and stages.parts == ("decoder", "encoder", "image_encoder")
    with pytest.raises(RuntimeError, match="decoder of V3D .* is not loaded"):
        denoiser.decode_latents(torch.zeros(6, 4, 16, 16))
    with pytest.raises(RuntimeError, match="image_encoder of V3D"):
        denoiser.encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(RuntimeError, match="unet of V3D"):
        stages.sample(condition)


def test_v3d_without_stable_video_diffusion_says_what_is_needed(case):
    with pytest.raises(CheckpointMismatch, match="no decoder; give V3D.ckpt as source"):
        V3DPrior.from_published(case["state_dict"], config=config_of(case), parts=PARTS)
    with pytest.raises(CheckpointMismatch, match="no image_encoder; give svd_xt.safetensors"):
        V3DPrior.from_published(case["state_dict"], config=config_of(case), parts=("unet", "image_encoder"))
    with pytest.raises(ValueError, match="parts are unet, decoder"):
        V3DPrior.from_published(case["state_dict"], config=config_of(case), parts=("clip",))


def test_a_state_dict_gives_the_parts_that_it_has(case, stage_case):
    assert V3DPrior.from_published(case["state_dict"], config=config_of(case)).parts == ("unet",)
    loaded = V3DPrior.from_published(stage_case["state_dict"], config=config_of(stage_case))
    assert loaded.parts == ("decoder", "encoder", "image_encoder")
    with pytest.raises(CheckpointMismatch, match="no weights of V3D: 1 tensors"):
        V3DPrior.from_published({"something.weight": torch.zeros(1)}, config=config_of(case))


def test_two_files_make_one_model_that_is_saved_and_read_again(case, stage_case, tmp_path):
    stage = stage_case["state_dict"]
    decoder = {key: value for key, value in stage.items() if not key.startswith("conditioner.")}
    torch.save({"state_dict": {**case["state_dict"], **decoder}, "global_step": 1}, tmp_path / "V3D.ckpt")
    torch.save({**case["state_dict"], **stage}, tmp_path / "svd_xt.ckpt")
    prior = V3DPrior.from_published(tmp_path / "V3D.ckpt", conditioner=tmp_path / "svd_xt.ckpt", config=config_of(case))
    assert prior.parts == PARTS and prior.name.endswith("published")
    told = prior.encode(stage_case["inputs"]["image"] / 2 + 0.5, torch.Generator().manual_seed(0))
    drawn = prior.sample(told, steps=1, generator=torch.Generator().manual_seed(1))
    prior.save(tmp_path / "model", "test")
    again = V3DPrior.from_folder(tmp_path / "model")
    assert again.parts == PARTS and again.name.endswith("test")
    close(again.sample(told, steps=1, generator=torch.Generator().manual_seed(1)), drawn, 5e-2)  # half precision
    assert again.decode_latents(drawn).shape == (6, 3, 64, 64)


def test_a_key_of_no_known_block_is_named(case):
    state = {**case["state_dict"], f"{published.UNET}input_blocks.1.0.surprise.weight": torch.zeros(1)}
    with pytest.raises(CheckpointMismatch, match="1 left over: model.diffusion_model.input_blocks.1.0.surprise"):
        V3DPrior.from_published(state, config=config_of(case), parts=("unet",))


def test_every_full_size_key_is_read_and_every_target_covered(caplog):
    rows = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    with torch.device("meta"):
        shapes = {row[0]: [int(n) for n in row[1].strip("()").split(",") if n.strip()] for row in rows}
        state = {key: torch.empty(shape) for key, shape in shapes.items()}
        theirs = {row[0] for row in rows if "svd_xt" in row[-1]}
        source = {key: value for key, value in state.items() if key not in theirs}
        stage = {key: value for key, value in source.items() if key.startswith(published.VAE)}
        conditioner = {**stage, **{key: state[key] for key in theirs}}
        prior = V3DPrior.from_published(source, conditioner=conditioner, config=V3D_512)
    assert published.unread(state, published.UNET, published.VAE, svd_keys.OPEN_CLIP) == []
    assert prior.parts == PARTS and "not needed" not in caplog.text
    assert {row[3] for row in rows if row[2] == "unet"} == prior.unet.state_dict().keys()
    codec = {key for key in prior.vae.state_dict() if not key.startswith("quant_conv.")}
    assert {row[3] for row in rows if row[2] == "vae"} == codec


def test_full_size_orbit_is_18_frames_20_degrees_apart(denoiser):
    orbit = V3DPrior.orbit_cameras(V3DPrior(V3D_512, None, denoiser.vae, None))
    angles = torch.rad2deg(torch.atan2(orbit.c2w[:, 1, 3], orbit.c2w[:, 0, 3])) % 360
    assert angles == pytest.approx(torch.arange(18) * 20.0, abs=1e-3)
    assert orbit.c2w[:, :3, 3].norm(dim=-1) == pytest.approx(torch.full((18,), 2.0))
