"""Edges: opacity from the two colours that mix there, and no fringe of the old ground."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from dreamlift.preprocessing import mattes

FRONT, BACK = np.array([200, 40, 30]), np.array([40, 80, 180])


def truth(side=256, blur=1.5):
    image = Image.new("L", (side, side))
    ImageDraw.Draw(image).ellipse((60, 60, 190, 190), fill=255)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(blur))).astype(float) / 255


def test_opacity_is_the_share_of_the_two_colours():
    opacity = truth()
    picture = (opacity[..., None] * FRONT + (1 - opacity[..., None]) * BACK).round().astype(np.uint8)
    rough = np.asarray(Image.fromarray((opacity > 0.3).astype(np.float32)).resize((96, 96)))
    rgba = mattes.matte(picture, rough)
    assert np.abs(rgba[..., 3] / 255 - opacity).max() < 0.15 and np.abs(rgba[..., 3] / 255 - opacity).mean() < 0.01
    visible = rgba[..., 3] > 20
    assert np.abs(rgba[visible][:, :3].astype(int) - FRONT).max() <= 12


def test_a_thin_part_keeps_its_own_colour():
    picture = np.full((120, 120, 3), BACK, np.uint8)
    picture[20:60, 20:100] = FRONT
    picture[60:100, 58:61] = (240, 240, 40)
    share = (np.abs(picture.astype(int) - BACK).sum(-1) > 30).astype(np.float32)
    rgba = mattes.matte(picture, share)
    assert rgba[80, 59].tolist() == pytest.approx([240, 240, 40, 255], abs=25)


@pytest.mark.parametrize("premultiplied", [True, False])
def test_a_fringe_is_cleaned_and_the_opacity_kept(premultiplied):
    opacity = truth(blur=1.0)
    ground = np.zeros(3) if premultiplied else np.full(3, 255.0)
    colours = opacity[..., None] * FRONT + (1 - opacity[..., None]) * ground
    rgba = np.dstack([colours, opacity * 255]).round().astype(np.uint8)
    assert mattes.is_premultiplied(rgba) == premultiplied
    clean = mattes.without_fringe(rgba)
    assert (clean[..., 3] == rgba[..., 3]).all()
    edge = (rgba[..., 3] > 20) & (rgba[..., 3] < 240)
    assert edge.sum() > 300 and np.abs(clean[edge][:, :3].astype(int) - FRONT).max() <= 14


def test_a_clean_cut_out_and_glass_keep_their_colours():
    opacity = truth()
    rgba = np.dstack([np.broadcast_to(FRONT, (256, 256, 3)), opacity * 255]).round().astype(np.uint8)
    assert np.abs(mattes.without_fringe(rgba).astype(int) - rgba).max() <= 1
    glass = rgba.copy()
    glass[90:160, 90:160] = (30, 120, 220, 90)
    assert (mattes.without_fringe(glass)[110:140, 110:140] == glass[110:140, 110:140]).all()


def test_the_edge_moves_to_where_the_opacity_was_the_threshold():
    opacity = np.linspace(0, 1, 11, dtype=np.float32)[None]
    assert (mattes.moved_edge(opacity, 0.5) == opacity).all()
    moved = mattes.moved_edge(opacity, 0.8)
    assert moved[0, 8] == pytest.approx(0.5) and moved[0, [0, 10]].tolist() == [0, 1]
