"""Pictures of a model as measures compare them: smooth edges, one light for the asset and the truth.

Knows models and cameras. Knows no measure. `evaluation/views.py` draws the hard-edged views that Janus is judged by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamlift.assets.normals import corner_normals
from dreamlift.evaluation.models import Model
from dreamlift.evaluation.views import COUNT, DISTANCE, ELEVATION, FOVY
from dreamlift.rendering.cameras import Cameras, orbit
from dreamlift.rendering.rasterization import Raster, interpolate, rasterize
from dreamlift.training.render import shade

SIZE = 256  # pixels
SUPERSAMPLE = 2


@dataclass(frozen=True)
class Pictures:
    """N pictures of one model; colours are premultiplied by alpha.

    Args:
        lit: Base colour under the training light. (N, 3, S, S) sRGB in [0, 1].
        unlit: Base colour alone. (N, 3, S, S) sRGB in [0, 1].
        alpha: Share of each pixel that the model covers. (N, S, S) in [0, 1].
        normals: Unit length, world axes; 0 where the model covers less than a whole pixel. (N, 3, S, S).
    """

    lit: Tensor
    unlit: Tensor
    alpha: Tensor
    normals: Tensor

    @property
    def mask(self) -> Tensor:
        """Pixels that are covered by half or more. (N, S, S) bool."""
        return self.alpha >= 0.5

    @property
    def whole(self) -> Tensor:
        """Pixels that are covered altogether. (N, S, S) bool."""
        return self.alpha >= 1 - 1e-4

    def over(self, grey: float) -> Tensor:
        """The lit pictures on a plain background, (N, 3, S, S)."""
        return self.lit + (1 - self.alpha[:, None]) * grey


def novel_cameras() -> Cameras:
    """Eight cameras around a model in the convention of `evaluation.models`, looking at the middle of the unit box."""
    return raised(orbit([360.0 / COUNT * k for k in range(COUNT)], ELEVATION, DISTANCE, FOVY), 0.5)


def raised(cameras: Cameras, height: float) -> Cameras:
    """The same cameras, higher up."""
    c2w = cameras.c2w.clone()
    c2w[:, 2, 3] += height
    return Cameras(c2w, cameras.fovy)


def pictures_of(model: Model, cameras: Cameras, size: int = SIZE) -> Pictures:
    """Draw a model, smooth where it is curved and sharp at its edges, as its file is shown.

    Args:
        model: What to draw.
        cameras: N cameras in the model's coordinates.
        size: Height and width, pixels.
    """
    vertices = torch.from_numpy(np.ascontiguousarray(model.vertices))
    faces = torch.from_numpy(np.ascontiguousarray(model.faces))
    corners = torch.from_numpy(corner_normals(model.vertices, model.faces))
    raster = rasterize(vertices, faces, cameras, size * SUPERSAMPLE)
    each = [_picture(model, faces, corners, _one(raster, k)) for k in range(len(cameras))]
    lit, unlit, direction, alpha = torch.stack(each).split((3, 3, 3, 1), dim=1)
    direction = F.normalize(direction, dim=1) * (alpha >= 1 - 1e-4)
    return Pictures(lit, unlit, alpha[:, 0], direction)


def _one(raster: Raster, k: int) -> Raster:
    return Raster(raster.face_ids[k : k + 1], raster.barycentrics[k : k + 1], raster.depth[k : k + 1])


def _picture(model: Model, faces: Tensor, corners: Tensor, raster: Raster) -> Tensor:
    """Lit and unlit colour, normal and alpha of one camera, (10, S, S); one at a time, as they are large."""
    mask = raster.mask[0]
    normals = F.normalize(interpolate(raster, faces, corners)[0][mask], dim=-1)
    albedo = model.albedo(raster)
    values = torch.zeros(10, *mask.shape)
    values[:, mask] = torch.cat([shade(albedo, normals), albedo, normals, torch.ones(len(albedo), 1)], dim=-1).T
    return F.avg_pool2d(values, SUPERSAMPLE)
