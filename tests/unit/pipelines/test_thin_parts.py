"""What is seen of a thin part colours its far side, and of a thick one, or where it is not told, nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from dreamlift.assets.bake import baked
from dreamlift.assets.topology import Surface
from dreamlift.assets.unwrap import box_projection
from dreamlift.pipelines.thin_parts import PATCH, THIN, Shown, colours_behind, far_sides, thickness, without_specks
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.shading import WorldLight
from dreamlift.representations.textured_mesh import TexturedMesh

RED, GREEN = torch.tensor([0.8, 0.2, 0.2]), torch.tensor([0.2, 0.6, 0.2])
CAMERA = orbit([0.0], 0.0, 3.5, 35.0)  # looks at the +x side
SIZE = 96


def slab(thick):
    """A board that faces +x and -x, 0.9 wide and high, green all over."""
    board = trimesh.creation.box((thick, 0.9, 0.9)).subdivide_to_size(0.12)
    surface = Surface(board.vertices.astype(np.float32), board.faces.astype(np.int32))
    uvs = box_projection(surface, 128)
    return TexturedMesh(surface, uvs, baked(surface, uvs, lambda points: GREEN.expand(len(points), 3), 128), 0.03)


def front(thick, colour=RED):
    """What a picture shows of it from +x."""
    ticks = torch.linspace(-0.44, 0.44, 90)
    y, z = (axis.flatten() for axis in torch.meshgrid(ticks, ticks, indexing="ij"))
    points = torch.stack([torch.full_like(y, thick / 2), y, z], 1)
    return Shown(points, torch.tensor([[1.0, 0, 0]]).expand_as(points), colour.expand_as(points).contiguous())


def test_the_far_side_of_a_thin_part_is_wished_the_colour_that_is_seen():
    (wish,) = far_sides(slab(0.08), front(0.08), CAMERA, SIZE, None, 2.0)
    believed = wish.trust > 0
    behind = believed[2]  # from straight behind
    assert behind.float().mean() > 0.7 * float((wish.sight.coverage[2, 0] > 0.99).float().mean()) > 0.01
    assert torch.allclose(wish.pictures.permute(0, 2, 3, 1)[believed], RED.expand(int(believed.sum()), 3))
    assert wish.trust.max() == pytest.approx(1 - (0.08 / THIN) ** 2, abs=0.1) and not wish.is_soft and wish.weight == 2


def test_the_far_side_is_lit_as_it_is_painted():
    light = WorldLight((1.0, 0.0, 0.0), 0.7, 0.3, 0.0)  # from the front: what looks away has ambient light alone
    (wish,) = far_sides(slab(0.08), front(0.08), CAMERA, SIZE, light, 2.0)
    middle = wish.pictures[2, :, SIZE // 2, SIZE // 2]
    assert torch.allclose(middle, 0.7 * RED, atol=1e-3)


def test_a_thick_part_keeps_its_own_colour_behind():
    assert all(not wish.trust.any() for wish in far_sides(slab(0.5), front(0.5), CAMERA, SIZE, None, 2.0))


def test_shades_of_the_seen_colour_are_left_to_the_prior():
    shade = GREEN + 0.05
    assert not any(wish.trust.any() for wish in far_sides(slab(0.08), front(0.08, shade), CAMERA, SIZE, None, 2.0))


def test_nothing_shown_wishes_nothing():
    empty = Shown(*torch.zeros(3, 0, 3))
    assert far_sides(slab(0.08), empty, CAMERA, SIZE, None, 2.0) == []


def test_thickness_is_the_way_through_and_infinite_where_it_is_long():
    ball = trimesh.creation.icosphere(5, 0.07)
    points, normals = (
        torch.tensor(np.array(part), dtype=torch.float32) for part in (ball.vertices, ball.vertex_normals)
    )
    found = thickness(points[::50], normals[::50], points, normals)
    assert torch.allclose(found, torch.full_like(found, 0.14), atol=0.021)
    assert thickness(3 * points[::50], normals[::50], 3 * points, normals).isinf().all()


def test_of_two_colours_on_the_other_side_neither_is_taken():
    shown = front(0.08)
    striped = Shown(
        shown.points, shown.normals, torch.where(torch.arange(len(shown.points))[:, None] % 2 > 0, RED, GREEN)
    )
    end, normal = torch.tensor([[0.04, 0.0, 0.0]]), torch.tensor([[-1.0, 0.0, 0.0]])
    assert not colours_behind(end, normal, striped)[1].any()
    colour, told = colours_behind(end, normal, shown)
    assert told.all() and torch.allclose(colour[0], RED)
    assert not colours_behind(end, -normal, shown)[1].any(), "what looks the same way is not its other side"


def test_specks_are_dropped_and_patches_stay():
    trust = torch.zeros(2, 40, 40)
    trust[0, 5:9, 5:9] = 0.8
    trust[1, 10:20, 10 : 10 + PATCH // 5] = 0.6
    trust[1, 30, :] = 0.6  # a line of one pixel is none, however long
    kept = without_specks(trust)
    assert not kept[0].any() and not kept[1, 30].any()
    assert torch.equal(kept[1, 11:19, 11:19], trust[1, 11:19, 11:19])
