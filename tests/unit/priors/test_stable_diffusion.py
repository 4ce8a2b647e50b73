"""Stable Diffusion at toy size: both published layouts, what is predicted, guidance, sampling, adapters on top."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file

from dreamlift.priors.contract import TextContext
from dreamlift.priors.lora import LoraAdapters
from dreamlift.priors.published import CheckpointMismatch, unet_key, vae_key
from dreamlift.priors.random_weights import empty_parameters, randomise
from dreamlift.priors.stable_diffusion import StableDiffusionPrior
from dreamlift.priors.stable_diffusion_config import SD15, SD21_BASE, StableDiffusionConfig
from dreamlift.priors.weight_errors import WeightsError
from dreamlift.rendering.cameras import orthogonal_views

UNET = {"sample_size": 8, "block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 48}
VAE = {"block_out_channels": (32, 32, 64, 64), "sample_size": 64}
TEXT = {"vocab_size": 60, "hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 4}
TEXT |= {"num_hidden_layers": 2, "max_position_embeddings": 12, "projection_dim": 48}


def tiny(config):
    heads = {"attention_head_dim": (2, 2, 4, 4)} if config is SD21_BASE else {}
    return replace(
        config,
        name="tiny SD",
        image_size=64,
        unet={**config.unet, **UNET, **heads},
        vae={**config.vae, **VAE},
        text={**config.text, **TEXT},
    )


def made(config):
    prior = StableDiffusionPrior.random(tiny(config), words=["a", "corgi", "cat"])
    return randomise(prior, seed=3)


@pytest.fixture(scope="module")
def prior():
    return made(SD21_BASE)


@pytest.fixture
def call():
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(2, 4, 8, 8, generator=generator)
    return x_t, torch.tensor([20, 900]), torch.randn(2, 12, 48, generator=generator)


def original(prior, ema=False):
    """The file as its authors' code would have written it, from our tensors: key maps run backwards."""
    state, unet = {}, prior.unet.state_dict()
    for old in ldm_unet_keys():
        if (new := unet_key(old, 2)) in unet:
            state[f"model.diffusion_model.{old}"] = unet.pop(new)
    assert not unet, f"no LDM key for {list(unet)[:3]}"
    vae = prior.vae.state_dict()
    for old in ldm_vae_keys():
        if (new := vae_key(old, 4)) in vae:
            value = vae[new]
            square = ".attn_1." in old and value.ndim == 2
            state[f"first_stage_model.{old}"] = value[:, :, None, None] if square else value
    text = prior.text_encoder.state_dict()
    if prior.config.text_layout == "clip":
        prefix = "cond_stage_model.transformer.text_model."
        state |= {prefix + key: value for key, value in text.items()}
        state[f"{prefix}embeddings.position_ids"] = torch.arange(12)[None]
    else:
        state |= openclip_text(text)
    state["betas"] = torch.zeros(1000)
    if ema:
        for key in [key for key in state if key.startswith("model.diffusion_model.")]:
            state["model_ema." + key.removeprefix("model.").replace(".", "")] = state[key] + 0.01
        state["model_ema.decay"] = torch.tensor(0.9999)
    return state


