"""The built zips: what is inside, the same every time, and refused before Blender would refuse them."""

from __future__ import annotations

import hashlib
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import build_addon  # noqa: E402


@pytest.fixture(scope="module")
def zips(tmp_path_factory):
    try:
        return build_addon.build(
            tmp_path_factory.mktemp("dist"), build_addon.default_cache(), tuple(build_addon.PLATFORMS)
        )
    except build_addon.BuildError as error:
        if "cannot be fetched" in str(error):
            pytest.skip(f"no wheels: {error}")
        raise


def test_one_for_all_platforms_and_one_for_each(zips):
    assert [path.name.partition("-")[2] for path in zips] == [
        "0.1.0.zip",
        "0.1.0-linux_x64.zip",
        "0.1.0-windows_x64.zip",
        "0.1.0-macos_arm64.zip",
    ]


def test_the_zip_holds_code_protocol_licence_and_the_named_wheels_and_nothing_else(zips):
    for path in zips:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
            wheels = {name.removeprefix("./") for name in manifest["wheels"]}
            assert wheels == {name for name in names if name.startswith("wheels/")} and wheels
            assert {"__init__.py", "LICENSE", "protocol/__init__.py", "protocol/conversation.py"} <= names
            for name in names:
                assert "__pycache__" not in name and "\\" not in name and not name.startswith(("/", ".."))
                assert name.endswith((".py", ".toml", ".whl", "LICENSE")), name
            for source in (ROOT / "protocol").rglob("*.py"):
                vendored = archive.read(f"protocol/{source.relative_to(ROOT / 'protocol').as_posix()}")
                assert vendored == source.read_bytes(), "the protocol is carried verbatim"
    everything = zipfile.ZipFile(zips[0]).namelist()
    for version in ("cp311-cp311", "cp312-abi3"):
        assert sum("pyzmq" in name and version in name for name in everything) == 3


def test_the_same_source_gives_the_same_bytes(zips, tmp_path):
    again = build_addon.build(tmp_path, build_addon.default_cache(), ("linux-x64",))
    first = next(path for path in zips if "linux" in path.name)
    assert hashlib.sha256(again[0].read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest()


def test_blender_finds_every_zip_valid(zips):
    if build_addon.find_blender() is None:
        pytest.skip("no Blender at hand: set BLENDER")
    for path in zips:
        assert "valid" in build_addon.validate_with_blender(path)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("tagline", "Ends with a dot.", "tagline"),
        ("tagline", "x" * 65, "tagline"),
        ("name", "Dreamlift for Blender", "Blender"),
        ("version", "1", "version"),
        ("tags", ["AI"], "AI"),
        ("license", ["SPDX:MIT"], "license"),
        ("maintainer", "", "maintainer"),
        ("permissions", {"telepathy": "Reads minds"}, "telepathy"),
        ("permissions", {"network": "Talks."}, "network"),
    ],
)
def test_a_bad_manifest_is_refused_by_name(field, value, said):
    manifest = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text())
    build_addon.check_manifest(manifest)
    with pytest.raises(build_addon.BuildError, match=said):
        build_addon.check_manifest({**manifest, field: value})
