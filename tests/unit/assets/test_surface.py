"""From grids to solids: whatever the field, the surface is one, closed and looks outwards."""

import numpy as np
import pytest
from scipy import ndimage

from dreamlift.assets.surface import EmptySurface, extract_surface
from dreamlift.assets.topology import is_one_solid, signed_volume

SIZE = 48
AXES = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")


def ball(x, y, z, radius):
    return radius - np.sqrt((AXES[0] - x) ** 2 + (AXES[1] - y) ** 2 + (AXES[2] - z) ** 2)


def volume_of(surface):
    return signed_volume(surface.vertices, surface.faces)


def test_a_ball_has_its_volume_and_looks_outwards():
    surface = extract_surface(ball(0.1, -0.2, 0, 0.6))
    assert is_one_solid(surface.vertices, surface.faces)
    assert volume_of(surface) == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.01)
    assert surface.vertices.mean(axis=0) == pytest.approx([0.1, -0.2, 0], abs=0.01)
    assert surface.vertices.dtype == np.float32 and surface.faces.dtype == np.int32


def test_the_level_decides_where_the_surface_is():
    surface = extract_surface(ball(0, 0, 0, 0.6), level=0.2)
    assert volume_of(surface) == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.02)


def test_a_hollow_shell_is_filled():
    shell = np.minimum(ball(0, 0, 0, 0.7), -ball(0, 0, 0, 0.5))
    surface = extract_surface(shell)
    assert is_one_solid(surface.vertices, surface.faces)
    assert volume_of(surface) == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.01)


def test_a_floater_vanishes():
    surface = extract_surface(np.maximum(ball(0, 0, 0, 0.5), ball(0.8, 0.8, 0.8, 0.1)))
    assert is_one_solid(surface.vertices, surface.faces)
    assert np.abs(surface.vertices).max() < 0.55


def test_a_snowman_with_gaps_keeps_all_its_balls():
    apart = np.maximum(np.maximum(ball(0, 0, -0.5, 0.35), ball(0, 0, 0.12, 0.22)), ball(0, 0, 0.6, 0.17))
    surface = extract_surface(apart)
    assert is_one_solid(surface.vertices, surface.faces)
    assert surface.vertices[:, 2].max() == pytest.approx(0.77, abs=0.02)
    volumes = [4 / 3 * np.pi * radius**3 for radius in (0.35, 0.22, 0.17)]
    assert sum(volumes) * 0.98 < volume_of(surface) < sum(volumes) * 1.15


def test_a_small_part_far_away_is_dropped_and_a_large_one_is_not():
    small = extract_surface(np.maximum(ball(-0.5, 0, 0, 0.4), ball(0.7, 0, 0, 0.15)))
    assert small.vertices[:, 0].max() < 0
    large = extract_surface(np.maximum(ball(-0.5, 0, 0, 0.3), ball(0.6, 0, 0, 0.28)))
    assert is_one_solid(large.vertices, large.faces)
    assert large.vertices[:, 0].max() > 0.8


def test_parallel_plates_get_one_neck_and_stay_plates():
    side = np.maximum(np.abs(AXES[1]), np.abs(AXES[2]))
    plates = [np.minimum(0.1 - np.abs(AXES[0] - x), 0.6 - side) for x in (-0.25, 0.25)]
    surface = extract_surface(np.maximum(*plates))
    assert is_one_solid(surface.vertices, surface.faces)
    assert volume_of(surface) < 1.25 * 2 * 0.2 * 1.2**2  # a web between them would make it 1.9


def test_an_object_that_leaves_the_box_is_closed_inside_it():
    surface = extract_surface(ball(0.6, 0, 0, 0.8))
    assert is_one_solid(surface.vertices, surface.faces)
    assert np.abs(surface.vertices).max() <= 1


def test_values_exactly_on_the_level_do_no_harm():
    surface = extract_surface(np.round(ball(0, 0, 0, 0.6) * 10) / 10)
    assert is_one_solid(surface.vertices, surface.faces)


@pytest.mark.parametrize("seed", range(8))
def test_noise_gives_one_solid(seed):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(24,) * 3), rng.uniform(0.5, 2.5))
    surface = extract_surface(noise, float(noise.std() * rng.uniform(-0.3, 1)))
    assert is_one_solid(surface.vertices, surface.faces)


def test_an_empty_field_and_a_broken_one_are_told_apart():
    with pytest.raises(EmptySurface, match="above 0"):
        extract_surface(np.full((8, 8, 8), -1.0))
    with pytest.raises(ValueError, match="1 numbers that are not finite"):
        extract_surface(np.where(np.arange(512).reshape(8, 8, 8) == 3, np.nan, 1.0))
    with pytest.raises(ValueError, match="cube"):
        extract_surface(np.zeros((8, 8, 9)))
