# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished asset out of a GLB file: one mesh, one material, one embedded base colour picture.

Knows the part of glTF 2.0 that our own writer uses (triangles, float attributes, integer indices, JPEG or PNG in the
binary chunk, node transforms). Blender's import operator is not used because it makes new objects, changes the
selection and needs a file on disk. Nothing in the file is trusted: every offset and index is checked. Pure numpy.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAGIC = 0x46546C67  # "glTF"
JSON_CHUNK = 0x4E4F534A
BINARY_CHUNK = 0x004E4942
MAX_BYTES = 1 << 30
MAX_NODES = 1000  # a node may be named by many others, so that a small file could hold a tree without end
_COMPONENTS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_TRIANGLES = 4


class GlbError(ValueError):
    """The bytes are not a GLB of the kind we read; the message says which part and what it held."""


@dataclass(frozen=True)
class GlbAsset:
    """What a GLB held.

    Args:
        positions: (V, 3) float32, glTF axes (y up), metres, node transforms applied, vertices at one place merged.
        faces: (F, 3) int32 into `positions`.
        uvs: (F, 3, 2) float32 per corner, origin bottom left as in Blender; None where the file has none.
        picture: Encoded base colour file (JPEG or PNG), or None.
        picture_type: "image/jpeg" or "image/png"; empty without a picture.
        base_color: Factor on the picture, linear RGBA.
        roughness: 0 to 1.
        metallic: 0 to 1.
        extras: `asset.extras` of the file: where it came from.
    """

    positions: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray | None
    picture: bytes | None = None
    picture_type: str = ""
    base_color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    roughness: float = 1.0
    metallic: float = 1.0
    extras: Mapping[str, Any] = field(default_factory=dict)


def read_glb(data: bytes) -> GlbAsset:
    """Parse a GLB.

    Args:
        data: The whole file, at most 1 GiB.

    Raises:
        GlbError: A part is missing, out of bounds or of a kind we do not read; says which.
    """
    document, binary = _chunks(data)
    try:
        return _read(document, binary)
    except GlbError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        # Any value of the JSON may be of any kind; asking for each would be longer than the reader.
        raise GlbError(f"the JSON chunk is damaged: {type(error).__name__}: {error}") from error


def _read(document: dict, binary: memoryview) -> GlbAsset:
    primitive, transform = _only_primitive(document)
    attributes = primitive.get("attributes", {})
    if "POSITION" not in attributes:
        raise GlbError("the mesh has no POSITION attribute; is the file complete?")
    positions = _accessor(document, binary, attributes["POSITION"], "VEC3").astype(np.float32)
    positions = positions @ transform[:3, :3].T + transform[:3, 3]
    if "indices" in primitive:
        indices = _accessor(document, binary, primitive["indices"], "SCALAR").reshape(-1).astype(np.int64)
    else:
        indices = np.arange(len(positions))
    if not np.isfinite(positions).all():
        raise GlbError("a vertex is not a number")
    if indices.size % 3 or (indices.size and indices.max() >= len(positions)):
        raise GlbError(f"indices must be whole triangles below {len(positions)}; got {indices.size} indices")
    uvs = None
    if "TEXCOORD_0" in attributes:
        coordinates = _accessor(document, binary, attributes["TEXCOORD_0"], "VEC2").astype(np.float32)
        if len(coordinates) != len(positions):
            raise GlbError(f"TEXCOORD_0 has {len(coordinates)} entries, POSITION {len(positions)}; must be equal")
        uvs = coordinates[indices].reshape(-1, 3, 2)
        uvs[..., 1] = 1 - uvs[..., 1]  # glTF counts v from the top
    merged, faces, uvs = _merge(positions.astype(np.float32), indices.reshape(-1, 3), uvs)
    return GlbAsset(merged, faces, uvs, **_material(document, binary, primitive), extras=_extras(document))


def _chunks(data: bytes) -> tuple[dict, memoryview]:
    if len(data) > MAX_BYTES:
        raise GlbError(f"the file has {len(data)} bytes, at most {MAX_BYTES} are read")
    if len(data) < 20:
        raise GlbError(f"the file has {len(data)} bytes, a GLB has at least 20")
    magic, version, length = struct.unpack_from("<III", data, 0)
    if magic != MAGIC or version != 2 or length > len(data):
        raise GlbError(f"not a whole GLB 2 file: magic {magic:#x}, version {version}, {length} of {len(data)} bytes")
    view, at, document, binary = memoryview(data), 12, None, memoryview(b"")
    while at + 8 <= length:
        size, kind = struct.unpack_from("<II", data, at)
        if at + 8 + size > length:
            raise GlbError(f"a chunk of {size} bytes at {at} reaches past the end at {length}")
        chunk = view[at + 8 : at + 8 + size]
        if kind == JSON_CHUNK and document is None:
            try:
                document = json.loads(bytes(chunk))
            except (RecursionError, ValueError) as error:
                raise GlbError(f"the JSON chunk cannot be read: {error}") from error
        elif kind == BINARY_CHUNK:
            binary = chunk
        at += 8 + size + (-size % 4)
    if not isinstance(document, dict):
        raise GlbError("the file has no JSON chunk")
    return document, binary


