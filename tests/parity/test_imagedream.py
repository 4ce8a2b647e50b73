"""ImageDream on stock diffusers blocks against what the reference implementation answered on the same random weights.

The case lies beside the repository (`../shared/parity`), not in it, and is the pixel variant. The local one has no case
here: its tensors are the same, so the pixel case's weights run as local ones, and the answer is compared with
diffusers' own way through its image-prompt machinery. Tolerance as in `parity/reference.py`.
"""

from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from parity.reference import SHARED, close, error_of, meta_state, read_table, targets_of

from dreamlift.priors import published
from dreamlift.priors.configs import IMAGEDREAM_LOCAL, IMAGEDREAM_PIXEL, ImageDreamConfig
from dreamlift.priors.imagedream import CLIP, VAE, ImageContext, ImageDreamPrior
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.rendering.cameras import orthogonal_views

CASE = SHARED / "parity" / "imagedream_pixel_tiny.pt"
pytestmark = pytest.mark.skipif(not CASE.is_file(), reason=f"the reference answers are not at {CASE}")


@pytest.fixture(scope="module")
def case():
    return torch.load(CASE, weights_only=True)


def config_of(case, **more):
    sizes = {name: case[name] for name in ("text", "vision", "resampler")}
    return ImageDreamConfig.from_reference(case["config"], **sizes, **more)


@pytest.fixture(scope="module")
def prior(case):
    return ImageDreamPrior.from_published(case["state_dict"], config=config_of(case))


@pytest.fixture(scope="module")
def told(case, prior):
    """The case's condition, a row for each frame: the first object has the picture, the second is the unconditional."""
    given = case["inputs"]
    return ImageContext(given["context"], prior.image_tokens(given["ip"]), given["ip_img"].repeat_interleave(5, 0))


def predicted(case, prior, told):
    given = case["inputs"]
    return prior.predict_frames(given["x"], given["t"], told, given["camera"])


def test_five_frames_equal_the_reference(case, prior, told):
    close(predicted(case, prior, told), case["outputs"]["eps"])


def test_four_views_alone_give_the_reference_of_those_views(case, prior, told):
    """As distillation calls it: the picture's frame and its zero camera are added within, its answer is dropped."""
    given = case["inputs"]
    views = torch.arange(10)[torch.arange(10) % 5 < 4]
    mine = prior.predict(given["x"][views], given["t"][views], told[views], given["camera"][views])
    close(mine, case["outputs"]["eps"][views])


def test_a_condition_may_have_a_row_for_an_object_or_for_a_frame(case, prior, told):
    close(predicted(case, prior, told[::5]), case["outputs"]["eps"])


def test_both_towers_and_the_resampler_equal_the_reference(case, prior):
    given, answered = case["inputs"], case["outputs"]
    close(prior.encode_tokens(given["tokens"]), answered["text_context"])
    close(prior.image_features(given["clip_pixels"]), answered["image_features"])
    close(prior.image_tokens(answered["image_features"]), answered["ip_tokens"])
    close(prior.zero_tokens(2), answered["ip_tokens_zero"])


def test_the_picture_encoder_equals_the_reference(case, prior):
    with torch.no_grad():
        close(prior.vae.encode(case["inputs"]["image"]).latent_dist.mean, case["outputs"]["vae_mean"])


def test_sampling_with_guidance_equals_the_reference(case, prior, told):
    given = case["inputs"]
    how = {"steps": given["ddim_steps"], "guidance": given["cfg_scale"]}
    mine = prior.ddim_frames(given["x_T"], told[:5], told[5:], given["camera"][:5], **how)
    close(mine, case["outputs"]["ddim"], 2e-5)


def test_the_cameras_are_the_reference_and_the_fifth_has_zeros(case, prior):
    """The demo's four views start at MVDream's azimuth 0, which is our -90 degrees, at elevation 5."""
    answered = case["outputs"]["camera"]
    close(prior.camera_numbers(orthogonal_views(-90, 5, 1.0, 40)), answered[:4])
    assert torch.equal(answered[4], torch.zeros(16))


# What must not pass.


