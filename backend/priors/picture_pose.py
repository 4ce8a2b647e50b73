"""From where a cut-out picture was taken and what box its object fills, read from the picture alone.

So both are known before there is an object to compare the picture with. A small convolutional network, trained on what
the mini ImageDream was trained on: pictures of upright objects whose front is known, taken from the front half. It
tells the azimuth as a distribution, since a cube looks the same from four sides, and the rest as numbers. An addition
of ours to ImageDream, whose canonical cameras leave the picture's own unknown [systems.md 5.3]. Knows pictures; knows
no object, no field and no diffusion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from ..rendering.compositing import premultiplied
from ..rendering.picture_camera import PictureCamera
from .latent import read_model, write_folder

MINI_FOLDER = Path(__file__).parent.parent / "mini" / "picture_pose"
SIZE = 64  # pixels a side of what the network sees
BINS = 36  # of the azimuth from -90 to 90 degrees
NEAR = 2  # bins on either side of the likeliest that belong to the same answer
FRONT = (
    2.0  # e-folds by which a side a quarter turn from the front must be likelier: what looks alike is seen from there
)
FILL = 0.8  # of the square's side that the subject's longer side takes

# What the other numbers are about, and how far they spread: they are learnt in these units. First the camera's:
# elevation, right, up, half, logarithm of the distance; then the box's two corners.
_MIDDLE = (15.0, 0.0, 0.0, 0.8, 1.3, -0.4, -0.4, -0.5, 0.4, 0.4, 0.5)
_SPREAD = (12.0, 0.06, 0.06, 0.1, 0.28, *(0.12,) * 6)
OF_CAMERA, OF_BOX = 5, 6
NUMBERS = OF_CAMERA + OF_BOX
SHORTEST = 0.05  # world units that anything is taken for at least: an untrained network says anything


@dataclass(frozen=True)
class Poses:
    """Where N pictures were taken from, and the boxes along the axes around the objects that they show.

    All in the coordinates of those objects, front +x and up +z.

    Args:
        azimuth: Degrees, 0 in front, as `cameras.orbit`. (N,).
        elevation: Degrees above the horizon. (N,).
        middle: Of the picture, right of and above the origin, in the plane through it, world units. (N, 2).
        half: Half the picture's side in that plane, world units. (N,).
        distance: Of the camera from the origin, world units. (N,).
        low: Lowest corner of the box, world units. (N, 3).
        high: Highest corner. (N, 3).
    """

    azimuth: Tensor
    elevation: Tensor
    middle: Tensor
    half: Tensor
    distance: Tensor
    low: Tensor
    high: Tensor

    def numbers(self) -> Tensor:
        """All but the azimuth, in the units that are learnt: five of the camera, six of the box. (N, 11)."""
        camera = torch.stack([self.elevation, *self.middle.unbind(1), self.half, self.distance.log()], 1)
        values = torch.cat([camera, self.low, self.high], 1)
        return (values - torch.tensor(_MIDDLE).to(values)) / torch.tensor(_SPREAD).to(values)

    @classmethod
    def of_numbers(cls, azimuth: Tensor, numbers: Tensor) -> Self:
        """The poses with these azimuths, (N,), and `numbers`, (N, 11)."""
        values = numbers * torch.tensor(_SPREAD).to(numbers) + torch.tensor(_MIDDLE).to(numbers)
        box = values[:, OF_CAMERA:].split(3, dim=1)
        return cls(azimuth, values[:, 0], values[:, 1:3], values[:, 3], values[:, 4].exp(), *box)

    def framing(self) -> Tensor:
        """How the crop and the box lie to one another, in units of the box's longest side.

        Nobody can tell a large object from a close crop, but how much of the crop the object fills is seen exactly, and
        an object that is brought to a longest side of 1 keeps only that.

        Returns:
            Logarithm of the crop's half side; its middle, right of and above the box's; the box's three sides. (N, 6).
        """
        sides, centre = self.high - self.low, (self.high + self.low) / 2
        longest = sides.amax(1, keepdim=True).clamp_min(SHORTEST)
        across, along = self.azimuth.deg2rad(), self.elevation.deg2rad()
        right = torch.stack([-across.sin(), across.cos(), torch.zeros_like(across)], 1)
        up = torch.stack([-along.sin() * across.cos(), -along.sin() * across.sin(), along.cos()], 1)
        seen = torch.stack([(centre * right).sum(1), (centre * up).sum(1)], 1)
        crop = (self.half[:, None].clamp_min(SHORTEST) / longest).log()
        return torch.cat([crop, (self.middle - seen) / longest, sides / longest], 1)


class PicturePose(nn.Module):
    """Cut-outs to poses.

    Args:
        version: Of the weights, for reports.
    """

    name = "mini-picture-pose"

    def __init__(self, version: str = ""):
        super().__init__()
        self.version = version
        self.body = nn.Sequential(
            nn.Conv2d(4, 24, 4, 2, 1),
            nn.SiLU(),
            *(halved(before, after) for before, after in ((24, 48), (48, 96), (96, 128))),
            nn.Flatten(),
            nn.Linear(128 * (SIZE // 16) ** 2, 256),
            nn.SiLU(),
        )
        self.head = nn.Linear(256, BINS + NUMBERS)

    def forward(self, cut_outs: Tensor) -> tuple[Tensor, Tensor]:
        """What is learnt.

        Args:
            cut_outs: Colour multiplied by opacity, and opacity; the subject centred, its longer side `FILL` of the
                square. (N, 4, 64, 64) in [0, 1].

        Returns:
            Logits of the azimuth's bins, (N, BINS), and the other numbers as `Poses.numbers`, (N, 11).
        """
        return self.head(self.body(cut_outs)).split((BINS, NUMBERS), dim=1)

    @torch.no_grad()
    def poses(self, cut_outs: Tensor) -> Poses:
        """The likeliest pose of each, nearer to the front among alike ones; (N, 4, 64, 64) as for `forward`."""
        logits, numbers = self(cut_outs)
        shares, degrees = logits.softmax(1), azimuths().to(logits)
        preferred = shares * torch.exp(-FRONT * degrees.abs() / 90)
        answer = nn.functional.avg_pool1d(preferred[:, None], 2 * NEAR + 1, 1, NEAR).argmax(2)
        bins = torch.arange(BINS, device=answer.device)
        # The bins about the answer's own peak: with the front preferred, those just found end one too near to it.
        peak = (preferred * ((bins - answer).abs() <= NEAR)).argmax(1, keepdim=True)
        own = shares * ((bins - peak).abs() <= NEAR)
        azimuth = (own * degrees).sum(1) / own.sum(1)
        return Poses.of_numbers(azimuth, numbers)

    def read(self, picture: Tensor, distance: float) -> tuple[PictureCamera, Tensor]:
        """Of one picture the camera, to be bettered on an object, and the object's box.

        Args:
            picture: The cut-out, straight colour and opacity in [0, 1], its longer side `FILL` of the square;
                (4, S, S).
            distance: Of the camera, world units: the crop follows it, since the perspective tells it too roughly.

        Returns:
            The camera, and the lowest and the highest corner of the box, world units, (2, 3).
        """
        found = self.poses(seen_small(picture)[None])
        right, up = (found.middle[0] / distance).tolist()
        size = float(found.half) / distance
        camera = PictureCamera(float(found.azimuth), float(found.elevation), distance, (right, up), size)
        return camera, torch.cat([found.low, found.high])

    def save(self, folder: Path, version: str) -> None:
        """Write the weights in half precision with their version and hashes."""
        tensors = {key: value.half().contiguous() for key, value in self.state_dict().items()}
        write_folder(folder, tensors, {"name": self.name, "version": version})

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: The folder holds no weights.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        return read_model(folder, lambda about: cls(about["version"]))

    @classmethod
    def mini(cls) -> Self:
        """The embedded model."""
        return cls.from_folder(MINI_FOLDER)


def seen_small(picture: Tensor) -> Tensor:
    """A cut-out (4, S, S), straight colour, as the network takes it: premultiplied, (4, 64, 64)."""
    whole = premultiplied(picture)[None]
    if whole.shape[-1] != SIZE:
        whole = nn.functional.interpolate(whole, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    return whole[0]


def halved(before: int, after: int) -> nn.Sequential:
    """Layers that halve the pixels a side, from `before` to `after` channels; a multiple of 8."""
    layers: list[nn.Module] = []
    for channels, stride in ((before, 2), (after, 1)):
        layers += [nn.Conv2d(channels, after, 3, stride, 1, bias=False), nn.GroupNorm(8, after), nn.SiLU()]
    return nn.Sequential(*layers)


def azimuths() -> Tensor:
    """Middles of the azimuth's bins, degrees. (BINS,)."""
    width = 180 / BINS
    return torch.linspace(-90 + width / 2, 90 - width / 2, BINS)
