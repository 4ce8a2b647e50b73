"""Pictures with known cameras, and the trainer of what reads them."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreamlift.assets.surface import extract_surface
from dreamlift.preprocessing.placing import framed_rgba
from dreamlift.priors.picture_pose import PicturePose, Poses
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.picture_camera import PictureCamera
from dreamlift.representations.field import grid_points
from dreamlift.training.boxes import box_of
from dreamlift.training.objects import ProceduralObject
from dreamlift.training.posed_pictures import ensure_posed, is_mirrored, pose_of, random_frame
from dreamlift.training.render import render
from dreamlift.training.runner import load_checkpoint
from dreamlift.training.train_picture_pose import (
    PicturePoseTraining,
    PosedPictures,
    errors,
    pose_loss,
    train_picture_pose,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return ensure_posed(tmp_path_factory.mktemp("posed"), 2, count=16, processes=1)


def test_pictures_are_drawn_once_and_the_same_again(files, tmp_path):
    written = [path.stat().st_mtime_ns for path in files]
    assert [path.stat().st_mtime_ns for path in ensure_posed(files[0].parent, 2, count=16)] == written
    again = ensure_posed(tmp_path, 1, count=16, processes=1)
    with np.load(files[0]) as one, np.load(again[0]) as other:
        assert all(np.array_equal(one[name], other[name]) for name in one.files)
        assert one["pictures"].shape == (16, 4, 64, 64) and (abs(one["azimuth"]) <= 90).all()


@pytest.mark.parametrize(("azimuth", "elevation"), [(35.0, 10.0), (-70.0, 30.0)])
def test_a_pose_draws_the_picture_again(azimuth, elevation):
    item, cameras = ProceduralObject("car", "green", "white"), orbit([azimuth], elevation, 3.0, 40.0)
    rgba = (render(item, cameras, 256, 1)[0] * 255).round().byte().permute(1, 2, 0).numpy()
    frame = random_frame(random.Random(3), rgba)
    pose = pose_of(box_of(item), cameras, frame, 256)
    assert (float(pose.azimuth), float(pose.elevation)) == pytest.approx((azimuth, elevation), abs=1e-4)
    right, up = (pose.middle[0] / pose.distance).tolist()
    camera = PictureCamera(azimuth, elevation, float(pose.distance), (right, up), float(pose.half / pose.distance))
    drawn = render(item, camera.cameras(), 128, 2)[0, 3]
    wanted = torch.from_numpy(framed_rgba(rgba, 128, frame)[..., 3] / 255).float()
    both, either = torch.minimum(drawn, wanted).sum(), torch.maximum(drawn, wanted).sum()
    assert both / either > 0.985


@pytest.mark.parametrize("kind", ["car", "duck", "house", "mug", "rocket", "table"])
def test_a_box_is_the_surface_s(kind):
    item = ProceduralObject(kind, "green", "white", proportions=(0.2, 0.8, 0.5, 0.5))
    surface = extract_surface(-item.sdf(grid_points(96, 1.0).view(-1, 3)).view(96, 96, 96).numpy())  # which blunts tips
    low, high = box_of(item)
    assert surface.vertices.min(0) == pytest.approx(low.numpy(), abs=0.016)
    assert surface.vertices.max(0) == pytest.approx(high.numpy(), abs=0.016)


def test_a_mirrored_picture_has_a_mirrored_pose():
    assert is_mirrored(ProceduralObject("duck", "red")) and not is_mirrored(ProceduralObject("mug", "red"))
    item = ProceduralObject("car", "red", "blue")
    posed = PosedPictures.__new__(PosedPictures)
    both = [render(item, orbit([azimuth], 12.0, 3.0, 40.0), 128, 1)[0] for azimuth in (35.0, -35.0)]
    frame = (64.0, 64.0, 110.0)
    poses = [pose_of(box_of(item), orbit([azimuth], 12.0, 3.0, 40.0), frame, 128) for azimuth in (35.0, -35.0)]
    posed.pictures = (both[0][None] * 255).round().byte()
    posed.poses, posed.mirrored = poses[0], torch.tensor([True])
    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(40):
        picture, pose = posed.varied(torch.tensor([0]), generator)
        turned = bool(pose.azimuth < 0)
        seen.add(turned)
        assert torch.allclose(pose.numbers(), poses[turned].numbers(), atol=1e-4)
        assert (picture[0, 3] - both[turned][3]).abs().mean() < 0.01
        assert torch.allclose(picture[0, :3].sort(0).values, both[turned][:3].sort(0).values, atol=0.1) or turned
    assert seen == {True, False}
    posed.mirrored = torch.tensor([False])
    assert all(posed.varied(torch.tensor([0]), generator)[1].azimuth > 0 for _ in range(8))


def test_a_frame_is_about_the_subject_s_own():
    rgba = np.zeros((100, 100, 4), np.uint8)
    rgba[30:70, 20:40] = 255
    rng = random.Random(0)
    frames = np.array([random_frame(rng, rgba) for _ in range(200)])
    assert np.abs(frames[:, :2] - [30, 50]).max() <= 0.25 and frames[:, 2].min() >= 50 and frames[:, 2].max() <= 50.5
    assert frames.std(0).min() > 0.1


def test_the_loss_is_least_at_the_truth(files):
    posed = PosedPictures(files)
    _, poses = posed.batch(torch.arange(4))
    bins = torch.full((4, 36), -20.0)
    bins[torch.arange(4), ((poses.azimuth + 90) / 5).long().clamp(0, 35)] = 5.0
    right = pose_loss(bins, poses.numbers(), poses)
    assert right < pose_loss(bins.roll(9, 1), poses.numbers(), poses) - 1
    assert right < pose_loss(bins, poses.numbers() + 1, poses) - 0.5
    larger = Poses.of_numbers(poses.azimuth, poses.numbers())
    larger = replace(larger, **{name: 1.05 * getattr(larger, name) for name in ("middle", "half", "low", "high")})
    closer = replace(poses, half=1.05 * poses.half)  # as wrong by itself, but it also changes what the object will be
    assert pose_loss(bins, larger.numbers(), poses) < pose_loss(bins, closer.numbers(), poses) - 0.5


def test_it_trains_resumes_and_writes(files, tmp_path):
    first = train_picture_pose(files, tmp_path, PicturePoseTraining(seconds=1.0, batch=4), "a")
    before = load_checkpoint(tmp_path / "picture-pose-training.pt")
    assert before["step"] > 0 and first.version == ""
    train_picture_pose(files, tmp_path, PicturePoseTraining(seconds=before["spent"] + 1.0, batch=4), "b")
    after = load_checkpoint(tmp_path / "picture-pose-training.pt")
    assert after["step"] > before["step"]
    written = PicturePose.from_folder(tmp_path / "picture_pose")
    assert written.version == "b"
    assert all(math.isfinite(value) for value in errors(written, PosedPictures(files)).values())
