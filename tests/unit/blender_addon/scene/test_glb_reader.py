"""The GLB reader reads what our writer writes, and refuses everything damaged with a sentence."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamlift.assets.glb import glb_bytes
from dreamlift.pipelines.context import Asset, Provenance

ROOT = Path(__file__).resolve().parents[4]


def load(name: str):
    """A module of scene/ that needs no bpy, without its siblings."""
    full = f"addon_scene_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, ROOT / "blender_addon" / "scene" / f"{name}.py")
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


reader, placement = load("glb_reader"), load("placement")


def tetrahedron() -> Asset:
    vertices = np.array([[0.5, 0, 0], [-0.25, 0.4, 0], [-0.25, -0.4, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
    uvs = np.random.default_rng(0).random((4, 3, 2)).astype(np.float32)
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32] = 255
    made = Provenance("mvdream", "mini", "a thing", "", 5, "w", "CC0-1.0", True, "0", 1.0, {"steps": 3})
    return Asset(vertices, faces, uvs, texture, made, roughness=0.4, metallic=0.1)


def test_what_our_writer_wrote_comes_back():
    asset = tetrahedron()
    read = reader.read_glb(glb_bytes(asset))
    world = placement.from_gltf(read.positions)
    assert len(world) == 4 and len(read.faces) == 4, "the seams' double vertices are merged"
    np.testing.assert_allclose(
        np.sort(world[read.faces].reshape(4, 9), axis=0),
        np.sort(asset.vertices[asset.faces].reshape(4, 9), axis=0),
        atol=1e-6,
    )
    order = [np.argmin(np.abs(world[read.faces] - asset.vertices[face]).sum((1, 2))) for face in asset.faces]
    np.testing.assert_allclose(read.uvs[order], asset.uvs, atol=1e-5)
    assert read.picture.startswith(b"\x89PNG") and read.picture_type == "image/png"
    assert (read.roughness, read.metallic) == (pytest.approx(0.4), pytest.approx(0.1))
    assert read.extras["dreamlift"]["prompt"] == "a thing"


def test_the_front_of_a_preview_and_of_the_asset_face_the_same_way():
    asset = tetrahedron()  # its tip at +x is the front
    read = reader.read_glb(glb_bytes(asset))
    from_result = placement.stand(placement.from_gltf(read.positions), 2.0)
    from_preview = placement.stand(asset.vertices * 0.3 + np.float32(0.1), 2.0)
    assert from_preview[0, 1] == pytest.approx(from_preview[:, 1].min()), "the front is at -y"
    np.testing.assert_allclose(np.sort(from_result, axis=0), np.sort(from_preview, axis=0), atol=1e-5)


def test_an_object_stands_on_its_origin_at_the_asked_size():
    placed = placement.stand(np.random.default_rng(1).random((50, 3)).astype(np.float32), 2.5)
    extent = placed.max(0) - placed.min(0)
    assert extent.max() == pytest.approx(2.5) and placed[:, 2].min() == 0
    np.testing.assert_allclose((placed.max(0) + placed.min(0))[:2], 0, atol=1e-6)
    assert placement.stand(np.zeros((0, 3), np.float32), 1.0).shape == (0, 3)
    assert np.isfinite(placement.stand(np.ones((3, 3), np.float32), 1.0)).all()


def changed(edit) -> bytes:
    """The file with its JSON edited."""
    data = glb_bytes(tetrahedron())
    size = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + size])
    edit(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    head = struct.pack("<III", 0x46546C67, 2, 20 + len(text) + len(rest))
    return head + struct.pack("<II", len(text), 0x4E4F534A) + text + rest


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["accessors"][0].update(count=10**9),
        lambda d: d["accessors"][0].update(byteOffset=-4),
        lambda d: d["accessors"][0].update(componentType=5120),
        lambda d: d["bufferViews"][0].update(byteLength=10**9),
        lambda d: d["bufferViews"][0].update(byteOffset=-1),
        lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("POSITION"),
        lambda d: d["meshes"][0]["primitives"][0].update(indices=99),
        lambda d: d["meshes"][0]["primitives"].append(d["meshes"][0]["primitives"][0]),
        lambda d: d["nodes"][0].update(children=[0]),
        lambda d: d["images"][0].update(mimeType="image/webp"),
        lambda d: d.pop("nodes"),
        lambda d: d["meshes"][0].pop("primitives"),
        lambda d: d["nodes"][0].update(children=7),
        lambda d: d["nodes"][0].update(rotation=[1]),
        lambda d: d.update(nodes=["x"]),
        lambda d: (
            d["nodes"].extend({"children": [k + 2, k + 2]} for k in range(30)) or d["nodes"][0].update(children=[1])
        ),
        lambda d: d["materials"][0]["pbrMetallicRoughness"].update(baseColorFactor=[1, 1]),
        lambda d: d["nodes"][0].update(translation=[float("nan"), 0, 0]),
    ],
)
def test_a_damaged_document_is_refused(edit):
    with pytest.raises(reader.GlbError):
        reader.read_glb(changed(edit))


def test_node_transforms_are_applied():
    read = reader.read_glb(changed(lambda d: d["nodes"][0].update(translation=[1, 2, 3], scale=[2, 2, 2])))
    plain = reader.read_glb(glb_bytes(tetrahedron()))
    np.testing.assert_allclose(np.sort(read.positions, 0), np.sort(plain.positions * 2 + [1, 2, 3], 0), atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_random_damage_raises_nothing_else(at, junk):
    data = bytearray(glb_bytes(tetrahedron()))
    data[at : at + len(junk)] = junk
    try:
        read = reader.read_glb(bytes(data))
    except reader.GlbError:
        return
    assert read.faces.size == 0 or read.faces.max() < len(read.positions)


@pytest.mark.parametrize("cut", [0, 3, 19, 40, -1])
def test_a_cut_off_file_is_refused(cut):
    with pytest.raises(reader.GlbError):
        reader.read_glb(glb_bytes(tetrahedron())[:cut])


def test_a_document_nested_without_end_is_refused():
    text = b"[" * 200_000
    head = struct.pack("<III", 0x46546C67, 2, 20 + len(text)) + struct.pack("<II", len(text), 0x4E4F534A)
    with pytest.raises(reader.GlbError, match="JSON"):
        reader.read_glb(head + text)