def ldm_unet_keys():
    resnet = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection")
    inner = ["norm", "proj_in", "proj_out"]
    inner += [f"transformer_blocks.0.norm{n}" for n in (1, 2, 3)]
    inner += [f"transformer_blocks.0.attn{n}.{part}" for n in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")]
    inner += ["transformer_blocks.0.ff.net.0.proj", "transformer_blocks.0.ff.net.2"]
    names = ["time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"]
    for side in ("input", "output"):
        for place in range(1 if side == "input" else 0, 12):
            names += [f"{side}_blocks.{place}.0.{part}" for part in resnet]
            names += [f"{side}_blocks.{place}.1.{part}" for part in inner]
            names += [f"{side}_blocks.{place}.{slot}.conv" for slot in (1, 2)]
        names += [f"{side}_blocks.{place}.0.op" for place in (3, 6, 9)]
    names += [f"middle_block.{n}.{part}" for n in (0, 2) for part in resnet]
    names += [f"middle_block.1.{part}" for part in inner]
    return readable(names)


def readable(names):
    """Both tensors of every module, where the key map knows the module."""
    found = []
    for name in names:
        for kind in ("weight", "bias"):
            try:
                unet_key(f"{name}.{kind}", 2)
            except KeyError:
                continue
            found.append(f"{name}.{kind}")
    return found


def ldm_vae_keys():
    names = ["quant_conv", "post_quant_conv"]
    for side, level in (("encoder", "down"), ("decoder", "up")):
        names += [f"{side}.{part}" for part in ("conv_in", "conv_out", "norm_out")]
        names += [f"{side}.mid.attn_1.{part}" for part in ("norm", "q", "k", "v", "proj_out")]
        blocks = [f"{side}.mid.block_{n}" for n in (1, 2)]
        blocks += [f"{side}.{level}.{n}.block.{m}" for n in range(4) for m in range(3)]
        names += [
            f"{block}.{part}" for block in blocks for part in ("norm1", "conv1", "norm2", "conv2", "nin_shortcut")
        ]
        names += [f"{side}.{level}.{n}.{level}sample.conv" for n in range(4)]
    return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]