def test_without_the_picture_frame_the_answer_differs(case, prior, told):
    given = case["inputs"]
    wrong = prior.predict_frames(given["x"], given["t"], replace(told, pixels=None), given["camera"], frames=5)
    assert error_of(wrong, case["outputs"]["eps"]) > 1e-2


def test_with_zero_image_tokens_the_answer_differs(case, prior, told):
    wrong = predicted(case, prior, replace(told, image=torch.zeros_like(told.image)))
    assert error_of(wrong, case["outputs"]["eps"]) > 1e-2


def test_the_unconditional_tokens_are_not_zeros(case, prior, told):
    assert prior.zero_tokens().abs().max() > 0.1
    tokens = torch.cat([told.image[:5], torch.zeros_like(told.image[5:])])
    wrong = predicted(case, prior, replace(told, image=tokens))
    assert error_of(wrong[5:], case["outputs"]["eps"][5:]) > 1e-2


def test_with_an_unscaled_picture_frame_the_answer_differs(case, prior, told):
    wrong = predicted(case, prior, replace(told, pixels=told.pixels / 0.18215))
    assert error_of(wrong[:5], case["outputs"]["eps"][:5]) > 1e-2


def test_with_a_camera_for_the_picture_frame_the_answer_differs(case, prior, told):
    given = case["inputs"]
    cameras = given["camera"].clone()
    cameras[4::5] = torch.eye(4).flatten()
    wrong = prior.predict_frames(given["x"], given["t"], told, cameras)
    assert error_of(wrong, case["outputs"]["eps"]) > 1e-4


def test_with_another_image_weight_the_answer_differs(case, prior, told):
    light = ImageDreamPrior.from_published(case["state_dict"], config=replace(prior.config, image_weight=0.7))
    assert error_of(predicted(case, light, told), case["outputs"]["eps"]) > 1e-2


def test_features_of_the_last_block_are_not_the_ones(case, prior):
    with torch.no_grad():
        last = prior.image_encoder(case["inputs"]["clip_pixels"], output_hidden_states=True).hidden_states[-1]
    assert error_of(last, case["outputs"]["image_features"]) > 1e-2


# The local variant.


@pytest.fixture(scope="module")
def local(case):
    yaml = case["config"]
    params = yaml["params"]
    unet = {**params["unet_config"]["params"], "ip_weight": 0.7}
    yaml = {**yaml, "params": {**params, "unet_config": {**params["unet_config"], "params": unet}}}
    config = config_of({**case, "config": yaml}, pixel=False)
    return ImageDreamPrior.from_published(case["state_dict"], config=config)


class Joint(AttnProcessor2_0):
    """All tokens of four frames attend together; diffusers' own processor does the attention."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        count, tokens, width = hidden_states.shape
        joint = super().__call__(attn, hidden_states.reshape(count // 4, 4 * tokens, width))
        return joint.reshape(count, tokens, width)


def through_diffusers(prior, weight, given, context, features):
    """The same U-Net called as diffusers' IP-Adapter calls it: features in, resampler and weight its own."""
    kept, unet = dict(prior.unet.attn_processors), prior.unet
    processors = dict(kept)
    for name, processor in kept.items():
        if ".attn1." in name:
            processors[name] = Joint()
        elif ".attn2." in name:
            size, cross = processor.to_k_ip[0].out_features, processor.to_k_ip[0].in_features
            processors[name] = IPAdapterAttnProcessor2_0(size, cross, num_tokens=(16,), scale=[weight])
            processors[name].load_state_dict(processor.state_dict())
    unet.set_attn_processor(processors)
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")
    try:
        with torch.no_grad():
            images = {"image_embeds": [features[:, None]]}
            call = {"class_labels": given["camera"], "added_cond_kwargs": images}
            return unet(given["x"], given["t"], context, **call).sample
    finally:
        unet.register_to_config(encoder_hid_dim_type=None)
        unet.set_attn_processor(kept)


