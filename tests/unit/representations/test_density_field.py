"""MVDream's field: the published bias, analytic normals that can be trained, and rates by name."""

import pytest
import torch

from dreamlift.representations._hash_grid_torch import HashGridSettings
from dreamlift.representations.density_field import DensityField, DensityFieldSettings

SMALL = DensityFieldSettings(grid=HashGridSettings(levels=4, log2_table=10, base=4, growth=1.6), width=16)


@pytest.fixture
def field():
    return DensityField(SMALL, seed=1)


def test_an_untrained_field_is_the_blob_of_the_formula(field):
    points = torch.tensor([[0.0, 0, 0], [0.25, 0, 0], [0.5, 0, 0], [0.9, 0, 0], [1.1, 0, 0]])
    # softplus(10 (1 - r / 0.5)), and nothing outside the box
    expected = [10.0, 5.007, 0.693, 0.0003, 0.0]
    torch.testing.assert_close(field.density(points), torch.tensor(expected), atol=0.01, rtol=0.01)


def test_normals_are_minus_the_finite_difference_of_the_density(field):
    with torch.no_grad():
        field.encoding.table.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    points = torch.rand(60, 3, generator=torch.Generator().manual_seed(2)) * 0.8 - 0.4
    normals = field.query(points, normals=True).normal.detach()
    with torch.no_grad():
        step = torch.eye(3) * 1e-3
        slope = torch.stack([field.density(points + d) - field.density(points - d) for d in step], dim=-1)
    expected = -torch.nn.functional.normalize(slope, dim=-1)
    # Kinks of ReLU and cell faces inside the step spoil a few points.
    agreement = (normals * expected).sum(-1)
    assert (agreement > 0.99).float().mean() > 0.9


def test_a_loss_on_normals_trains_table_and_network(field):
    points = torch.rand(50, 3) - 0.5
    field.query(points, normals=True).normal[:, 0].sum().backward()
    assert field.encoding.table.grad.abs().sum() > 0
    assert field.density_network[0].weight.grad.abs().sum() > 0


def test_an_evaluated_field_keeps_no_graph_for_its_normals(field):
    field.eval()
    with torch.no_grad():
        sample = field.query(torch.rand(5, 3) - 0.5, normals=True)
    assert sample.normal is not None and not sample.normal.requires_grad


def test_groups_have_the_published_rates(field):
    rates = {group["name"]: group["lr"] for group in field.parameter_groups()}
    assert rates == {"encoding": 0.01, "density": 0.001, "feature": 0.001}
    grouped = sum(len(group["params"]) for group in field.parameter_groups())
    assert grouped == len(list(field.parameters()))


def test_level_values_are_the_density_less_the_threshold(field):
    values = field.level_values(9)
    assert values[4, 4, 4].item() == pytest.approx(10.0 - 25.0, abs=0.05)
