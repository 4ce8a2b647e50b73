"""Writing a finished asset as binary glTF 2.0.

Knows the asset and the file format. Knows no fields, baking or Blender.

glTF is right-handed, y up, front towards +z; ours is z up, front towards +x. Turning the axes round in a circle, world
(x, y, z) to glTF (y, z, x), is a rotation that does both. Blender's importer then shows the front towards -y.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image

import dreamlift
from dreamlift.assets.normals import corner_normals
from dreamlift.pipelines.context import Asset

FLOAT, UNSIGNED_INT, UNSIGNED_SHORT = 5126, 5125, 5123
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963


def write_glb(asset: Asset, path: str | os.PathLike) -> None:
    """Write one GLB file: positions, normals, UVs, a metallic-roughness material with an embedded PNG, provenance.

    Args:
        asset: What to write; units are metres in both.
        path: The file; replaced at once when complete, so that a reader never sees half of it.

    Raises:
        OSError: The place cannot be written to.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(glb_bytes(asset))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def glb_bytes(asset: Asset) -> bytes:
    """The content of the file that `write_glb` writes."""
    positions, normals, uvs, indices = _split_vertices(asset)
    binary = _Binary()
    attributes = {
        "POSITION": binary.accessor(positions, "VEC3", ARRAY_BUFFER, bounds=True),
        "NORMAL": binary.accessor(normals, "VEC3", ARRAY_BUFFER),
        "TEXCOORD_0": binary.accessor(uvs, "VEC2", ARRAY_BUFFER),
    }
    index_type = np.uint16 if len(positions) < 65535 else np.uint32
    primitive = {
        "attributes": attributes,
        "indices": binary.accessor(indices.astype(index_type), "SCALAR", ELEMENT_ARRAY_BUFFER),
        "material": 0,
        "mode": 4,
    }
    image = binary.view(png_bytes(asset.texture))
    name = asset.provenance.prompt.strip() or "Dreamlift object"
    document = {
        "asset": {
            "version": "2.0",
            "generator": f"Dreamlift {dreamlift.__version__}",
            "extras": {"dreamlift": _plain(dataclasses.asdict(asset.provenance))},
        },
        "scene": 0,
        "scenes": [{"name": name, "nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "meshes": [{"name": name, "primitives": [primitive]}],
        "materials": [_material(asset, name)],
        "textures": [{"sampler": 0, "source": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "images": [{"name": "Base Color", "mimeType": "image/png", "bufferView": image}],
        "accessors": binary.accessors,
        "bufferViews": binary.views,
        "buffers": [{"byteLength": len(binary.data)}],
    }
    return _container(document, bytes(binary.data))


def png_bytes(picture: np.ndarray) -> bytes:
    """An (H, W, 3) uint8 picture as a PNG file."""
    output = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(output, "PNG", compress_level=6)
    return output.getvalue()


def to_gltf_axes(vectors: np.ndarray) -> np.ndarray:
    """World vectors (..., 3), z up and front +x, in glTF's axes, y up and front +z."""
    return np.ascontiguousarray(vectors[..., [1, 2, 0]], dtype=np.float32)


def _material(asset: Asset, name: str) -> dict:
    return {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0},
            "metallicFactor": float(asset.metallic),
            "roughnessFactor": float(asset.roughness),
        },
    }


def _split_vertices(asset: Asset) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One glTF vertex for each (vertex, normal, UV) that occurs; positions stay shared as far as the format can."""
    normals = corner_normals(asset.vertices, asset.faces)
    # Compared after rounding: sums over a vertex's faces in another order differ in the last bits.
    parts = [
        asset.faces.reshape(-1, 1).astype(np.int64),
        np.round(normals.reshape(-1, 3) * 4096).astype(np.int64),
        np.round(asset.uvs.reshape(-1, 2) * (1 << 20)).astype(np.int64),
    ]
    key = np.ascontiguousarray(np.concatenate(parts, axis=1))
    _, first, inverse = np.unique(key.view(f"V{key.itemsize * 6}").ravel(), return_index=True, return_inverse=True)
    uvs = asset.uvs.reshape(-1, 2)[first] * np.array([1.0, -1.0]) + np.array([0.0, 1.0])  # glTF: origin top left
    positions = to_gltf_axes(asset.vertices[asset.faces.ravel()[first]])
    return positions, to_gltf_axes(normals.reshape(-1, 3)[first]), uvs.astype(np.float32), inverse.ravel()


class _Binary:
    """The GLB's buffer while it grows, with the views and accessors into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []

    def view(self, content: bytes, target: int | None = None) -> int:
        self.data.extend(b"\0" * (-len(self.data) % 4))
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view if target is None else {**view, "target": target})
        self.data.extend(content)
        return len(self.views) - 1

    def accessor(self, array: np.ndarray, kind: str, target: int, bounds: bool = False) -> int:
        component = {"float32": FLOAT, "uint32": UNSIGNED_INT, "uint16": UNSIGNED_SHORT}[array.dtype.name]
        view = self.view(np.ascontiguousarray(array).tobytes(), target)
        accessor = {"bufferView": view, "componentType": component, "count": len(array), "type": kind}
        if bounds:
            accessor["min"] = [float(x) for x in array.min(axis=0)]
            accessor["max"] = [float(x) for x in array.max(axis=0)]
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _container(document: dict, binary: bytes) -> bytes:
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def _plain(value):
    """Provenance as JSON: settings may hold numpy numbers, tuples and enums."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
