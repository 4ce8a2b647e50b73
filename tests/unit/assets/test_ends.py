"""Bumps on flat sides do not decide how large an object is; round and pointed sides stay what they are."""

import numpy as np
import pytest

from dreamlift.assets.ends import cut_flat_ends
from dreamlift.assets.surface import SurfaceSettings, extract_surface
from dreamlift.assets.topology import is_one_solid

SIZE = 96
CELL = 2 / (SIZE - 1)
X, Y, Z = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")
DEPTH = 0.12


def box(*halves, middle=(0, 0, 0)):
    away = [np.abs(axis - place) - half for axis, place, half in zip((X, Y, Z), middle, halves, strict=True)]
    return -np.maximum(np.maximum(away[0], away[1]), away[2])


def ball(x, y, z, radius):
    return radius - np.sqrt((X - x) ** 2 + (Y - y) ** 2 + (Z - z) ** 2)


def sides_of(values, depth=DEPTH):
    surface = extract_surface(values, settings=SurfaceSettings(end_depth=depth))
    assert is_one_solid(surface.vertices, surface.faces)
    return np.stack([surface.vertices.min(0), surface.vertices.max(0)])


def test_bumps_on_flat_sides_are_cut():
    plain = box(0.5, 0.65, 0.4)
    bumps = [ball(0.2, 0.62, 0.1, 0.1), ball(-0.3, -0.63, -0.2, 0.08), ball(0, 0.1, -0.38, 0.09)]
    bumpy = np.maximum.reduce([plain, *bumps])
    assert sides_of(bumpy, 0)[1, 1] == pytest.approx(0.72, abs=CELL)
    np.testing.assert_allclose(sides_of(bumpy), [[-0.5, -0.65, -0.4], [0.5, 0.65, 0.4]], atol=0.6 * CELL)


def test_a_chimney_is_no_bump():
    roof = np.minimum(box(0.5, 0.5, 0.5), (0.3 - Z) - 0.1 * np.abs(Y))  # nearly flat: its section rises steeply
    chimney = box(0.12, 0.12, 0.06, middle=(0.2, 0.2, 0.34))
    values = np.maximum(roof, chimney)
    assert sides_of(values)[1, 2] == pytest.approx(0.4, abs=CELL)


def test_floaters_that_were_dropped_do_not_hide_a_flat_side():
    bumpy = np.maximum(box(0.5, 0.65, 0.4), ball(0.2, 0.62, 0.1, 0.1))
    strewn = np.maximum(bumpy, ball(0.3, 0.9, 0.3, 0.04))  # far off and small: no part of the object
    np.testing.assert_allclose(sides_of(strewn), sides_of(bumpy), atol=0.1 * CELL)


def test_an_uneven_side_ends_where_half_of_it_does():
    uneven = 0.02 * np.sin(9 * Y) * np.sin(11 * Z)  # as much in front of the plane as behind it
    values = box(0.6, 0.5, 0.5) + uneven
    assert sides_of(values, 0)[1, 0] > 0.615
    assert sides_of(values)[1, 0] == pytest.approx(0.6, abs=0.006)


def test_what_stands_on_four_legs_stands_on_all_of_them():
    legs = [box(0.06, 0.06, 0.4, middle=(x, y, -0.1)) for x in (-0.4, 0.4) for y in (-0.5, 0.5)]
    longer = box(0.03, 0.03, 0.2, middle=(0.4, 0.5, -0.35))  # a spike under one of them
    values = np.maximum.reduce([box(0.5, 0.6, 0.08, middle=(0, 0, 0.3)), *legs, longer])
    assert sides_of(values, 0)[0, 2] == pytest.approx(-0.55, abs=CELL)
    assert sides_of(values)[0, 2] == pytest.approx(-0.5, abs=CELL)


@pytest.mark.parametrize(
    "values",
    [
        ball(0, 0, 0, 0.6),
        np.minimum(0.45 * (0.7 - Z) - np.hypot(X, Y), Z + 0.7),  # a cone: its base is flat, its tip is not
        0.2 - np.sqrt((np.hypot(X, Z) - 0.5) ** 2 + Y**2),  # a ring
    ],
    ids=["ball", "cone", "ring"],
)
def test_what_is_round_or_pointed_keeps_its_size(values):
    np.testing.assert_allclose(sides_of(values), sides_of(values, 0), atol=0.6 * CELL)


def test_thin_things_stay_whole():
    plate = box(0.5, 0.5, 0.03)
    np.testing.assert_allclose(sides_of(plate), sides_of(plate, 0), atol=0.6 * CELL)


def test_nothing_grows_and_emptiness_stays_empty():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(24, 24, 24)).astype(np.float32)
    assert (cut_flat_ends(values, 0.3, 0.5, DEPTH) <= values).all()
    empty = np.full((24, 24, 24), -1, np.float32)
    assert (cut_flat_ends(empty, 0.0, 0.1, DEPTH) == empty).all()
