"""What reads a picture's camera: it is saved and read exactly, and the embedded one knows where pictures were taken."""

import dataclasses

import pytest
import torch
from fakes.taken_pictures import camera_at, framed, taken

from dreamlift.preprocessing.placing import frame_of
from dreamlift.priors.picture_pose import BINS, MINI_FOLDER, NUMBERS, PicturePose, Poses, azimuths
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.training.boxes import box_of
from dreamlift.training.posed_pictures import pose_of
from dreamlift.training.prompts import parse_prompt
from dreamlift.training.train_picture_pose import SPREAD


def picture_of(prompt, azimuth, elevation, size=128):
    rgba = taken(prompt, azimuth, elevation, 2 * size)
    pose = pose_of(box_of(parse_prompt(prompt)), camera_at(azimuth, elevation), frame_of(rgba), 2 * size)
    return framed(rgba, size), pose


def test_what_is_saved_is_read_again(tmp_path):
    torch.manual_seed(0)
    model = PicturePose().eval()
    model.save(tmp_path, "7")
    again = PicturePose.from_folder(tmp_path)
    pictures = torch.rand(2, 4, 64, 64)
    assert again.version == "7" and not again.training
    for ours, theirs in zip(model(pictures), again(pictures), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-2)


def test_other_weights_are_refused(tmp_path):
    model = PicturePose()
    del model.head
    model.save(tmp_path, "1")
    with pytest.raises(CheckpointMismatch, match="head.weight"):
        PicturePose.from_folder(tmp_path)


# None of these pairs of class and colour was trained on.
@pytest.mark.parametrize(
    ("prompt", "azimuth", "elevation"),
    [
        ("a blue chair", -35, 12),
        ("a green car", 40, 8),
        ("an orange mug", 50, 14),
        ("a red duck", -20, 6),
        ("a cyan house", 25, 10),
        ("a red table", -30, 20),
    ],
)
def test_the_embedded_model_knows_where_a_picture_was_taken(prompt, azimuth, elevation):
    picture, true = picture_of(prompt, azimuth, elevation)
    found, box = PicturePose.mini().read(picture, 3.5)
    assert found.azimuth == pytest.approx(azimuth, abs=6)
    assert found.elevation == pytest.approx(elevation, abs=4)
    assert found.half * 3.5 == pytest.approx(float(true.half), rel=0.05)
    assert torch.tensor(found.middle) * 3.5 == pytest.approx(true.middle[0], abs=0.03)
    assert found.distance == 3.5 and found.likeness == 0
    true_box = torch.cat([true.low, true.high])
    assert (box - true_box).abs().max() < 0.04 and (box - true_box).abs().mean() < 0.02


def test_the_size_of_the_picture_does_not_matter():
    model = PicturePose.mini()
    large, small = (model.read(picture_of("a green car", 30, 10, size)[0], 3.5)[0] for size in (256, 64))
    assert large.azimuth == pytest.approx(small.azimuth, abs=3)


def test_the_framing_is_that_of_the_object_at_any_size_and_place():
    _, pose = picture_of("a green car", 30, 10)
    numbers = {name: getattr(pose, name) for name in ("middle", "half", "low", "high")}
    larger = dataclasses.replace(pose, **{name: 1.3 * value for name, value in numbers.items()})
    assert torch.allclose(larger.framing(), pose.framing(), atol=1e-5)
    up = torch.tensor([[0.0, 0.0, 0.1]])
    seen = 0.1 * torch.cos(torch.deg2rad(pose.elevation))  # how far a lift is seen to go
    lifted = dataclasses.replace(pose, low=pose.low + up, high=pose.high + up)
    assert torch.allclose(lifted.framing()[:, 2], pose.framing()[:, 2] - seen / longest(pose), atol=1e-5)
    closer = dataclasses.replace(pose, half=pose.half * 0.9)
    assert torch.allclose(
        (closer.framing() - pose.framing())[0], torch.tensor([0.9]).log() * torch.eye(6)[0], atol=1e-6
    )


def longest(pose):
    return (pose.high - pose.low).max()


def test_numbers_and_poses_are_the_same():
    _, pose = picture_of("a green car", 30, 10)
    again = Poses.of_numbers(pose.azimuth, pose.numbers())
    for name, value in vars(pose).items():
        assert torch.allclose(getattr(again, name), value, atol=1e-4), name


class Told(PicturePose):
    """Tells what the test says."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, cut_outs):
        return self.logits.expand(len(cut_outs), -1), torch.zeros(len(cut_outs), NUMBERS)


def test_what_looks_the_same_from_all_sides_is_seen_from_in_front():
    poses = Told(torch.zeros(1, BINS)).poses(torch.zeros(2, 4, 64, 64))
    assert (poses.azimuth.abs() <= 3).all() and poses.half == pytest.approx([0.8, 0.8])


def test_one_of_two_likely_sides_is_told_and_not_their_mean():
    logits = torch.full((1, BINS), -20.0)
    logits[0, [3, 21]] = 0.0  # a cube, from -72.5 or 17.5 degrees
    assert Told(logits).poses(torch.zeros(1, 4, 64, 64)).azimuth.item() == pytest.approx(17.5, abs=0.1)
    logits[0, 3] = 4.0  # something whose side is surely seen
    assert Told(logits).poses(torch.zeros(1, 4, 64, 64)).azimuth.item() == pytest.approx(-72.5, abs=0.1)


@pytest.mark.parametrize("azimuth", [-55.0, -30.0, 12.0, 35.0, 40.0])
def test_a_side_that_is_surely_seen_is_not_drawn_towards_the_front(azimuth):
    learnt = -((azimuths() - azimuth) / SPREAD).square()[None] / 2  # as the trainer spreads it
    assert Told(learnt).poses(torch.zeros(1, 4, 64, 64)).azimuth.item() == pytest.approx(azimuth, abs=0.2)


def test_numbers_are_told_back():
    numbers = torch.randn(3, NUMBERS)
    told = Told(torch.zeros(1, BINS))
    told.forward = lambda cut_outs: (torch.zeros(3, BINS), numbers)
    assert torch.allclose(told.poses(torch.zeros(3, 4, 64, 64)).numbers(), numbers, atol=1e-4)


def test_numbers_are_in_units_of_their_spread():
    corner = torch.tensor([[0.4, 0.4, 0.5]])
    camera = torch.tensor([15.0]), torch.zeros(1, 2), torch.tensor([0.8]), torch.tensor([1.3]).exp()
    mean = Poses(torch.zeros(1), *camera, -corner, corner)
    assert torch.allclose(mean.numbers(), torch.zeros(1, NUMBERS), atol=1e-6)
    nearer = dataclasses.replace(mean, half=torch.tensor([0.9]), high=corner + torch.tensor([0, 0, 0.12]))
    assert torch.allclose(nearer.numbers(), torch.tensor([[0.0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]]), atol=1e-5)
    assert azimuths()[0] == -87.5 and azimuths()[-1] == 87.5 and MINI_FOLDER.is_dir()
