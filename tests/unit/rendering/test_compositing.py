"""Straight and premultiplied cut-outs are each other's inverse wherever there is something."""

import torch

from dreamlift.rendering.compositing import premultiplied, straight


def test_one_is_the_inverse_of_the_other():
    cut_out = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0)).clamp(0.01, 1)
    assert torch.allclose(straight(premultiplied(cut_out)), cut_out, atol=1e-5)


def test_what_is_transparent_has_no_colour():
    cut_out = torch.ones(4, 2, 2)
    cut_out[3, 0] = 0.0
    assert not premultiplied(cut_out)[:3, 0].any()
    assert not straight(premultiplied(cut_out))[:3, 0].any() and (straight(premultiplied(cut_out))[:3, 1] == 1).all()
