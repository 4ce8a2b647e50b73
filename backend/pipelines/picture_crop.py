"""How a picture and the object that it pulls at lie on one another: moved and scaled a little until they do.

What reads a picture's camera tells the scale within a few percent and the middle within a pixel. An object that is
pulled towards a picture that is too large by as much bulges, so picture and object are laid on one another while the
object forms: scale and shift of the picture follow the object's outline by gradient steps, held near where the picture
said. Knows two opacities and a camera's crop; knows no field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamlift.rendering.compositing import premultiplied, straight
from dreamlift.rendering.picture_camera import PictureCamera

PIXELS = 64  # a side, that the two weights below are measured in
SCALE, SHIFT = 0.03, 0.04  # standard deviations of a picture's scale (logarithm) and middle (half sides)
HELD = 10.0  # squared pixels that one standard deviation is worth
RATE, DECAY = 2e-3, (0.8, 0.95)  # of Adam: the object moves, too, so nothing is gained by hurrying


class Crop:
    """Scale and shift of one picture; at first none.

    Attributes:
        place: Logarithm of the scale by which the picture's frame is larger, and its shift right and down, half sides
            of the picture. (3,).
    """

    def __init__(self) -> None:
        self.place = torch.zeros(3, requires_grad=True)
        self._steps = torch.optim.Adam([self.place], RATE, DECAY)

    def of(self, picture: Tensor) -> Tensor:
        """The picture where the object lies: straight colour and opacity, (4, S, S) in [0, 1]; without gradient."""
        with torch.no_grad():
            return straight(self._moved(premultiplied(picture)))

    def fit(self, opacity: Tensor, own: Tensor) -> None:
        """One step towards where the picture covers what the object covers.

        Args:
            opacity: Of the picture, as it came. (S, S) in [0, 1].
            own: The object's, drawn under the picture's camera. (S, S) in [0, 1], without gradient.
        """
        with torch.enable_grad():
            apart = (self.moved(opacity) - own).square().mean() * PIXELS**2
            self._steps.zero_grad()
            (apart + HELD * self.held(SCALE, SHIFT).to(apart)).backward()
        self._steps.step()

    def moved(self, opacity: Tensor) -> Tensor:
        """A picture's opacity (S, S) where the object lies; differentiable in `place`."""
        return self._moved(opacity[None])[0]

    def held(self, scale: float, shift: float) -> Tensor:
        """How far scale and shift are from none, squared and summed, in units of their standard deviations."""
        return (self.place[0] / scale).square() + (self.place[1:] / shift).square().sum()

    def camera(self, read: PictureCamera) -> PictureCamera:
        """The camera that was read in the picture, its crop such that picture and object lie on one another."""
        scale, right, down = self.place.detach()
        factor = float(torch.exp(-scale))
        x, y = read.middle
        middle = x - read.half * factor * float(right), y + read.half * factor * float(down)
        return replace(read, middle=middle, half=read.half * factor)

    def _moved(self, picture: Tensor) -> Tensor:
        place = self.place.to(picture)
        scale, nothing = place[0].exp(), torch.zeros_like(place[0])
        frame = torch.stack([scale, nothing, place[1], nothing, scale, place[2]]).view(1, 2, 3)
        grid = F.affine_grid(frame, [1, *picture.shape], align_corners=False)
        return F.grid_sample(picture[None], grid, align_corners=False)[0]

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        kept = self._steps.state.get(self.place, {})
        moments = {f"crop_{name}": value for name, value in kept.items()}
        return {"crop_place": self.place.detach().clone(), **moments}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a checkpoint's; one that knows of no crop leaves it as it is."""
        own = {key.removeprefix("crop_"): value for key, value in state.items() if key.startswith("crop_")}
        if "place" not in own:
            return
        with torch.no_grad():
            self.place.copy_(own.pop("place"))
        if own:
            self._steps.state[self.place] = {name: torch.as_tensor(value).float().cpu() for name, value in own.items()}
