"""Trains the network that reads from where a picture was taken. Resumes.

The azimuth is learnt as a distribution over bins, the true one spread a little, so that pictures of objects that look
alike from several sides may say so; elevation, crop and distance as numbers, by a robust loss.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..priors.picture_pose import PicturePose, Poses, azimuths
from .runner import AveragedModel, Clock, cosine, load_run, save_run, training_device

log = logging.getLogger(__name__)

SPREAD = 4.0  # degrees by which the true azimuth is spread over the bins, standard deviation
ROBUST = 0.3  # in the units of `Poses.numbers`: beyond it an error counts by its size, no longer by its square
NUMBERS = 1.5  # weight of the numbers beside the azimuth's


@dataclass(frozen=True)
class PicturePoseTraining:
    """Settings of a run.

    Args:
        seconds: Budget on the clock, over all sessions.
        batch: Pictures a step.
        learning_rate: Peak of AdamW.
    """

    seconds: float = 900.0
    batch: int = 48
    learning_rate: float = 1.5e-3
    seed: int = 7


class PosedPictures:
    """All pictures of some files in memory.

    Args:
        paths: As `posed_pictures.ensure_posed` returns them.
    """

    def __init__(self, paths: list[Path]):
        files = [dict(np.load(path, allow_pickle=False)) for path in paths]
        whole = {name: torch.from_numpy(np.concatenate([file[name] for file in files])) for name in files[0]}
        self.pictures, self.sided = whole.pop("pictures"), whole.pop("sided")
        self.poses = Poses(**whole)

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Tensor) -> tuple[Tensor, Poses]:
        """Cut-outs (B, 4, 64, 64) in [0, 1] and their poses."""
        return self.pictures[index].float() / 255, Poses(*(value[index] for value in vars(self.poses).values()))


def pose_loss(logits: Tensor, numbers: Tensor, poses: Poses) -> Tensor:
    """What is minimised.

    Args:
        logits: Of the azimuth's bins. (B, BINS).
        numbers: The rest, as `Poses.numbers`. (B, 5).
        poses: The true ones.
    """
    apart = azimuths()[None] - poses.azimuth[:, None]
    target = torch.softmax(-(apart / SPREAD).square() / 2, dim=1).to(logits)
    azimuth = -(target * logits.log_softmax(1)).sum(1).mean()
    return azimuth + NUMBERS * F.smooth_l1_loss(numbers, poses.numbers().to(numbers), beta=ROBUST)


@torch.no_grad()
def errors(model: PicturePose, posed: PosedPictures) -> dict[str, float]:
    """On pictures that it was not trained on, the azimuth's for objects whose sides differ.

    Returns:
        Degrees: median and mean of the azimuth's error, and the elevation's; shares: of pictures more than 10 degrees
        off, and of the crop's half side.
    """
    device = next(model.parameters()).device
    parts = [model.poses(part.float().to(device) / 255) for part in posed.pictures.split(200)]
    azimuth, elevation, half = (
        torch.cat([getattr(part, name) for part in parts]).cpu() for name in ("azimuth", "elevation", "half")
    )
    off = (azimuth - posed.poses.azimuth).abs()[posed.sided]
    return {
        "azimuth_median": float(off.median()),
        "azimuth_mean": float(off.mean()),
        "azimuth_wrong": float((off > 10).float().mean()),
        "elevation": float((elevation - posed.poses.elevation).abs().mean()),
        "half": float((half / posed.poses.half - 1).abs().mean()),
    }


def train_picture_pose(paths: list[Path], folder: Path, settings: PicturePoseTraining, version: str) -> PicturePose:
    """Train until the budget is spent and write `folder/picture_pose`; the last file only measures."""
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    posed, unseen = PosedPictures(paths[:-1]), PosedPictures(paths[-1:])
    device = training_device()
    model = PicturePose().to(device).train()
    average = AveragedModel(model, 0.997)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=0.05, fused=True)
    checkpoint = folder / "picture-pose-training.pt"
    step, spent = load_run(checkpoint, model, average, optimizer)
    generator.manual_seed(settings.seed + step)
    clock, saved = Clock(settings.seconds, spent), spent
    while clock.fraction < 1:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * cosine(clock.fraction, step, 100)
        pictures, poses = posed.batch(torch.randint(len(posed), (settings.batch,), generator=generator))
        loss = pose_loss(*model(pictures.to(device)), poses)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        step += 1
        average.update(model, step)
        if clock.spent - saved > 60 or clock.fraction >= 1:
            saved = clock.spent
            save_run(checkpoint, model, average, optimizer, step, saved)
            found = {name: round(value, 3) for name, value in errors(average.model, unseen).items()}
            log.info("picture-pose: %d steps %.0f s, loss %.3f, unseen %s", step, saved, loss.item(), found)
    average.model.save(folder / "picture_pose", version)
    return average.model
