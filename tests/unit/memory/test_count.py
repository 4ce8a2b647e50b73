"""The tables of parts and formulas are what the real networks say, counted again on the meta device."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from dreamlift.memory import formulas
from dreamlift.memory.count import count_parts, parameters, peak_bytes
from dreamlift.memory.parts import PARAMETERS
from dreamlift.memory.workloads import HASH_GRID_FIELD
from dreamlift.priors.configs import MVDREAM_SD21
from dreamlift.priors.deepfloyd import DeepFloydPrior
from dreamlift.priors.deepfloyd_config import IF_I_XL
from dreamlift.priors.mvdream import build_unet
from dreamlift.priors.random_weights import empty_parameters
from dreamlift.priors.v3d import V3DPrior
from dreamlift.priors.v3d_config import V3D_512
from dreamlift.representations.density_field import DensityField, DensityFieldSettings

HALF = torch.bfloat16
NEAR = 0.02  # of the count; the factors are rounded to a quarter


@pytest.fixture(scope="module")
def unet():
    with torch.device("meta"):
        return build_unet(MVDREAM_SD21).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def vae():
    with torch.device("meta"):
        return AutoencoderKL(**MVDREAM_SD21.vae).eval().requires_grad_(False)


def meta(*shape, **more):
    return torch.empty(*shape, device="meta", **more)


def test_the_table_of_parts_is_what_the_configurations_give():
    assert count_parts() == PARAMETERS


def test_a_forward_of_deepfloyd_and_of_v3d_costs_what_the_formula_says():
    with empty_parameters():
        floyd, video = DeepFloydPrior.random(IF_I_XL).unet.to("meta"), V3DPrior.random(V3D_512).unet.to("meta")

    @torch.no_grad()
    def pixels():
        floyd(meta(4, 3, 64, 64), meta(4), meta(4, 77, 4096))

    @torch.no_grad()
    def frames():
        video(meta(2, 18, 8, 64, 64), meta(1), meta(2, 1, 1024), added_time_ids=meta(2, 3))

    expected = formulas.denoiser_bytes(4, 64, 704, 4, False, formulas.DENOISER_DEEPFLOYD)
    assert expected == pytest.approx(peak_bytes(pixels, floyd), rel=NEAR)
    expected = formulas.denoiser_bytes(36, 64, 320, 4, False, formulas.DENOISER_VIDEO)
    assert expected == pytest.approx(peak_bytes(frames, video), rel=NEAR)


def test_the_field_has_the_parameters_that_are_planned_for():
    assert parameters(DensityField(DensityFieldSettings())) == HASH_GRID_FIELD


@pytest.mark.parametrize(("rows", "edge"), [(4, 32), (16, 32), (4, 64)])
def test_a_forward_of_the_denoiser_costs_what_the_formula_says(unet, rows, edge):
    def forward():
        with torch.no_grad():
            call = {"class_labels": meta(rows, 16), "cross_attention_kwargs": {"views": 4}}
            unet(meta(rows, 4, edge, edge), meta(rows), meta(rows, 77, 1024), **call)

    assert formulas.denoiser_bytes(rows, edge, 320, 4, False) == pytest.approx(peak_bytes(forward, unet), rel=NEAR)


@pytest.mark.parametrize(("pictures", "edge"), [(1, 256), (4, 256), (1, 512)])
@pytest.mark.parametrize("mode", ["whole", "recomputed"])
def test_the_vae_with_a_gradient_costs_what_the_formula_says(vae, pictures, edge, mode):
    if mode == "recomputed":
        vae.enable_slicing()
        vae.enable_gradient_checkpointing()
    else:
        vae.disable_slicing()
        vae.disable_gradient_checkpointing()

    def encode():
        images = meta(pictures, 3, edge, edge, requires_grad=True)
        vae.encode(images).latent_dist.mean.sum().backward()

    counted = peak_bytes(encode, vae, tiled=mode == "whole")
    assert formulas.encoder_bytes(pictures, edge, 128, 4, mode, False) == pytest.approx(counted, rel=0.03)


def test_the_decoder_costs_what_the_formula_says(vae):
    vae.disable_slicing()

    def decode():
        with torch.no_grad():
            vae.decode(meta(4, 4, 32, 32))

    assert formulas.decoder_bytes(4, 256, 128, 4, False) == pytest.approx(peak_bytes(decode, vae), rel=NEAR)


@pytest.mark.parametrize(("normals", "each"), [(False, formulas.QUERY), (True, formulas.QUERY_NORMALS)])
def test_samples_of_the_field_cost_what_the_formula_says(normals, each):
    field = DensityField(DensityFieldSettings())

    def render():
        answer = field.query(torch.rand(200_000, 3) - 0.5, normals=normals)
        loss = answer.density.sum() + answer.albedo.sum()
        (loss + answer.normal.sum() if normals else loss).backward()

    # Beside the samples the table's own gradient is alive, once or twice.
    counted, table = peak_bytes(render, field), 4 * parameters(field)
    assert each * 200_000 - table < counted < each * 200_000 + 2 * table


def test_counting_sees_what_is_alive_and_not_what_is_gone():
    def work():
        first = torch.zeros(1000)
        del first
        kept = [torch.zeros(500) for _ in range(3)]
        return len(kept)

    assert peak_bytes(work) == 3 * 500 * 4
