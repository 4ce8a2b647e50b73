"""What a plan does to a model changes its memory and not its answers."""

from __future__ import annotations

import pytest
import torch

from dreamlift.memory.apply import encoding, place
from dreamlift.memory.plan import Plan
from dreamlift.priors.configs import MINI
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.rendering.cameras import orthogonal_views

CAMERAS = orthogonal_views(0.0, 15.0, 2.7, 40.0)


def fresh():
    return MVDreamPrior.random(MINI, ["a", "red", "ball"])


@pytest.fixture(scope="module")
def plain():
    return place(fresh(), None, "cpu")


def answer(prior):
    x_t = torch.randn(4, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    context = prior.encode_text(["a red ball"]).expand(4, -1, -1)
    return prior.predict(x_t, torch.full((4,), 500), context, CAMERAS)


def gradient(prior):
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    latents = prior.encode_images(images, torch.Generator().manual_seed(3))
    return torch.autograd.grad(latents.square().sum(), images)[0], latents.detach()


def test_a_recomputed_vae_gives_the_same_latents_and_gradient(plain):
    saving = place(fresh(), Plan(vae="recomputed"), "cpu")
    assert saving.vae.use_slicing and saving.vae.is_gradient_checkpointing
    for mine, expected in zip(gradient(saving), gradient(plain), strict=True):
        # Worst seen 4e-7 of the largest value (CPU, bfloat16 off): one picture at a time sums in another order.
        scale = expected.abs().max()
        torch.testing.assert_close(mine / scale, expected / scale, atol=1e-2 if plain_is_half(plain) else 1e-5, rtol=0)


def plain_is_half(prior):
    """Whether this processor takes the mini model's arithmetic in bfloat16."""
    with prior.autocast():
        return torch.is_autocast_enabled("cpu")


def test_a_denoiser_that_comes_layer_by_layer_gives_the_same_noise(plain):
    streamed = place(fresh(), Plan(offload="blocks"), "cpu")
    torch.testing.assert_close(answer(streamed), answer(plain))


def test_half_precision_leaves_the_schedule_alone():
    half = place(fresh(), Plan(dtype="bfloat16", codec_dtype="float32"), "cpu")
    assert {value.dtype for value in half.unet.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in half.vae.parameters()} == {torch.float32}
    assert half.alphas_cumprod.dtype == torch.float32
    assert (half.precision, half.codec_precision) == (torch.bfloat16, torch.float32)
    assert answer(half).dtype == torch.float32 and torch.isfinite(answer(half)).all()
    assert torch.isfinite(gradient(half)[0]).all()


def test_a_compiled_denoiser_keeps_its_weights_names():
    compiled = place(fresh(), Plan(compiled=True), "cpu")
    assert list(compiled.state_dict()) == list(fresh().state_dict())


def test_encoders_are_where_the_plan_wants_them(plain):
    class Moves(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def to(self, device):
            self.seen.append(str(device))
            return self

    class Prior:
        device = torch.device("cuda")

        def __init__(self):
            self.text_encoder = Moves()

    kept, released = Prior(), Prior()
    with encoding(kept, Plan()):
        pass
    with encoding(released, Plan(release_encoders=True)):
        assert released.text_encoder.seen == ["cuda"]
    assert kept.text_encoder.seen == ["cuda"] and released.text_encoder.seen == ["cuda", "cpu"]


def test_a_prior_without_parts_is_left_alone():
    with encoding(object(), Plan(release_encoders=True)):
        pass
