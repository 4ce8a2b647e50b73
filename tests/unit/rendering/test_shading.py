"""Soft shading and the orientation loss against hand-computed values."""

import torch

from dreamlift.rendering.cameras import orthogonal_views
from dreamlift.rendering.shading import Light, Shading, orientation_loss, sample_light, shade

POINT = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
ALBEDO = torch.tensor([[0.2, 0.4, 0.8]]).expand(2, 3)
LAMP = torch.tensor([[3.0, 0.0, 0.0]])
VIEW = torch.zeros(2, dtype=torch.long)


def test_the_lit_side_has_full_light_and_the_far_side_the_ambient_share():
    colour = shade(Light(LAMP, 0.7, Shading.LAMBERTIAN), VIEW, POINT, ALBEDO, POINT)
    torch.testing.assert_close(colour, ALBEDO * torch.tensor([[1.0], [0.3]]))


def test_textureless_is_white_and_albedo_knows_no_light():
    white = shade(Light(LAMP, 0.7, Shading.TEXTURELESS), VIEW, POINT, ALBEDO, POINT)
    torch.testing.assert_close(white, torch.tensor([[1.0], [0.3]]).expand(2, 3))
    assert shade(Light(LAMP, 0.7, Shading.ALBEDO), VIEW, POINT, ALBEDO, POINT) is ALBEDO


def test_shadings_are_drawn_as_often_as_published():
    generator, cameras = torch.Generator().manual_seed(0), orthogonal_views(0, 15, 2.7, 40)
    lights = [sample_light(cameras, generator) for _ in range(3000)]
    share = {kind: sum(light.shading is kind for light in lights) / 3000 for kind in Shading}
    assert abs(share[Shading.ALBEDO] - 0.25) < 0.03
    assert abs(share[Shading.TEXTURELESS] - 0.375) < 0.03
    distances = torch.cat([light.positions.norm(dim=-1) for light in lights])
    assert distances.min() >= 0.8 - 1e-5 and distances.max() <= 1.5 + 1e-5


def test_only_normals_that_look_away_from_the_camera_cost():
    weights = torch.tensor([0.5, 0.5, 0.25], requires_grad=True)
    normals = torch.tensor([[0.0, 0, -1], [0, 0, 1], [0, 1, 0]], requires_grad=True)
    directions = torch.tensor([[0.0, 0, 1]]).expand(3, 3)
    loss = orientation_loss(weights, normals, directions, torch.tensor(2))
    assert loss.item() == 0.25
    loss.backward()
    assert weights.grad is None and normals.grad is not None