def openclip_text(text):
    """transformers' names to OpenCLIP's, with the last block that nobody needs."""
    prefix, state = "cond_stage_model.model.", {}
    state[f"{prefix}token_embedding.weight"] = text["embeddings.token_embedding.weight"]
    state[f"{prefix}positional_embedding"] = text["embeddings.position_embedding.weight"]
    for layer in range(3):
        source, target = f"encoder.layers.{min(layer, 1)}.", f"{prefix}transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            joined = [text[f"{source}self_attn.{name}_proj.{kind}"] for name in "qkv"]
            state[f"{target}attn.in_proj_{kind}"] = torch.cat(joined)
            for old, new in (("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                             ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):  # fmt: skip
                state[f"{target}{new}.{kind}"] = text[f"{source}{old}.{kind}"]
    for kind in ("weight", "bias"):
        state[f"{prefix}ln_final.{kind}"] = text[f"final_layer_norm.{kind}"]
    return state | {f"{prefix}text_projection": torch.zeros(48, 48), f"{prefix}logit_scale": torch.zeros(())}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("config", [SD21_BASE, SD15], ids=["2.1", "1.5"])
def test_an_original_file_gives_the_same_model(config, tmp_path):
    prior = made(config)
    state = original(prior)
    assert same(StableDiffusionPrior.from_published(state, config=prior.config), prior)
    torch.save({"state_dict": state, "global_step": 3}, tmp_path / "model.ckpt")
    assert same(StableDiffusionPrior.from_published(tmp_path / "model.ckpt", config=prior.config), prior)
    tokens = torch.randint(0, 60, (2, 12), generator=torch.Generator().manual_seed(0))
    read = StableDiffusionPrior.from_published(state, config=prior.config)
    assert torch.equal(read.encode_tokens(tokens), prior.encode_tokens(tokens))


def test_the_averaged_copy_is_taken_unless_told_otherwise(prior):
    state = original(prior, ema=True)
    auto = StableDiffusionPrior.from_published(state, config=prior.config)
    assert torch.allclose(auto.unet.conv_in.weight, prior.unet.conv_in.weight + 0.01)
    assert same(StableDiffusionPrior.from_published(state, config=prior.config, ema="raw"), prior)
    with pytest.raises(CheckpointMismatch, match="EMA"):
        StableDiffusionPrior.from_published(original(prior), config=prior.config, ema="ema")
    with pytest.raises(ValueError, match="auto, ema, raw"):
        StableDiffusionPrior.from_published(state, config=prior.config, ema="best")


def write_folder(prior, folder, old_names=False):
    for name, module in (("unet", prior.unet), ("vae", prior.vae), ("text_encoder", prior.text_encoder)):
        (folder / name).mkdir()
        state = {key: value.clone() for key, value in module.state_dict().items()}
        if name == "text_encoder":
            state = {f"text_model.{key}": value for key, value in state.items()}
        if name == "vae" and old_names:
            for new, old in (
                (".to_q.", ".query."),
                (".to_k.", ".key."),
                (".to_v.", ".value."),
                (".to_out.0.", ".proj_attn."),
            ):
                state = {key.replace(new, old): value for key, value in state.items()}
        save_file(
            state, folder / name / ("model.safetensors" if "text" in name else "diffusion_pytorch_model.safetensors")
        )


@pytest.mark.parametrize("old_names", [False, True])
def test_a_diffusers_folder_gives_the_same_model(prior, tmp_path, old_names):
    write_folder(prior, tmp_path, old_names)
    read = StableDiffusionPrior.from_published(tmp_path, config=prior.config)
    assert same(read, prior)
    with pytest.raises(FileNotFoundError, match="tokenizer"):
        read.encode_text(["a corgi"])


def test_what_does_not_fit_is_said(prior, tmp_path):
    state = original(prior)
    state.pop("model.diffusion_model.out.2.bias")
    with pytest.raises(CheckpointMismatch, match="U-Net: 1 missing: conv_out.bias"):
        StableDiffusionPrior.from_published(state, config=prior.config)
    with pytest.raises(CheckpointMismatch, match="misshaped"):
        StableDiffusionPrior.from_published(original(made(SD15)), config=replace(prior.config, text_layout="clip"))
    camera = {**original(prior), "model.diffusion_model.camera_embed.0.weight": torch.zeros(8, 16)}
    with pytest.raises(WeightsError, match="MVDream"):
        StableDiffusionPrior.from_published(camera, config=prior.config)
    with pytest.raises(WeightsError):
        StableDiffusionPrior.from_published(tmp_path, config=prior.config)


def test_noise_and_clean_latents_add_up_to_the_input(prior, call):
    x_t, t, context = call
    abar = prior.alphas_cumprod[t].view(-1, 1, 1, 1)
    mixed = abar.sqrt() * prior.predict_x0(*call) + (1 - abar).sqrt() * prior.predict(*call)
    assert torch.allclose(mixed, x_t, atol=1e-4)
    assert torch.equal(prior.predict(x_t, t, TextContext(context)), prior.predict(*call))


def test_guidance_mixes_both_sides(prior, call):
    x_t, t, context = call
    empty = TextContext(torch.zeros_like(context))
    told, without = prior.predict(*call), prior.predict(x_t, t, empty)
    guided = prior.predict_guided(x_t, t, TextContext(context), empty, 7.5)
    assert torch.allclose(guided, without + 7.5 * (told - without), atol=1e-4)
    assert torch.allclose(prior.predict_guided(x_t, t, TextContext(context), empty, 1.0), told, atol=1e-5)


def test_sampling_is_diffusers_own_pipeline(prior):
    mine = prior.sample(["a corgi"], negative_prompt="cat", steps=3, guidance=5.0, seed=4)
    scheduler = DDIMScheduler.from_config(prior.scheduler.config)
    parts = {"safety_checker": None, "feature_extractor": None, "tokenizer": None, "text_encoder": prior.text_encoder}
    pipeline = StableDiffusionPipeline(
        vae=prior.vae, unet=prior.unet, scheduler=scheduler, **parts, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt_embeds=prior.encode_text(["a corgi"]), negative_prompt_embeds=prior.encode_text(["cat"]),
        latents=torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4)),
        num_inference_steps=3, guidance_scale=5.0, height=64, width=64, output_type="pt",
    ).images  # fmt: skip
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_adapters_see_cameras_and_the_frozen_prediction_stays(prior, call):
    cameras = orthogonal_views(0, 15, 2.7, 40, views=2)
    before = prior.predict(*call)
    adapters = LoraAdapters(prior.unet)
    adapters.add("vsd")
    optimizer = torch.optim.AdamW(adapters.parameters("vsd"), lr=1e-2)
    for _ in range(2):
        with adapters.use("vsd"):
            loss = (prior.raw_output(*call, cameras) - 1).square().mean()
        frozen = prior.predict(*call, cameras)  # between forward and backward, as distillation does it
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert torch.equal(frozen, before)
    with adapters.use("vsd"):
        told, dropped = prior.predict(*call, cameras), prior.predict(*call)
    assert (told - dropped).abs().max() > 1e-5 and (told - before).abs().max() > 1e-3
    with pytest.raises(RuntimeError, match="adapters"):
        prior.save(None, "1")
    adapters.remove()
    assert torch.equal(prior.predict(*call), before)


