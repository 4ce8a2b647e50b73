"""Pictures with known cameras, and the trainer of what reads them."""

import math

import numpy as np
import pytest
import torch

from dreamlift.priors.picture_pose import PicturePose
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.picture_camera import PictureCamera
from dreamlift.training.image_prompts import recentred
from dreamlift.training.objects import ProceduralObject
from dreamlift.training.posed_pictures import ensure_posed, pose_of
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
    return ensure_posed(tmp_path_factory.mktemp("posed"), 2, count=6, processes=1)


def test_pictures_are_drawn_once_and_the_same_again(files, tmp_path):
    written = [path.stat().st_mtime_ns for path in files]
    assert [path.stat().st_mtime_ns for path in ensure_posed(files[0].parent, 2, count=6)] == written
    again = ensure_posed(tmp_path, 1, count=6, processes=1)
    with np.load(files[0]) as one, np.load(again[0]) as other:
        assert all(np.array_equal(one[name], other[name]) for name in one.files)
        assert one["pictures"].shape == (6, 4, 64, 64) and (abs(one["azimuth"]) <= 90).all()


@pytest.mark.parametrize(("azimuth", "elevation"), [(35.0, 10.0), (-70.0, 30.0)])
def test_a_pose_draws_the_picture_again(azimuth, elevation):
    item, cameras = ProceduralObject("car", "green", "white"), orbit([azimuth], elevation, 3.0, 40.0)
    seen = render(item, cameras, 256, 1)[0]
    pose = pose_of(cameras, seen[3])
    assert (float(pose.azimuth), float(pose.elevation)) == pytest.approx((azimuth, elevation), abs=1e-4)
    right, up = (pose.middle[0] / pose.distance).tolist()
    camera = PictureCamera(azimuth, elevation, float(pose.distance), (right, up), float(pose.half / pose.distance))
    drawn, wanted = render(item, camera.cameras(), 128, 2)[0, 3], recentred(seen, 128)[3]
    both, either = torch.minimum(drawn, wanted).sum(), torch.maximum(drawn, wanted).sum()
    assert both / either > 0.97


def test_the_loss_is_least_at_the_truth(files):
    posed = PosedPictures(files)
    _, poses = posed.batch(torch.arange(4))
    bins = torch.full((4, 36), -20.0)
    bins[torch.arange(4), ((poses.azimuth + 90) / 5).long().clamp(0, 35)] = 5.0
    right = pose_loss(bins, poses.numbers(), poses)
    assert right < pose_loss(bins.roll(9, 1), poses.numbers(), poses) - 1
    assert right < pose_loss(bins, poses.numbers() + 1, poses) - 0.5


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