def test_the_local_variant_equals_diffusers_own_image_prompt(case, local):
    rows = torch.arange(10)[torch.arange(10) % 5 < 4]
    given = {key: case["inputs"][key][rows] for key in ("x", "t", "camera", "context", "ip")}
    context = ImageContext(given["context"], local.image_tokens(given["ip"]))
    mine = local.predict(given["x"], given["t"], context, given["camera"])
    close(mine, through_diffusers(local, 0.7, given, given["context"], given["ip"]))
    assert error_of(mine, through_diffusers(local, 1.0, given, given["context"], given["ip"])) > 1e-2
    close(local.predict_frames(given["x"], given["t"], context, given["camera"]), mine)


def test_the_local_variant_samples_four_frames_and_needs_no_pixels(case, local):
    given = case["inputs"]
    context = local.context(given["context"][:1], torch.rand(1, 3, 40, 30, generator=torch.Generator().manual_seed(3)))
    assert context.pixels is None
    how = {"steps": 2, "guidance": 5.0}
    latents = local.ddim_frames(
        given["x_T"][:4], context, local.context(given["context"][5:6], None), given["camera"][:4], **how
    )
    assert latents.shape == (4, 4, 16, 16) and torch.isfinite(latents).all()


# Conditions from pictures.


def test_a_picture_becomes_tokens_and_scaled_latents(prior, case):
    image = torch.rand(2, 3, 300, 200, generator=torch.Generator().manual_seed(4))
    text = case["inputs"]["context"][:2]
    told = prior.context(text, image)
    assert told.image.shape == (2, 16, 64) and told.pixels.shape == (2, 4, 32, 32)
    none = prior.context(text, None)
    close(none.image, case["outputs"]["ip_tokens_zero"])
    assert torch.equal(none.pixels, torch.zeros(2, 4, 32, 32))


def test_views_are_sampled_without_a_trace_of_the_picture_frame(case, prior, told):
    """The views of the five-frame sampler, from four frames of noise: the fifth's noise is overwritten before use."""
    given = case["inputs"]
    views = torch.arange(4)
    how = {"steps": given["ddim_steps"], "guidance": given["cfg_scale"]}
    mine = prior.ddim_views(given["x_T"][:4], told[views], told[views + 5], given["camera"][:4], **how)
    close(mine, case["outputs"]["ddim"][:4], 2e-5)


def test_a_sampled_picture_frame_follows_its_generator(prior, case):
    image, text = torch.rand(1, 3, 256, 256), case["inputs"]["context"][:1]
    first, same, other = (prior.context(text, image, torch.Generator().manual_seed(s)).pixels for s in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)


# Keys.


@pytest.mark.parametrize("config", [IMAGEDREAM_PIXEL, IMAGEDREAM_LOCAL], ids=["pixel", "local"])
def test_every_full_size_key_is_read_and_every_target_covered(config):
    listed = read_table("imagedream")
    state = meta_state(listed)
    prior = ImageDreamPrior.from_published(state, config=config)
    assert published.unread(state, published.UNET, VAE, CLIP) == []
    for module in ("unet", "vae", "text_encoder", "image_encoder"):
        targets = {key for row in listed for key in targets_of(row, module)}
        assert targets == set(getattr(prior, module).state_dict()), module


@pytest.mark.parametrize(
    ("dropped", "told"),
    [
        ("model.diffusion_model.image_embed.layers.0.0.to_kv.weight", "U-Net: 2 missing: encoder_hid_proj"),
        ("model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k_ip.weight", "missing.*to_k_ip.0"),
        ("clip_model.model.visual.ln_post.bias", "image encoder: 1 missing: vision_model.post_layernorm.bias"),
        ("vae_model.quant_conv.bias", "VAE: 1 missing: quant_conv.bias"),
    ],
)
def test_a_checkpoint_that_does_not_fit_says_which_keys(case, prior, dropped, told):
    state = {key: value for key, value in case["state_dict"].items() if key != dropped}
    with pytest.raises(CheckpointMismatch, match=told):
        ImageDreamPrior.from_published(state, config=prior.config)


def test_a_yaml_of_mvdream_is_refused_with_what_to_use(case):
    params = case["config"]["params"]
    plain = {**params["unet_config"]["params"], "with_ip": False}
    with pytest.raises(ValueError, match="MVDreamConfig"):
        config_of({**case, "config": {"params": {**params, "unet_config": {"params": plain}}}})
