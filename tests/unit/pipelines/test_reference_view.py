"""The picture pulls the object where it was taken from, gives the texture its colours, and loses its own light."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from fakes.tiny_view_models import LARGE, as_file, cut_out
from scipy import ndimage

from dreamlift.assets.contact_sheet import sample_texture
from dreamlift.assets.topology import Surface
from dreamlift.assets.unwrap import box_projection
from dreamlift.pipelines.context import Request
from dreamlift.pipelines.field_optimisation import Optimisation, always
from dreamlift.pipelines.imagedream_settings import FULL, MINI, PAPER, ReferenceSettings, settings_for
from dreamlift.pipelines.picture_box import ObjectBox
from dreamlift.pipelines.reference_view import BRIGHTNESS, ReferenceView, drawn_out, light_of, resized
from dreamlift.pipelines.texture_refinement import Wish, explained
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.picture_camera import PictureCamera
from dreamlift.rendering.shading import WorldLight
from dreamlift.representations.textured_mesh import TexturedMesh

BALL = trimesh.creation.icosphere(3, 0.6)
SURFACE = Surface(BALL.vertices.astype(np.float32), BALL.faces.astype(np.int32))
UVS = box_projection(SURFACE, 128)
RED, BLUE = torch.tensor([0.8, 0.2, 0.2]), torch.tensor([0.2, 0.3, 0.7])
SIDE = 64


class Silent:
    """A context that nobody listens to."""

    device, plan = torch.device("cpu"), None


class Sized:
    """All of a prior that the reference view asks for."""

    image_size = SIDE


def disc(size=SIDE, fill=0.8):
    """The picture of a ball, red above and blue below: straight colour and opacity."""
    ticks = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(-ticks, ticks, indexing="ij")
    inside = (x * x + y * y < fill**2).float()
    colour = torch.where(y > 0, RED.view(3, 1, 1), BLUE.view(3, 1, 1))
    return torch.cat([colour * inside, inside[None]])


def job_of(view):
    """An optimisation in its first stage, whose field starts as a ball."""
    return Optimisation(MINI.with_steps(20), Sized(), always(None), 0, Silent(), beside=view)


def test_the_pull_brings_the_object_to_the_picture():
    view = ReferenceView(disc(), ReferenceSettings(looks=()))
    job = job_of(view)
    stage = job.settings.stages[0]
    assert view.loss(job, stage) == 0.0, "before a camera is found"
    view.camera = PictureCamera(0.0, 0.0, 3.5, half=0.25, likeness=0.9)
    losses = []
    for _ in range(25):
        loss = view.loss(job, stage)
        losses.append(loss.item())
        job.optimiser.zero_grad()
        loss.backward()
        job.optimiser.step()
    assert losses[-1] < 0.6 * losses[0]
    front = job.field.query(torch.tensor([[0.45, 0.0, 0.2], [0.45, 0.0, -0.2]])).albedo
    assert front[0, 0] > front[0, 2] and front[1, 2] > front[1, 0], "red above, blue below"


def test_an_object_that_is_not_what_the_picture_shows_is_left_alone():
    view = ReferenceView(disc(), ReferenceSettings(looks=(), least=0.5))
    view.camera = PictureCamera(0.0, 0.0, 3.5, likeness=0.4)
    job = job_of(view)
    assert view.loss(job, job.settings.stages[0]) == 0.0
    assert view.wishes(TexturedMesh(SURFACE, UVS, np.zeros((128, 128, 3), np.uint8), 0.05), None) == []


def test_it_looks_at_the_steps_it_was_told():
    view = ReferenceView(disc(), ReferenceSettings(looks=(0.25, 0.5)))
    job = job_of(view)
    looked = []
    view.look = lambda job: looked.append(job.step)
    for job.step in range(20):
        view.loss(job, job.settings.stages[0])
    assert looked == [5, 10]


def test_a_camera_that_the_picture_tells_pulls_from_the_first_look_whatever_the_object_is_like():
    guess = PictureCamera(0.0, 0.0, 3.5, half=0.25)
    view = ReferenceView(disc(), ReferenceSettings(looks=(0.05, 0.5), weight=0.0), guess=guess)
    job = job_of(view)
    stage = job.settings.stages[0]
    assert view.loss(job, stage) == 0.0, "before the first look"
    job.step = 1
    losses = []
    for _ in range(25):
        loss = view.loss(job, stage)
        assert view.camera == guess, "the ball that the course begins with says nothing"
        job.step = 2
        losses.append(loss.item())
        job.optimiser.zero_grad()
        loss.backward()
        job.optimiser.step()
    assert losses[-1] < 0.6 * losses[0]
    job.step = 10
    view.loss(job, stage)
    assert view.camera.likeness > 0 and abs(view.camera.azimuth) < 40, "bettered on the object, near the guess"


def test_the_outline_counts_least_where_it_is():
    opacity = disc()[3]
    counts = ReferenceView(disc(), ReferenceSettings(rim=1.5 / 64, edge=0.1)).counts(opacity)
    assert counts[SIDE // 2, SIDE // 2] == 1 and counts[0, 0] == 1
    row = counts[SIDE // 2]
    start = int((opacity[SIDE // 2] > 0.5).nonzero()[0])
    assert torch.allclose(row[start - 1 : start + 1], torch.tensor(0.1))
    assert row[start - 4] == 1 and row[start + 3] == 1 and ((counts >= 0.1 - 1e-6) & (counts <= 1)).all()
    assert (ReferenceView(disc(), ReferenceSettings()).counts(opacity) == 1).all(), "everywhere alike unless told"


def test_what_was_found_is_kept_over_a_stop():
    view = ReferenceView(disc(), ReferenceSettings())
    assert view.state() == {}
    view.camera = PictureCamera(12.5, -3.0, 3.5, (0.1, -0.2), 0.3, 0.8)
    other = ReferenceView(disc(), ReferenceSettings())
    view.plain = 0.5 * view.picture
    view.crop.fit(view.picture[3], 0.9 * view.picture[3])
    other.load({key: torch.as_tensor(value, dtype=torch.float64) for key, value in view.state().items()})
    assert other.camera == view.camera and torch.equal(other.plain, view.plain)
    assert torch.equal(other.crop.place, view.crop.place) and view.crop.place.abs().max() > 0


def test_the_finished_texture_takes_the_picture_s_colours_in_front_and_keeps_its_own_behind():
    texture = np.full((128, 128, 3), 128, np.uint8)
    mesh = TexturedMesh(SURFACE, UVS, texture, 0.04)
    view = ReferenceView(disc(128), ReferenceSettings(texture_size=SIDE))
    wish = next(iter(view.wishes(mesh, None)))
    assert wish.trust.max() <= 1 and wish.trust[0, 0, 0] == 0 and not wish.is_soft
    with torch.no_grad():
        mesh.residual.copy_(explained(mesh, [wish], MINI.texture))
    middle = SURFACE.vertices[SURFACE.faces].mean(1)
    found = sample_texture(mesh.texture(), UVS.mean(1))
    front, back = (middle[:, 0] > 0.4), middle[:, 0] < -0.45
    above, below = front & (middle[:, 2] > 0.1), front & (middle[:, 2] < -0.1)
    np.testing.assert_allclose(found[above].mean(0), RED, atol=0.05)
    np.testing.assert_allclose(found[below].mean(0), BLUE, atol=0.05)
    np.testing.assert_allclose(found[back].mean(0), 0.5, atol=0.05)


def test_where_the_picture_is_believed_the_prior_s_wish_for_another_colour_does_not_count():
    mesh = TexturedMesh(SURFACE, UVS, np.full((128, 128, 3), 128, np.uint8), 0.04)
    view = ReferenceView(disc(128), ReferenceSettings(texture_size=SIDE))
    sharp = next(iter(view.wishes(mesh, None)))
    sight = mesh.see(orbit([0.0, 90.0, 180.0, 270.0], 0.0, 2.7, 40.0), SIDE)
    behind, green = torch.full((3,), 0.5), torch.tensor([0.1, 0.9, 0.1]).view(1, 3, 1, 1)
    prior = Wish(sight, behind, green * sight.coverage + (1 - sight.coverage) * 0.5, weight=20.0)
    with torch.no_grad():
        mesh.residual.copy_(explained(mesh, [prior, sharp], MINI.texture))
    middle, found = SURFACE.vertices[SURFACE.faces].mean(1), sample_texture(mesh.texture(), UVS.mean(1))
    above = (middle[:, 0] > 0.45) & (middle[:, 2] > 0.15) & (abs(middle[:, 1]) < 0.25)
    np.testing.assert_allclose(found[above].mean(0), RED, atol=0.09)  # told both without that it is green
    np.testing.assert_allclose(found[middle[:, 0] < -0.4].mean(0), green.flatten(), atol=0.05)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.3), (0.2, -1.0, 0.5)])
def test_a_picture_s_light_is_exchanged_for_the_prior_s(direction):
    picture = disc()
    ticks = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    z, y = torch.meshgrid(-ticks / 0.8, ticks / 0.8, indexing="ij")
    inside = (1 - y * y - z * z).clamp_min(0)
    normals = torch.stack([inside.sqrt(), y, z]) * (inside > 0)
    trust = normals[0].clamp_min(0)
    own, other = WorldLight(), WorldLight(direction, 0.6, 0.45, 0.05)
    lit = picture[:3] * other.on(normals.permute(1, 2, 0))[..., 0]
    found = lit / light_of(lit, picture[:3], normals, trust, own).clamp(*BRIGHTNESS)
    seen = trust > 0.3
    before = lit / own.on(normals.permute(1, 2, 0))[..., 0]
    before, after = ((each - picture[:3]).abs()[:, seen].mean() for each in (before, found))
    assert after < 0.35 * before


def test_too_few_pixels_tell_no_light():
    picture, normals = disc(), torch.zeros(3, SIDE, SIDE)
    normals[2] = 1.0
    found = light_of(picture[:3], picture[:3], normals, torch.zeros(SIDE, SIDE), WorldLight())
    torch.testing.assert_close(found, WorldLight().on(normals.permute(1, 2, 0))[..., 0])


def test_what_is_transparent_lends_no_colour_at_another_size():
    small = resized(disc(64), 16)
    rim = (small[3] > 0.1) & (small[3] < 0.9)
    assert rim.any() and float(small[:3, rim].amax(0).min()) > 0.4


def test_only_the_mini_preset_matches_the_picture_unless_told():
    request = functools.partial(Request, "imagedream", prompt="", images={"reference": as_file(cut_out(*LARGE))})
    mini = ReferenceSettings(looks=(0.02,), weight=0.0, outline=0.6, rim=1.5 / 64, edge=0.1, box=1e5)
    assert MINI.reference == mini, "the outline and the colours"
    assert FULL.reference is None and PAPER.reference is None
    assert settings_for(request("mini", settings={"match_picture": False})).reference is None
    assert settings_for(request("full", settings={"match_picture": True})).reference == ReferenceSettings()
    assert replace(MINI, reference=None) == settings_for(request("mini", settings={"match_picture": False}))


def test_looking_at_the_finished_mesh_leaves_the_picture_as_it_is():
    view = ReferenceView(disc(), ReferenceSettings(texture_size=SIDE))
    mesh = TexturedMesh(SURFACE, UVS, np.full((128, 128, 3), 128, np.uint8), 0.04)
    assert len(view.wishes(mesh, WorldLight((1.0, 0.0, 0.0), 0.5, 0.5, 0.0))) == 1
    torch.testing.assert_close(view.picture, disc())


def test_an_object_is_kept_in_its_box_and_brought_to_it_once():
    box = ObjectBox(torch.tensor([[-0.3, -0.45, -0.45], [0.3, 0.45, 0.45]]))
    settings, guess = ReferenceSettings(looks=(0.0,), box=10.0), PictureCamera(0.0, 0.0, 3.5, half=0.25)
    view, alone = ReferenceView(disc(), settings, guess=guess, box=box), ReferenceView(disc(), settings, guess=guess)
    job = job_of(view)
    stage = job.settings.stages[0]
    pulled = alone.loss(job_of(alone), stage).item()
    assert view.loss(job, stage).item() == pytest.approx(pulled + 10 * box.loss(job.field).item())
    view.fit(job)
    assert job.field.distance(torch.tensor([[0.3, 0.0, 0.0]])).item() == pytest.approx(0.0, abs=0.01)
    fitted = job.field.sdf.detach().clone()
    view.fit(job)
    assert torch.equal(job.field.sdf, fitted)
    camera = view.camera
    view.wishes(TexturedMesh(SURFACE, UVS, np.full((128, 128, 3), 128, np.uint8), 0.04), None)
    assert view.camera is camera, "the one that the outline was fitted under"
    again = ReferenceView(disc(), settings, guess=guess, box=box)
    again.load(view.state())
    assert again.is_fitted and again.camera == camera


def test_a_picture_s_inner_colours_reach_over_its_rim():
    picture = disc(fill=0.6)
    inside = picture[3] > 0
    depth = torch.from_numpy(ndimage.distance_transform_edt(inside.numpy()))
    picture[:3, inside & (depth <= 2)] = 1.0  # the white of the picture's own background
    drawn, meant = drawn_out(picture)
    for colour, row in ((RED, 10), (BLUE, SIDE - 11)):
        columns = meant[row].nonzero()[:, 0]
        assert len(columns) > int(inside[row].sum())
        assert torch.allclose(drawn[:3, row, columns], colour.view(3, 1).expand(3, len(columns)))
    assert torch.equal(drawn[3], picture[3]) and not meant[0].any()


def test_what_is_thin_keeps_the_colour_of_its_middle():
    picture = torch.zeros(4, SIDE, SIDE)
    picture[3, 30:33] = 1.0
    picture[:3, 30:33] = 1.0
    picture[:3, 31] = RED.view(3, 1)
    drawn, meant = drawn_out(picture)
    assert torch.allclose(drawn[:3, 28:35], RED.view(3, 1, 1).expand(3, 7, SIDE)) and meant[28:35].all()


def test_a_picture_of_nothing_means_nothing():
    drawn, meant = drawn_out(torch.zeros(4, 8, 8))
    assert not meant.any() and not drawn.any()


def test_a_mesh_larger_than_its_picture_gets_the_picture_s_colours_to_its_rim(monkeypatch):
    camera = PictureCamera(0.0, 0.0, 3.5, half=0.25, likeness=0.9)
    view = ReferenceView(disc(fill=0.5), ReferenceSettings(texture_size=SIDE), guess=camera)
    monkeypatch.setattr(view, "_find", lambda mesh: setattr(view, "camera", camera))
    mesh = TexturedMesh(SURFACE, UVS, np.full((128, 128, 3), 128, np.uint8), 0.04)
    (wish,) = view.wishes(mesh, None)
    outside = (wish.trust[0] > 0) & (disc(fill=0.5)[3] == 0)
    assert outside.any(), "the mesh is the larger one"
    wanted = wish.pictures[0][:, wish.trust[0] > 0]
    apart = torch.stack([(wanted - colour.view(3, 1)).abs().amax(0) for colour in (RED, BLUE)]).amin(0)
    assert apart.max() < 1e-5
