"""LoRA adapters on a tiny U-Net of Stable Diffusion's shape: the untouched weights stay untouched, gradients arrive."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel

from dreamlift.priors.lora import LoraAdapters
from dreamlift.priors.published import CheckpointMismatch

BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
SIZES = {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": (2, 4)}


def tiny(**more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DConditionModel(
            sample_size=8, cross_attention_dim=24, use_linear_projection=True, **BLOCKS, **SIZES, **more
        ).eval()


@pytest.fixture
def call():
    generator = torch.Generator().manual_seed(1)
    x, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 7, 24, generator=generator)
    return (x, torch.tensor([10, 700]), context), torch.randn(2, 16, generator=generator)


def trained(adapters, name, call, steps=3):
    args, camera = call
    optimizer = torch.optim.AdamW(adapters.parameters(name), lr=1e-2)
    for _ in range(steps):
        with adapters.use(name) as unet:
            labels = {"class_labels": camera} if unet.class_embedding is not None else {}
            loss = (unet(*args, **labels).sample - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss


@torch.no_grad()
def answer(unet, call, camera=False):
    args, numbers = call
    return unet(*args, **({"class_labels": numbers} if camera else {})).sample


def test_the_frozen_prediction_is_bit_for_bit_the_untouched_one_after_training(call):
    unet = tiny()
    untouched = answer(copy.deepcopy(unet), call)
    adapters = LoraAdapters(unet)
    adapters.add("vsd")
    trained(adapters, "vsd", call)
    assert torch.equal(answer(unet, call), untouched)
    with adapters.use("vsd"):
        assert (answer(unet, call, camera=True) - untouched).abs().max() > 1e-3
        with adapters.frozen():
            assert torch.equal(answer(unet, call), untouched)
        assert (answer(unet, call, camera=True) - untouched).abs().max() > 1e-3


def test_a_new_adapter_with_a_camera_starts_exactly_neutral(call):
    unet = tiny()
    untouched = answer(unet, call)
    adapters = LoraAdapters(unet)
    adapters.add("vsd")
    with adapters.use("vsd"):
        assert torch.equal(answer(unet, call, camera=True), untouched)


def test_the_camera_matters_once_trained(call):
    unet = tiny()
    adapters = LoraAdapters(unet)
    adapters.add("vsd")
    trained(adapters, "vsd", call)
    with adapters.use("vsd"):
        told = answer(unet, call, camera=True)
        other = answer(unet, (call[0], torch.zeros_like(call[1])), camera=True)
    assert (told - other).abs().max() > 1e-4


def test_switching_between_forward_and_backward_loses_no_gradient(call):
    args, camera = call
    adapters = LoraAdapters(tiny())
    adapters.add("vsd")
    adapters.add("other")
    trained(adapters, "vsd", call, steps=1)  # B is no longer zero, so that A gets a gradient too

    def gradients(between):
        for parameter in adapters.parameters("vsd"):
            parameter.grad = None
        with adapters.use("vsd") as unet:
            loss = unet(*args, class_labels=camera).sample.square().mean()
            if not between:
                loss.backward()
        if between:
            answer(adapters.unet, call)
            with adapters.use("other"):
                answer(adapters.unet, call, camera=True)
            loss.backward()
        return [parameter.grad for parameter in adapters.parameters("vsd")]

    inside, after = gradients(False), gradients(True)
    assert all(gradient is not None for gradient in after)
    assert all(torch.equal(a, b) for a, b in zip(inside, after, strict=True))
    assert sum(float(gradient.abs().sum()) > 0 for gradient in after) == len(after)


def test_peft_alone_does_lose_them_so_the_guard_is_needed(call):
    args, _ = call
    unet = tiny()
    adapters = LoraAdapters(unet)
    adapters.add("plain", camera=False)
    with adapters.use("plain"):
        loss = unet(*args).sample.square().mean()
    unet.disable_adapters()
    loss.backward()
    assert all(parameter.grad is None for parameter in adapters.parameters("plain"))


def test_requires_grad_is_what_add_was_told_whatever_runs(call):
    unet = tiny()
    adapters = LoraAdapters(unet)
    adapters.add("learns")
    adapters.add("fixed", trainable=False)

    def flags():
        return [{p.requires_grad for p in adapters.parameters(name)} for name in ("learns", "fixed")]

    assert flags() == [{True}, {False}]
    with adapters.use("fixed"):
        assert flags() == [{True}, {False}]
    with adapters.frozen():
        assert flags() == [{True}, {False}]
    trainable = {id(p) for p in unet.parameters() if p.requires_grad}
    assert trainable <= {id(p) for p in adapters.parameters("learns")}  # the U-Net's own weights never learn


def test_an_error_inside_a_context_puts_everything_back(call):
    unet = tiny()
    untouched = answer(unet, call)
    adapters = LoraAdapters(unet)
    adapters.add("vsd")
    trained(adapters, "vsd", call, steps=1)
    with pytest.raises(ZeroDivisionError), adapters.use("vsd"):
        raise ZeroDivisionError
    assert adapters.current is None
    assert torch.equal(answer(unet, call), untouched)


def test_a_saved_adapter_answers_the_same_in_another_unet(call, tmp_path):
    adapters = LoraAdapters(tiny())
    adapters.add("vsd", rank=2, alpha=3.0)
    trained(adapters, "vsd", call)
    with adapters.use("vsd") as unet:
        told = answer(unet, call, camera=True)
    adapters.save("vsd", tmp_path / "vsd.safetensors", version="7")
    others = LoraAdapters(tiny())
    assert others.load(tmp_path / "vsd.safetensors", "again").rank == 2
    assert not any(parameter.requires_grad for parameter in others.parameters("again"))
    with others.use("again") as unet:
        assert torch.equal(answer(unet, call, camera=True), told)


def test_diffusers_reads_a_saved_adapter_by_itself(call, tmp_path):
    adapters = LoraAdapters(tiny())
    adapters.add("plain", camera=False)
    trained(adapters, "plain", call)
    with adapters.use("plain") as unet:
        told = answer(unet, call)
    adapters.save("plain", tmp_path / "plain.safetensors")
    stock = tiny()
    stock.load_lora_adapter(str(tmp_path), weight_name="plain.safetensors", prefix="unet")
    assert torch.allclose(answer(stock, call), told, atol=1e-6)


def test_an_adapter_of_another_unet_is_refused_and_leaves_nothing(call, tmp_path):
    adapters = LoraAdapters(tiny())
    adapters.add("vsd")
    adapters.save("vsd", tmp_path / "vsd.safetensors")
    wider = UNet2DConditionModel(
        **{**SIZES, "block_out_channels": (32, 32)}, **BLOCKS, sample_size=8, cross_attention_dim=24
    )
    others = LoraAdapters(wider)
    with pytest.raises(CheckpointMismatch, match="misshaped"):
        others.load(tmp_path / "vsd.safetensors", "vsd")
    assert others.names == ()
    assert not any("lora" in key for key in wider.state_dict())


def test_a_truncated_adapter_is_refused(tmp_path):
    adapters = LoraAdapters(tiny())
    adapters.add("vsd")
    path = tmp_path / "vsd.safetensors"
    adapters.save("vsd", path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointMismatch, match="no whole safetensors file"):
        LoraAdapters(tiny()).load(path, "vsd")


def test_removing_gives_the_unet_back_as_it_was(call):
    unet = tiny()
    before, untouched = list(unet.state_dict()), answer(unet, call)
    adapters = LoraAdapters(unet)
    adapters.add("vsd")
    trained(adapters, "vsd", call, steps=1)
    assert adapters.remove() is unet
    assert list(unet.state_dict()) == before
    assert torch.equal(answer(unet, call), untouched)
    adapters.add("again")
    assert adapters.names == ("again",)


def test_a_unet_with_a_class_embedding_of_its_own_keeps_it(call):
    unet = tiny(class_embed_type="projection", projection_class_embeddings_input_dim=16)
    adapters = LoraAdapters(unet)
    with pytest.raises(ValueError, match="camera=False"):
        adapters.add("vsd")
    adapters.add("vsd", camera=False)
    with adapters.use("vsd"):
        answer(unet, call, camera=True)


def test_on_half_precision_weights_the_promises_hold_and_adapters_learn_in_float32(call):
    args, camera = call
    unet = tiny()
    for parameter in unet.parameters():
        parameter.data = parameter.data.bfloat16()

    def half(camera_told=False):
        with torch.autocast("cpu", torch.bfloat16):  # for each call: torch caches cast adapters until it ends
            return unet(*args, **({"class_labels": camera} if camera_told else {})).sample

    untouched = half().detach()
    adapters = LoraAdapters(unet)
    adapters.add("vsd")
    optimizer = torch.optim.AdamW(adapters.parameters("vsd"), lr=1e-2)
    for _ in range(3):
        with adapters.use("vsd"):
            loss = (half(True).float() - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(half(), untouched)
    with adapters.use("vsd"):
        assert (half(True) - untouched).abs().max() > 1e-2
    assert {parameter.dtype for parameter in adapters.parameters("vsd")} == {torch.float32}


def test_names_are_checked(call):
    adapters = LoraAdapters(tiny())
    adapters.add("vsd")
    with pytest.raises(ValueError, match="already"):
        adapters.add("vsd")
    with pytest.raises(ValueError, match="dots"):
        adapters.add("a.b")
    with pytest.raises(KeyError, match="there are: vsd"), adapters.use("other"):
        pass
