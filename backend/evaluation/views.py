"""Silhouette, depth and colour of a model from eight sides, all under the light that the prior was trained with.

Knows models and cameras. Knows no metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamlift.assets.normals import face_normals
from dreamlift.evaluation.models import Model
from dreamlift.rendering.cameras import orbit
from dreamlift.rendering.rasterization import rasterize
from dreamlift.training.render import shade

COUNT = 8
RESOLUTION = 128
ELEVATION, DISTANCE, FOVY = 15.0, 2.6, 40.0  # degrees, units of the longest side, degrees
FRONT, LEFT, BACK, RIGHT = 0, 2, 4, 6  # indices of the views at azimuth 0, 90, 180, 270


@dataclass(frozen=True)
class Views:
    """What eight cameras at azimuth 0, 45, ... see; they look at the middle of the bounding box.

    Args:
        mask: (8, R, R) bool.
        depth: (8, R, R) float32, units of the longest side, along the camera's axis; 0 where nothing is.
        colour: (8, R, R, 3) float32 sRGB in [0, 1], lit; 0 where nothing is.
    """

    mask: Tensor
    depth: Tensor
    colour: Tensor


def views_of(model: Model) -> Views:
    """Draw a model from the eight sides."""
    vertices = torch.from_numpy(model.vertices).clone()
    vertices[:, 2] -= (vertices[:, 2].max() + vertices[:, 2].min()) / 2
    faces = torch.from_numpy(model.faces)
    cameras = orbit([360.0 / COUNT * k for k in range(COUNT)], ELEVATION, DISTANCE, FOVY)
    raster = rasterize(vertices, faces, cameras, RESOLUTION)
    mask = raster.mask
    normals = torch.from_numpy(face_normals(model.vertices, model.faces)[0])
    colour = torch.zeros(*mask.shape, 3)
    colour[mask] = shade(model.albedo(raster), normals[raster.face_ids[mask].long()])
    return Views(mask, torch.where(mask, raster.depth, torch.zeros(())), colour)
