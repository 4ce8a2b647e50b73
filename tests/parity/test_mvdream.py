"""MVDream on stock diffusers blocks against what the reference implementation answered on the same random weights.

The cases lie beside the repository (`../shared/parity`), not in it. Tolerance: 5e-6 of the largest value for a forward
pass, 2e-5 for sampling; the worst seen when the cases were made was 1.9e-6 and 3.8e-6 (checkpoints.md section 7).
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dreamlift.priors.configs import MVDREAM_SD21
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.rendering.cameras import mvdream_camera, orbit, orthogonal_views

CASE = Path(__file__).parents[3] / "shared" / "parity" / "mvdream_v21_tiny.pt"
pytestmark = pytest.mark.skipif(not CASE.is_file(), reason=f"the reference answers are not at {CASE}")


def close(mine, reference, tolerance=5e-6):
    error = (mine - reference).abs().max() / reference.abs().max()
    assert error < tolerance, f"largest error {error:.1e} of the largest value, allowed {tolerance:.0e}"


@pytest.fixture(scope="module")
def case():
    return torch.load(CASE, weights_only=True)


@pytest.fixture(scope="module")
def prior(case):
    published = case["config"]["params"]
    unet, vae = published["unet_config"]["params"], published["first_stage_config"]["params"]["ddconfig"]
    channels = [unet["model_channels"] * factor for factor in unet["channel_mult"]]
    config = replace(
        MVDREAM_SD21,
        unet={
            **MVDREAM_SD21.unet,
            "block_out_channels": channels,
            "cross_attention_dim": unet["context_dim"],
            "attention_head_dim": [c // unet["num_head_channels"] for c in channels],
        },
        vae={
            **MVDREAM_SD21.vae,
            "block_out_channels": [vae["ch"] * factor for factor in vae["ch_mult"]],
            "layers_per_block": vae["num_res_blocks"],
        },
        text={
            **MVDREAM_SD21.text,
            "vocab_size": case["text"]["vocab_size"],
            "hidden_size": case["text"]["width"],
            "intermediate_size": 4 * case["text"]["width"],
            "num_hidden_layers": case["text"]["layers"] - 1,
            "num_attention_heads": case["text"]["heads"],
        },
    )
    prior = MVDreamPrior.random(config)
    prior.load_published(case["state_dict"])
    return prior


class GivenNumbers:
    """Cameras whose 16 numbers are given, so that the network is tested apart from the camera convention."""

    def __init__(self, numbers):
        self.c2w, self.fovy = numbers.view(-1, 4, 4), torch.zeros(len(numbers))


def test_four_views_with_cameras_equal_the_reference(case, prior):
    given = case["inputs"]
    cameras = GivenNumbers(given["camera"])
    close(prior.predict(given["x"], given["t"], given["context"], cameras, 4), case["outputs"]["eps"])


def test_one_view_without_camera_equals_the_reference(case, prior):
    given = case["inputs"]
    mine = prior.predict(given["x"], given["t"], given["context"], None, 1)
    close(mine, case["outputs"]["eps_nocamera_2d"])


def test_without_3d_attention_the_answer_differs(case, prior):
    given = case["inputs"]
    wrong = prior.predict(given["x"], given["t"], given["context"], GivenNumbers(given["camera"]), 1)
    assert (wrong - case["outputs"]["eps"]).abs().max() > 1e-2


def test_sampling_with_guidance_equals_the_reference(case, prior):
    given, scheduler = case["inputs"], prior.scheduler
    scheduler.set_timesteps(given["ddim_steps"])
    x = given["x_T"].clone()
    context = torch.cat([given["context"][4:8], given["context"][:4]])
    cameras = GivenNumbers(torch.cat([given["camera"][:4]] * 2))
    for t in scheduler.timesteps:
        noise_u, noise_c = prior.predict(torch.cat([x] * 2), t.expand(8), context, cameras, 4).chunk(2)
        x = scheduler.step(noise_u + given["cfg_scale"] * (noise_c - noise_u), t, x, eta=0.0).prev_sample
    close(x, case["outputs"]["ddim"], 2e-5)


def test_vae_and_text_encoder_equal_the_reference(case, prior):
    given, answered = case["inputs"], case["outputs"]
    with torch.no_grad():
        posterior = prior.vae.encode(given["image"]).latent_dist
        close(posterior.mean, answered["vae_mean"])
        close(posterior.logvar, answered["vae_logvar"])
        close(prior.vae.decode(given["latent"] / 0.18215).sample, answered["vae_decoded"])
        close(prior.text_encoder(given["tokens"]).last_hidden_state, answered["text_context"])


def test_our_front_is_the_published_azimuth_of_90_degrees(case):
    close(mvdream_camera(orthogonal_views(0, 15, 1.0, 40)), case["outputs"]["camera"])


def test_camera_translations_are_normalised_without_spoiling_the_cameras(case):
    cameras = orbit([10.0, 50.0], 20.0, 2.7, 40.0)
    before = cameras.c2w.clone()
    numbers = mvdream_camera(cameras).view(-1, 4, 4)
    assert torch.equal(cameras.c2w, before)
    assert numbers[:, :3, 3].norm(dim=-1) == pytest.approx(torch.ones(2), abs=1e-6)


def test_a_checkpoint_that_does_not_fit_says_which_keys(case, prior):
    state = dict(case["state_dict"])
    state.pop("model.diffusion_model.camera_embed.0.weight")
    with pytest.raises(CheckpointMismatch, match="1 missing: class_embedding.linear_1.weight"):
        MVDreamPrior.random(prior.config).load_published(state)


def test_every_full_size_key_is_read():
    table = Path(__file__).parents[3] / "shared" / "spec" / "checkpoint-keys" / "mvdream_v21.tsv"
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    with torch.device("meta"):
        state = {key: torch.empty([int(n) for n in shape.strip("(),").split(",") if n.strip()])
                 for key, shape, *_ in rows}  # fmt: skip
        prior = MVDreamPrior.random(MVDREAM_SD21)
    prior.load_published(state)