def _entry(document: dict, kind: str, index: Any) -> dict:
    entries = document.get(kind)
    if not isinstance(entries, list) or not isinstance(index, int) or not 0 <= index < len(entries):
        raise GlbError(f"{kind}[{index}] does not exist")
    return entries[index]


def _view_bytes(document: dict, binary: memoryview, index: Any) -> tuple[memoryview, int]:
    view = _entry(document, "bufferViews", index)
    start, size = int(view.get("byteOffset", 0)), int(view.get("byteLength", 0))
    if view.get("buffer", 0) != 0 or start < 0 or size < 0 or start + size > len(binary):
        raise GlbError(f"bufferViews[{index}] covers bytes {start} to {start + size} of {len(binary)}")
    return binary[start : start + size], int(view.get("byteStride", 0))


def _accessor(document: dict, binary: memoryview, index: Any, shape: str) -> np.ndarray:
    """(count, width) array; integers that stand for [0, 1] become floats."""
    accessor = _entry(document, "accessors", index)
    kind, count, start = accessor.get("componentType"), accessor.get("count"), int(accessor.get("byteOffset", 0))
    if kind not in _COMPONENTS or accessor.get("type") != shape or "sparse" in accessor:
        raise GlbError(f"accessors[{index}] is {accessor.get('type')} of {kind}; must be a plain {shape}")
    dtype, width = np.dtype(_COMPONENTS[kind]), _WIDTHS[shape]
    data, stride = _view_bytes(document, binary, accessor.get("bufferView"))
    row = dtype.itemsize * width
    stride = stride or row
    if (
        not isinstance(count, int)
        or count < 0
        or start < 0
        or (count and start + stride * (count - 1) + row > len(data))
    ):
        raise GlbError(f"accessors[{index}] wants {count} rows of {row} bytes from {start}, its view has {len(data)}")
    array = np.ndarray((count, width), dtype.newbyteorder("<"), data, start, (stride, dtype.itemsize))
    if accessor.get("normalized") and dtype.kind == "u":
        return array.astype(np.float32) / np.iinfo(dtype).max
    return array


def _only_primitive(document: dict) -> tuple[dict, np.ndarray]:
    """The file's one primitive and the transform of the node that holds it."""
    found, visits = [], itertools.count(1)

    def visit(index: int, above: np.ndarray, depth: int) -> None:
        if depth > 32 or next(visits) > MAX_NODES:
            raise GlbError(f"nodes are nested deeper than 32 or are more than {MAX_NODES}; is there a loop?")
        node = _entry(document, "nodes", index)
        here = above @ _node_matrix(node)
        if "mesh" in node:
            found.extend((primitive, here) for primitive in _entry(document, "meshes", node["mesh"])["primitives"])
        for child in node.get("children", []):
            visit(child, here, depth + 1)

    for root in _entry(document, "scenes", document.get("scene", 0)).get("nodes", []):
        visit(root, np.eye(4), 0)
    triangles = [entry for entry in found if entry[0].get("mode", _TRIANGLES) == _TRIANGLES]
    if len(triangles) != 1:
        raise GlbError(f"the file has {len(triangles)} triangle meshes, must have exactly one")
    return triangles[0]


def _node_matrix(node: dict) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1.0, 1.0, 1.0)))[None, :]
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def _merge(positions: np.ndarray, faces: np.ndarray, uvs: np.ndarray | None):
    """Merge vertices at exactly one place: glTF doubles them along UV seams, Blender keeps UVs per corner."""
    keys = np.ascontiguousarray(positions + np.float32(0)).view(np.dtype((np.void, 12))).reshape(-1)  # -0.0 becomes 0.0
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    merged = inverse.reshape(-1)[faces].astype(np.int32)
    solid = (merged[:, 0] != merged[:, 1]) & (merged[:, 1] != merged[:, 2]) & (merged[:, 2] != merged[:, 0])
    return positions[first], merged[solid], None if uvs is None else uvs[solid]


def _material(document: dict, binary: memoryview, primitive: dict) -> dict:
    if "material" not in primitive:
        return {}
    rough = _entry(document, "materials", primitive["material"]).get("pbrMetallicRoughness", {})
    factor = tuple(float(value) for value in rough.get("baseColorFactor", (1, 1, 1, 1)))
    if len(factor) != 4:
        raise GlbError(f"baseColorFactor must be four numbers, not {len(factor)}")
    values = {
        "base_color": factor,
        "roughness": float(rough.get("roughnessFactor", 1.0)),
        "metallic": float(rough.get("metallicFactor", 1.0)),
    }
    if "baseColorTexture" in rough:
        texture = _entry(document, "textures", rough["baseColorTexture"].get("index"))
        picture = _entry(document, "images", texture.get("source"))
        data, _ = _view_bytes(document, binary, picture.get("bufferView"))
        kind = picture.get("mimeType", "")
        if kind not in ("image/png", "image/jpeg"):
            raise GlbError(f"the base colour picture is {kind!r}, must be image/png or image/jpeg")
        values.update(picture=bytes(data), picture_type=kind)
    return values


def _extras(document: dict) -> dict:
    extras = document.get("asset", {}).get("extras", {})
    return extras if isinstance(extras, dict) else {}