def test_camera_numbers_are_the_matrix_itself():
    cameras = orthogonal_views(30, 15, 2.7, 40)
    assert torch.equal(StableDiffusionPrior.camera_numbers(cameras, 4).view(4, 4, 4), cameras.c2w)
    assert not StableDiffusionPrior.camera_numbers(None, 3).any()


def test_what_was_saved_is_read_again(prior, tmp_path, call):
    prior.save(tmp_path / "sd", "7")
    read = StableDiffusionPrior.from_folder(tmp_path / "sd", prior.config)
    assert read.name == "tiny SD 7" and read.image_size == 64
    assert torch.allclose(read.predict(*call), prior.predict(*call), atol=5e-2)  # float16 on disk
    assert torch.allclose(read.encode_text(["a cat"]), prior.encode_text(["a cat"]), atol=5e-2)
    with pytest.raises(KeyError, match="tiny SD"):
        StableDiffusionPrior.from_folder(tmp_path / "sd")


def test_a_released_text_encoder_says_so(call):
    released = made(SD21_BASE)
    told = released.predict(*call)
    released.release_encoders()
    assert torch.equal(released.predict(*call), told)
    with pytest.raises(RuntimeError, match="before that"):
        released.encode_text(["a corgi"])


@pytest.mark.parametrize("config", [SD21_BASE, SD15], ids=["2.1", "1.5"])
def test_the_built_in_sizes_are_the_published_ones(config):
    with empty_parameters():
        prior = StableDiffusionPrior.random(config)
    unet, vae, text = (sum(p.numel() for p in m.parameters()) for m in (prior.unet, prior.vae, prior.text_encoder))
    assert unet == {SD21_BASE.name: 865_910_724, SD15.name: 859_520_964}[config.name]
    assert vae == 83_653_863
    assert text == {SD21_BASE.name: 340_387_840, SD15.name: 123_060_480}[config.name]
    assert not prior.commercial_use or "RAIL" in prior.licence


def test_the_authors_yaml_gives_the_built_in_configuration():
    unet = {"in_channels": 4, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1]}
    unet |= {"num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_head_channels": 64, "context_dim": 1024}
    unet |= {"image_size": 32, "use_linear_in_transformer": True, "transformer_depth": 1}
    sizes = {"in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "z_channels": 4}
    params = {
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "timesteps": 1000,
        "image_size": 64,
        "scale_factor": 0.18215,
    }
    params |= {"unet_config": {"params": unet}, "cond_stage_config": {"target": "x.FrozenOpenCLIPEmbedder"}}
    params |= {"first_stage_config": {"params": {"embed_dim": 4, "ddconfig": {**sizes, "resolution": 256}}}}
    config = StableDiffusionConfig.from_reference({"model": {"params": params}})
    with torch.device("meta"):
        mine = UNet2DConditionModel(**config.unet).state_dict(), AutoencoderKL(**config.vae).state_dict()
        built = UNet2DConditionModel(**SD21_BASE.unet).state_dict(), AutoencoderKL(**SD21_BASE.vae).state_dict()
    for left, right in zip(mine, built, strict=True):
        assert {k: v.shape for k, v in left.items()} == {k: v.shape for k, v in right.items()}
    assert (config.image_size, config.unet["sample_size"], config.text) == (512, 64, SD21_BASE.text)
    assert config.unet["attention_head_dim"] == SD21_BASE.unet["attention_head_dim"]
