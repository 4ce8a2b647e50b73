"""Procedural objects: shapes that the whole project measures against."""

import random

import pytest
import torch

from dreamlift.training.objects import (
    ASYMMETRIC,
    CLASSES,
    COLOURS,
    HELD_OUT,
    STACK_BOTTOM,
    STACK_TOP,
    ProceduralObject,
    random_object,
)

GRID = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 41)] * 3, indexing="ij"), -1).reshape(-1, 3)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_is_a_solid_inside_the_unit_ball(kind):
    distance = ProceduralObject(kind, "red").sdf(GRID)
    inside = distance < 0
    assert inside.float().mean() > 0.01
    assert GRID[inside].norm(dim=-1).max() < 1.0


@pytest.mark.parametrize("kind", CLASSES)
def test_distances_never_overshoot_so_tracing_cannot_step_through(kind):
    item = ProceduralObject(kind, "red")
    points = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    distance = item.sdf(points)
    slope = torch.rand(4000, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    step = torch.nn.functional.normalize(slope, dim=-1) * 0.02
    change = (item.sdf(points + step) - distance).abs()
    outside = distance > 0.02
    assert change[outside].max() <= 0.02 * 1.35  # ellipsoids are first-order bounds; tracing leaves room for them


@pytest.mark.parametrize("kind", ASYMMETRIC)
def test_asymmetric_classes_change_when_turned_by_a_quarter(kind):
    item = ProceduralObject(kind, "red")
    turned = torch.stack([GRID[:, 1], -GRID[:, 0], GRID[:, 2]], -1)
    a, b = item.sdf(GRID) < 0, item.sdf(turned) < 0
    assert (a & b).sum() / (a | b).sum() < 0.995  # of a snowman, only the nose turns


def test_the_front_of_a_duck_is_towards_plus_x():
    duck = ProceduralObject("duck", "yellow")
    beak = torch.tensor([[0.60, 0.0, 0.22]])
    assert duck.sdf(beak) < 0
    assert duck.color(beak)[0].tolist() == pytest.approx(COLOURS["orange"])


def test_a_named_part_takes_the_second_colour():
    house = ProceduralObject("house", "red", "blue")
    roof, wall = torch.tensor([[0.0, 0.0, 0.40]]), torch.tensor([[0.0, 0.0, -0.30]])
    assert house.color(roof)[0].tolist() == pytest.approx(COLOURS["blue"])
    assert house.color(wall)[0].tolist() == pytest.approx(COLOURS["red"])


@pytest.mark.parametrize("pattern", ["striped", "dotted", "checkered"])
@pytest.mark.parametrize("kind", ["cube", "ball", "mug"])
def test_patterns_show_both_colours_on_the_surface(pattern, kind):
    item = ProceduralObject(kind, "red", "white", pattern)
    surface = GRID[item.sdf(GRID).abs() < 0.03]
    white = (item.color(surface) - torch.tensor(COLOURS["white"])).abs().amax(-1) < 1e-3
    assert 0.08 < white.float().mean() < 0.92


def test_stacks_put_the_first_solid_on_the_second():
    stack = ProceduralObject("stack", "red", "blue", stacked=("cone", "cube"))
    inside = GRID[stack.sdf(GRID) < 0]
    colours = stack.color(inside)
    red = (colours - torch.tensor(COLOURS["red"])).abs().amax(-1) < 1e-3
    assert inside[red][:, 2].min() > inside[~red][:, 2].min()
    assert inside[red][:, 2].mean() > inside[~red][:, 2].mean()


def test_training_never_draws_a_held_out_pair():
    rng = random.Random(0)
    drawn = [random_object(rng) for _ in range(4000)]
    assert not {(item.kind, item.first) for item in drawn} & HELD_OUT
    assert {item.kind for item in drawn} == {*CLASSES, "stack"}
    stacks = [item.stacked for item in drawn if item.kind == "stack"]
    assert all(top in STACK_TOP and bottom in STACK_BOTTOM for top, bottom in stacks)


def test_enough_classes_colours_and_held_out_pairs_for_the_evaluation():
    assert len(CLASSES) >= 16 and len(COLOURS) >= 10 and len(HELD_OUT) >= 12
    assert all(kind in CLASSES and first in COLOURS for kind, first in HELD_OUT)
