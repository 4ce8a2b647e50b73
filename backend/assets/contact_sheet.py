"""A picture of a finished asset from eight sides, for people to look at.

Knows the asset as it is written to files: what the sheet shows is what the file holds. Knows no fields and no priors.
Metrics do not use it (`evaluation/views.py` draws for them).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from dreamlift.assets.normals import corner_normals
from dreamlift.pipelines.context import Asset
from dreamlift.rendering.cameras import Cameras, camera_rays, orbit
from dreamlift.rendering.rasterization import Raster, interpolate, rasterize

VIEWS = 8
COLUMNS = 4
FOVY = 28.0  # degrees; long lenses keep the proportions
ELEVATION = 18.0
TOP, BOTTOM = np.array([0.80, 0.81, 0.83]), np.array([0.62, 0.63, 0.65])  # background, linear light
KEY, FILL = np.array([-0.45, 0.65, 0.62]), np.array([0.75, 0.15, 0.45])  # towards the lights, in camera axes
AMBIENT_SKY, AMBIENT_GROUND, KEY_LIGHT, FILL_LIGHT, GLOSS = 0.62, 0.34, 0.52, 0.14, 0.06


def contact_sheet(asset: Asset, tile: int = 320, supersample: int = 2) -> np.ndarray:
    """Eight views, 45 degrees apart, first the front, with the prompt below.

    Args:
        asset: What to show.
        tile: Pixels a side of one view.
        supersample: Samples a pixel along each side; they are averaged.

    Returns:
        (2 tile + caption, 4 tile, 3) uint8 sRGB.
    """
    scene = _Scene(asset)
    cameras = orbit([360.0 / VIEWS * k for k in range(VIEWS)], ELEVATION, scene.distance, FOVY)
    tiles = [scene.view(cameras[k : k + 1], tile, supersample) for k in range(VIEWS)]
    rows = [np.concatenate(tiles[k : k + COLUMNS], axis=1) for k in range(0, VIEWS, COLUMNS)]
    return np.concatenate([*rows, _caption(asset, tile * COLUMNS, tile)], axis=0)


def sample_texture(texture: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """Bilinear lookup, clamped at the edges: (S, S, 3) uint8 at uvs (P, 2), origin bottom left -> (P, 3) in [0, 1]."""
    size = np.array([texture.shape[1], texture.shape[0]])
    place = np.clip(np.stack([uvs[:, 0], 1 - uvs[:, 1]], axis=1) * size - 0.5, 0, size - 1)
    low = np.minimum(place.astype(np.int64), size - 2)
    x, y = (place - low).astype(np.float32).T[..., None]
    column, row = low.T
    texels = [texture[row + j, column + i].astype(np.float32) for j in (0, 1) for i in (0, 1)]
    upper, lower = texels[0] * (1 - x) + texels[1] * x, texels[2] * (1 - x) + texels[3] * x
    return (upper * (1 - y) + lower * y) / 255


class _Scene:
    """The asset in a unit ball around the origin, and the shadow it throws on the ground below."""

    def __init__(self, asset: Asset):
        low, high = asset.vertices.min(axis=0), asset.vertices.max(axis=0)
        vertices = asset.vertices - (low + high) / 2
        vertices = vertices / max(float(np.linalg.norm(vertices, axis=1).max()), 1e-9)
        self.asset = asset
        self.vertices = torch.from_numpy(vertices.astype(np.float32))
        self.faces = torch.from_numpy(np.ascontiguousarray(asset.faces))
        self.normals = torch.from_numpy(corner_normals(vertices, asset.faces))
        self.uvs = torch.from_numpy(np.ascontiguousarray(asset.uvs))
        self.ground = float(vertices[:, 2].min())
        self.distance = 1.08 / math.sin(math.radians(FOVY / 2))
        self.shadow = self._shadow_map()

    def _shadow_map(self, size: int = 192, extent: float = 1.6) -> tuple[np.ndarray, float]:
        """Darkness of the ground seen from above, denser where the object is near: an overcast sky's soft shadow."""
        distance = 60.0  # nearly parallel rays
        camera = orbit([0.0], 89.999, distance, 2 * math.degrees(math.atan(extent / distance)))
        flipped = self.vertices * torch.tensor([1.0, 1.0, -1.0])  # from below: the heights next to the ground count
        depth = rasterize(flipped, self.faces, camera, size).depth[0].numpy()
        height = np.where(np.isfinite(depth), depth - distance - self.ground, np.inf)
        density = np.zeros_like(height)
        for blur, reach in ((2.0, 0.06), (6.0, 0.25), (16.0, 0.8)):
            density += 0.34 * ndimage.gaussian_filter(np.exp(-np.maximum(height, 0) / reach), blur)
        return np.clip(density, 0, 0.8).astype(np.float32), extent

    def view(self, camera: Cameras, tile: int, supersample: int) -> np.ndarray:
        """One view, (tile, tile, 3) uint8 sRGB."""
        side = tile * supersample
        raster = rasterize(self.vertices, self.faces, camera, side)
        image = self._backdrop(camera, side)
        image[raster.mask[0].numpy()] = self._shaded(raster, camera)
        image = image.reshape(tile, supersample, tile, supersample, 3).mean(axis=(1, 3))
        return np.round(_to_srgb(image) * 255).astype(np.uint8)

    def _shaded(self, raster: Raster, camera: Cameras) -> np.ndarray:
        mask = raster.mask
        normal = interpolate(raster, self.faces, self.normals)[mask].numpy()
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        uv = interpolate(raster, self.faces, self.uvs)[mask].numpy()
        albedo = _to_linear(sample_texture(self.asset.texture, uv))
        axes = camera.c2w[0, :3, :3].numpy()
        key, fill = (axes @ (light / np.linalg.norm(light)) for light in (KEY, FILL))
        sky = AMBIENT_GROUND + (AMBIENT_SKY - AMBIENT_GROUND) * (normal[:, 2:] * 0.5 + 0.5)
        light = sky + KEY_LIGHT * _wrapped(normal @ key) + FILL_LIGHT * _wrapped(normal @ fill)
        half = key + axes[:, 2]
        half /= np.linalg.norm(half)
        shine = GLOSS * np.maximum(normal @ half, 0)[:, None] ** (4 / max(self.asset.roughness, 0.1) ** 2)
        return np.clip(albedo * light + shine, 0, 1)

    def _backdrop(self, camera: Cameras, side: int) -> np.ndarray:
        share = np.linspace(0, 1, side)[:, None, None]
        image = np.broadcast_to(TOP * (1 - share) + BOTTOM * share, (side, side, 3)).copy()
        origins, directions = (t[0].numpy() for t in camera_rays(camera, side))
        down = directions[..., 2] < -1e-4
        reach = (self.ground - origins[..., 2]) / np.where(down, directions[..., 2], -1.0)
        point = origins[..., :2] + directions[..., :2] * reach[..., None]
        density, extent = self.shadow
        # The map's camera hangs over the flipped object with +x at its lower edge and +y at its right.
        row, column = ((1 + point[..., k] / extent) / 2 * len(density) - 0.5 for k in (0, 1))
        dark = ndimage.map_coordinates(density, [row, column], order=1, mode="constant")
        return image * np.where(down, 1 - dark, 1)[..., None]


def _wrapped(cosine: np.ndarray) -> np.ndarray:
    """Light that reaches a little around the horizon: soft, as from a large lamp."""
    return np.maximum((cosine + 0.25) / 1.25, 0)[:, None] ** 1.3


def _to_linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _caption(asset: Asset, width: int, tile: int) -> np.ndarray:
    height = max(24, tile // 7)
    strip = Image.new("RGB", (width, height), (250, 250, 250))
    draw = ImageDraw.Draw(strip)
    margin, middle = height // 3, height // 2
    facts = f"{len(asset.faces):,} triangles   seed {asset.provenance.seed}   {asset.provenance.weights}"
    small = ImageFont.load_default(height * 0.36)
    draw.text((width - margin, middle), facts, (120, 120, 125), small, anchor="rm")
    font = ImageFont.load_default(height * 0.48)
    room = width - 3 * margin - draw.textlength(facts, small)
    text = asset.provenance.prompt or "(no prompt)"
    while len(text) > 2 and draw.textlength(text, font) > room:
        text = text[:-2].rstrip(".") + "."
    draw.text((margin, middle), text, (35, 35, 40), font, anchor="lm")
    return np.asarray(strip)
