"""The GLB file: valid glTF that every viewer shows the right way up, the right way round and in the right colours."""

import functools
import json
import shutil
import struct
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import trimesh

from dreamlift.assets.contact_sheet import sample_texture
from dreamlift.assets.glb import glb_bytes, write_glb
from dreamlift.pipelines.context import Asset, Provenance

PROVENANCE = Provenance(
    pipeline="mvdream",
    preset="mini",
    prompt='a "red" mushroom – größer',
    negative_prompt="",
    seed=7,
    weights="mini-mvdream 1 (embedded)",
    licence="Apache-2.0",
    commercial_use=True,
    dreamlift="0.1.0",
    seconds=12.5,
    settings={"steps": np.int64(300), "range": (0.2, 0.8)},
)


def box_asset():
    """A box whose front (+x) is red, all else blue; half the texture each."""
    box = trimesh.creation.box((0.5, 0.8, 1.0))
    front = box.face_normals[:, 0] > 0.9
    corner = np.array([[0.1, 0.1], [0.4, 0.1], [0.1, 0.9]], np.float32)
    uvs = np.where(front[:, None, None], corner, corner + np.array([0.5, 0], np.float32)).astype(np.float32)
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:, :32], texture[:, 32:] = (255, 0, 0), (0, 0, 255)
    vertices = (box.vertices + np.array([0, 0, 0.5])).astype(np.float32)
    return Asset(vertices, box.faces.astype(np.int32), uvs, texture, PROVENANCE, roughness=0.6, metallic=0.1)


@functools.cache
def document():
    data = glb_bytes(box_asset())
    magic, version, total = struct.unpack_from("<III", data)
    length, kind = struct.unpack_from("<II", data, 12)
    assert (magic, version, total, kind) == (0x46546C67, 2, len(data), 0x4E4F534A)
    return json.loads(data[20 : 20 + length])


def test_trimesh_opens_it_without_a_warning_and_finds_the_mesh(tmp_path):
    path = tmp_path / "box.glb"
    write_glb(box_asset(), path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh = trimesh.load(path, force="mesh")
    assert mesh.visual.material.baseColorTexture.size == (64, 64)
    assert mesh.visual.material.roughnessFactor == 0.6 and mesh.visual.material.metallicFactor == 0.1
    # glTF: y up, front +z. World depth 0.5 (x), width 0.8 (y), height 1 (z).
    assert np.allclose(mesh.extents, [0.8, 1.0, 0.5], atol=1e-6)
    assert np.allclose(mesh.bounds[0], [-0.4, 0, -0.25], atol=1e-6)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight and mesh.volume == pytest.approx(0.4)
    assert list(tmp_path.iterdir()) == [path]


def test_the_front_is_red_and_looks_along_z(tmp_path):
    write_glb(box_asset(), tmp_path / "box.glb")
    mesh = trimesh.load(tmp_path / "box.glb", force="mesh", process=False)
    texture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
    for face, normal in zip(mesh.faces, mesh.face_normals, strict=True):
        # trimesh turns v back to a bottom-left origin, which is ours
        found = sample_texture(texture, mesh.visual.uv[face].mean(axis=0)[None])[0]
        assert np.allclose(found, (1, 0, 0) if normal[2] > 0.9 else (0, 0, 1))
        assert (mesh.vertex_normals[face] @ normal > 0.99).all()


def test_provenance_travels_in_the_extras():
    asset = document()["asset"]
    assert asset["generator"].startswith("Dreamlift ")
    known = asset["extras"]["dreamlift"]
    assert known["prompt"] == PROVENANCE.prompt and known["seed"] == 7 and known["commercial_use"] is True
    assert known["settings"] == {"steps": 300, "range": [0.2, 0.8]}


def test_views_are_aligned_and_say_what_they_are_for():
    views, accessors = document()["bufferViews"], document()["accessors"]
    assert all(view["byteOffset"] % 4 == 0 for view in views)
    position, index = accessors[0], accessors[3]
    assert position["min"] == pytest.approx([-0.4, 0, -0.25]) and index["componentType"] == 5123
    assert (
        24 <= position["count"] < 36
    )  # eight corners with three normals each, more where UVs part; never one a corner


def test_a_place_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(OSError):
        write_glb(box_asset(), tmp_path / "missing" / "box.glb")
    assert not list(tmp_path.iterdir())


def validator() -> Path:
    """The Khronos validator from npm, kept outside the checkout; skips where it cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("the glTF validator needs node and npm")
    folder = Path("~/.cache/dreamlift-tests/gltf-validator").expanduser()
    module = folder / "node_modules" / "gltf-validator"
    if not module.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "gltf-validator@2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            pytest.skip(f"npm could not install gltf-validator: {done.stderr.strip()[-200:]}")
    return module


def test_the_khronos_validator_finds_nothing(tmp_path):
    write_glb(box_asset(), tmp_path / "box.glb")
    script = (
        "const [, module, file] = process.argv;"
        "require(module).validateBytes(new Uint8Array(require('fs').readFileSync(file)))"
        ".then(r => console.log(JSON.stringify(r.issues)))"
    )
    command = ["node", "-e", script, str(validator()), str(tmp_path / "box.glb")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    issues = json.loads(done.stdout)
    assert issues["numErrors"] == issues["numWarnings"] == issues["numInfos"] == 0, issues["messages"]
