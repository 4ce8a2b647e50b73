"""Trains the network that reads from where a picture was taken. Resumes.

The azimuth is learnt as a distribution over bins, the true one spread a little, so that pictures of objects that look
alike from several sides may say so; the rest as numbers, by robust losses. Pictures are shown in any order of their
colour channels, for a pose has no colour, and mirrored where the object may be: without that the network learns tens of
thousands of pictures by heart.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..priors.picture_pose import OF_BOX, OF_CAMERA, PicturePose, Poses, azimuths
from .posed_pictures import arrays
from .runner import LoneTraining, train_lone, training_device

SPREAD = 4.0  # degrees by which the true azimuth is spread over the bins, standard deviation
ROBUST = 0.3  # in the units of `Poses.numbers`: beyond it an error counts by its size, no longer by its square
CAMERA = 1.5  # weight of the camera's numbers beside the azimuth's
BOX, BOX_ROBUST = 3.0, 0.1  # the same of the box's, which are to be exact
FRAMING, FRAMING_ROBUST, FRAMED = 3.0, 0.25, 0.02  # the same of how crop and box lie to one another, and its unit
CHANNELS = torch.tensor([[*order, 3] for order in itertools.permutations(range(3))])
PLAIN = ("pictures", "sided", "mirrored")  # of a file, beside the pose


@dataclass(frozen=True)
class PicturePoseTraining(LoneTraining):
    """Settings of a run; see `LoneTraining`."""

    seconds: float = 1500.0
    batch: int = 48
    learning_rate: float = 1.5e-3
    seed: int = 7


class PosedPictures:
    """All pictures of some files in memory.

    Args:
        paths: As `posed_pictures.ensure_posed` returns them.
    """

    def __init__(self, paths: list[Path]):
        posed = [field.name for field in fields(Poses)]
        whole = {name: torch.from_numpy(values) for name, values in arrays(paths, [*PLAIN, *posed]).items()}
        self.pictures, self.sided, self.mirrored = (whole.pop(name) for name in PLAIN)
        self.poses = Poses(**whole)

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Tensor) -> tuple[Tensor, Poses]:
        """Cut-outs (B, 4, 64, 64) in [0, 1] and their poses."""
        return self.pictures[index].float() / 255, Poses(*(value[index] for value in vars(self.poses).values()))

    def varied(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Poses]:
        """The same with channels in a random order, and half of those mirrored that may be."""
        pictures, poses = self.batch(index)
        orders = CHANNELS[torch.randint(len(CHANNELS), (len(index),), generator=generator)]
        pictures = pictures.gather(1, orders[:, :, None, None].expand_as(pictures))
        turned = (torch.rand(len(index), generator=generator) < 0.5) & self.mirrored[index]
        other = torch.where(turned, -1.0, 1.0)
        sides = torch.stack([torch.ones_like(other), other, torch.ones_like(other)], 1)
        low, high = poses.low * sides, poses.high * sides
        varied = replace(
            poses,
            azimuth=poses.azimuth * other,
            middle=poses.middle * sides[:, 1:],
            low=torch.minimum(low, high),
            high=torch.maximum(low, high),
        )
        return torch.where(turned[:, None, None, None], pictures.flip(3), pictures), varied


def pose_loss(logits: Tensor, numbers: Tensor, poses: Poses) -> Tensor:
    """What is minimised.

    Args:
        logits: Of the azimuth's bins. (B, BINS).
        numbers: The rest, as `Poses.numbers`. (B, 11).
        poses: The true ones.
    """
    apart = azimuths()[None] - poses.azimuth[:, None]
    target = torch.softmax(-(apart / SPREAD).square() / 2, dim=1).to(logits)
    azimuth = -(target * logits.log_softmax(1)).sum(1).mean()
    camera, box = numbers.split((OF_CAMERA, OF_BOX), dim=1)
    true_camera, true_box = poses.numbers().to(numbers).split((OF_CAMERA, OF_BOX), dim=1)
    loss = azimuth + CAMERA * F.smooth_l1_loss(camera, true_camera, beta=ROBUST)
    loss = loss + BOX * F.smooth_l1_loss(box, true_box, beta=BOX_ROBUST)
    # Under the true camera's axes: a wrong azimuth has a loss of its own.
    read = replace(Poses.of_numbers(poses.azimuth, numbers), elevation=poses.elevation)
    framing = F.smooth_l1_loss(read.framing() / FRAMED, poses.framing() / FRAMED, beta=FRAMING_ROBUST)
    return loss + FRAMING * framing


@torch.no_grad()
def errors(model: PicturePose, posed: PosedPictures) -> dict[str, float]:
    """On pictures that it was not trained on, the azimuth's for objects whose sides differ.

    Returns:
        Degrees: median and mean of the azimuth's error, and the elevation's; shares: of pictures more than 10 degrees
        off, and of the crop's half side; world units: the mean of the box's six sides; longest sides: the means of how
        crop and box lie to one another, scale, middle and proportions.
    """
    device = next(model.parameters()).device
    parts = [model.poses(part.float().to(device) / 255) for part in posed.pictures.split(200)]
    names = ("azimuth", "elevation", "half", "low", "high")
    azimuth, elevation, half, low, high = (torch.cat([getattr(part, name) for part in parts]).cpu() for name in names)
    read = torch.cat([part.framing() for part in parts]).cpu()
    scale, middle, proportions = (read - posed.poses.framing()).abs().split((1, 2, 3), dim=1)
    off = (azimuth - posed.poses.azimuth).abs()[posed.sided]
    return {
        "azimuth_median": float(off.median()),
        "azimuth_mean": float(off.mean()),
        "azimuth_wrong": float((off > 10).float().mean()),
        "elevation": float((elevation - posed.poses.elevation).abs().mean()),
        "half": float((half / posed.poses.half - 1).abs().mean()),
        "box": float(torch.cat([low - posed.poses.low, high - posed.poses.high]).abs().mean()),
        "scale": float(scale.mean()),
        "middle": float(middle.mean()),
        "proportions": float(proportions.mean()),
    }


def train_picture_pose(paths: list[Path], folder: Path, settings: PicturePoseTraining, version: str) -> PicturePose:
    """Train until the budget is spent and write `folder/picture_pose`; the last file only measures."""
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    posed, unseen = PosedPictures(paths[:-1]), PosedPictures(paths[-1:])
    device = training_device()
    model = PicturePose().to(device, memory_format=torch.channels_last).train()  # a sixth faster on a CPU

    def loss() -> Tensor:
        pictures, poses = posed.varied(torch.randint(len(posed), (settings.batch,), generator=generator), generator)
        return pose_loss(*model(pictures.to(device, memory_format=torch.channels_last)), poses)

    measure = functools.partial(errors, posed=unseen)
    trained = train_lone("picture-pose", model, folder, settings, generator, loss, measure, memory=0.997)
    trained.save(folder / "picture_pose", version)
    return trained
