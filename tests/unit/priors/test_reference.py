"""The authors' yaml: what is read from it, and what is refused."""

import pytest

from dreamlift.priors import reference
from dreamlift.priors.configs import MVDREAM_SD15, MVDREAM_SD21, MVDreamConfig

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2,
    "channel_mult": [1, 2, 4, 4],
    "num_head_channels": 64,
    "use_linear_in_transformer": True,
    "transformer_depth": 1,
    "context_dim": 1024,
    "camera_dim": 16,
}
VAE = {
    "params": {
        "embed_dim": 4,
        "ddconfig": {
            "z_channels": 4,
            "resolution": 256,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 128,
            "ch_mult": [1, 2, 4, 4],
            "num_res_blocks": 2,
        },
    }
}
TEXT = {"width": 1024, "heads": 16, "layers": 24, "vocab_size": 49408, "context_length": 77}


def yaml_of(unet=UNET, encoder="FrozenOpenCLIPEmbedder", **params):
    parts = {
        "unet_config": {"params": unet},
        "first_stage_config": VAE,
        "cond_stage_config": {"target": f"x.{encoder}"},
    }
    return {"model": {"target": "x", "params": {**parts, "scale_factor": 0.18215, **params}}}


def same(mine, published):
    """Every published argument that the yaml tells."""
    return {key: published[key] for key in mine if key in published} == {
        k: v for k, v in mine.items() if k in published
    }


def test_the_published_21_yaml_gives_the_built_in_configuration():
    config = MVDreamConfig.from_reference(yaml_of(), text=TEXT)
    assert same(config.unet, MVDREAM_SD21.unet) and same(config.vae, MVDREAM_SD21.vae)
    assert config.text == MVDREAM_SD21.text
    assert config.image_size == 256 and config.prediction == "epsilon"


def test_the_published_15_yaml_gives_the_built_in_configuration():
    unet = {key: value for key, value in UNET.items() if key not in ("num_head_channels", "use_linear_in_transformer")}
    unet |= {"num_heads": 8, "context_dim": 768}
    text = {"width": 768, "heads": 12, "layers": 12, "vocab_size": 49408, "context_length": 77}
    config = MVDreamConfig.from_reference(yaml_of(unet, "FrozenCLIPEmbedder"), text=text)
    assert same(config.unet, MVDREAM_SD15.unet)
    assert config.text == MVDREAM_SD15.text and config.text_layout == "clip"


def test_head_channels_go_before_heads_and_minus_one_means_none():
    both = {**UNET, "num_heads": 8}
    assert reference.unet_arguments(both)["attention_head_dim"] == (5, 10, 20, 20)
    assert reference.unet_arguments({**both, "num_head_channels": -1})["attention_head_dim"] == 8


def test_a_level_attends_where_its_downsampling_is_listed():
    arguments = reference.unet_arguments({**UNET, "attention_resolutions": [2]})
    plain, attending = "DownBlock2D", "CrossAttnDownBlock2D"
    assert arguments["down_block_types"] == (plain, attending, plain, plain)
    assert arguments["up_block_types"] == ("UpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ({"model": {"target": "x"}}, "no 'params'"),
        (yaml_of(linear_end=0.02), "noise schedule"),
        (yaml_of(parameterization="x0"), "parameterization must be one of"),
    ],
)
def test_what_is_something_else_is_refused_with_its_value(yaml, told):
    with pytest.raises(ValueError, match=told):
        MVDreamConfig.from_reference(yaml, text=TEXT)


def test_without_a_hint_there_is_no_text_tower():
    assert MVDreamConfig.from_reference(yaml_of()).text is None
