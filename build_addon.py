"""Build the Blender extension: one zip for all platforms and one for each, with wheels and the protocol inside.

    python build_addon.py                      build into dist/, check, and validate with Blender if one is at hand
    python build_addon.py --platform linux-x64 only that one (no wheels of other platforms are fetched)

Wheels come unmodified from PyPI through pip and are kept in a cache. The output is the same for the same input, byte by
byte. Needs nothing but Python 3.11 and pip.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ADDON = ROOT / "blender_addon"
PROTOCOL = ROOT / "protocol"

PLATFORMS = {  # Blender's name to what pip calls it, newest first
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_11_0_universal2", "macosx_10_15_universal2"),
}
# Blender 4.5 and 5.0 have Python 3.11, 5.1 and 5.2 have 3.13, Debian's 5.2 has 3.14. Blender takes a wheel of its own
# Python version, or an abi3 wheel of an older one.
WHEELS = (
    ("pyzmq==27.3.0", "3.11", "cp311"),
    ("pyzmq==27.3.0", "3.12", "abi3"),
    ("msgpack==1.2.4", "3.11", "cp311"),
    ("msgpack==1.2.4", "3.13", "cp313"),
    ("msgpack==1.2.4", "3.14", "cp314"),
)
TAGS = {"3D View", "Add Mesh", "Import-Export", "Material", "Mesh", "Pipeline"}  # of Blender's list, those that fit
PERMISSIONS = {"files", "network", "clipboard", "camera", "microphone"}
LONGEST_LINE = 64  # of the tagline and of a permission's reason
_TIME = (1980, 1, 1, 0, 0, 0)
_SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?\Z")


class BuildError(Exception):
    """The extension cannot be built; the message says what to do."""


@dataclass(frozen=True)
class Wheel:
    """A wheel file and the platform it is for."""

    path: Path
    platform: str


def main() -> int:
    """Parse the command line and build. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zips (dist)")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder that keeps wheels (%(default)s)")
    parser.add_argument("--platform", action="append", choices=PLATFORMS, help="build for this platform only")
    parser.add_argument("--no-validate", action="store_true", help="do not look for a Blender to validate with")
    arguments = parser.parse_args()
    try:
        for path in build(arguments.out, arguments.cache, tuple(arguments.platform or PLATFORMS)):
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
            if not arguments.no_validate:
                print(f"  {validate_with_blender(path)}")
    except BuildError as error:
        print(f"build_addon: {error}", file=sys.stderr)
        return 1
    return 0


def default_cache() -> Path:
    """Where wheels are kept between builds."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dreamlift-wheels"


def build(out: Path, cache: Path, platforms: tuple[str, ...]) -> list[Path]:
    """Build the zips.

    Args:
        out: Folder for them; made where it is missing.
        cache: Folder that keeps wheels.
        platforms: Keys of `PLATFORMS`; more than one also gives a zip for all of them.

    Returns:
        The zips, the one for all platforms first.

    Raises:
        BuildError: A wheel cannot be fetched, or the manifest is not what Blender takes.
    """
    manifest = (ADDON / "blender_manifest.toml").read_text(encoding="utf-8")
    check_manifest(tomllib.loads(manifest))
    wheels = [Wheel(path, platform) for platform in platforms for path in fetch_wheels(platform, cache)]
    out.mkdir(parents=True, exist_ok=True)
    name = "{id}-{version}".format(**tomllib.loads(manifest))
    sets = [(f"{name}.zip", platforms)] if len(platforms) > 1 else []
    sets += [(f"{name}-{platform.replace('-', '_')}.zip", (platform,)) for platform in platforms]
    return [_write_zip(out / file, manifest, wheels, chosen) for file, chosen in sets]


def fetch_wheels(platform: str, cache: Path) -> list[Path]:
    """All wheels of one platform, from the cache or from PyPI.

    Raises BuildError with pip's last line where one cannot be had.
    """
    folder = cache / platform
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for requirement, python, abi in WHEELS:
        name, version = requirement.split("==")
        tag = f"cp{python.replace('.', '')}-{abi}"
        pattern = f"{name}-{version}-{tag}-*.whl"
        if not list(folder.glob(pattern)):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", f"--abi={abi}"]
            command += [f"--platform={each}" for each in PLATFORMS[platform]]
            done = subprocess.run([*command, f"--dest={folder}", requirement], capture_output=True, text=True)
            if done.returncode:
                reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
                raise BuildError(f"{requirement} for {platform} ({tag}) cannot be fetched: {reason}")
        wheels = sorted(folder.glob(pattern))
        if len(wheels) != 1:
            raise BuildError(f"{folder} has {len(wheels)} files {pattern}, must have one; empty the folder.")
        found += wheels
    return found


def check_manifest(manifest: dict) -> None:
    """What Blender's validator refuses, said before anything is fetched. Raises BuildError naming the field."""
    problems = []
    for field in ("schema_version", "id", "version", "name", "tagline", "maintainer", "type", "license"):
        if not manifest.get(field):
            problems.append(f"{field} is missing")
    if not _SEMVER.match(manifest.get("version", "")):
        problems.append(f"version {manifest.get('version')!r} must look like 1.2.3")
    if "blender" in manifest.get("name", "").lower():
        problems.append("name may not contain 'Blender' (terms of the platform)")
    lines = {"tagline": manifest.get("tagline", "")}
    for permission, reason in manifest.get("permissions", {}).items():
        if permission not in PERMISSIONS:
            problems.append(f"permission {permission!r} does not exist")
        lines[f"permissions.{permission}"] = reason
    for field, line in lines.items():
        if not 1 <= len(line) <= LONGEST_LINE or not line[-1].isalnum():
            problems.append(f"{field} must have 1 to {LONGEST_LINE} characters and no punctuation at its end: {line!r}")
    for tag in set(manifest.get("tags", [])) - TAGS:
        problems.append(f"tag {tag!r} is not in Blender's list")
    if manifest.get("license") != ["SPDX:GPL-3.0-or-later"]:
        problems.append("license must be GPL-3.0-or-later: an add-on is part of Blender while it runs")
    code = (ADDON / "state.py").read_text(encoding="utf-8")
    if f'VERSION = "{manifest.get("version")}"' not in code:
        problems.append("version differs from VERSION in blender_addon/state.py")
    if problems:
        raise BuildError("blender_manifest.toml: " + "; ".join(problems))


def validate_with_blender(path: Path) -> str:
    """Ask Blender itself, if one is at hand; says what came of it. Raises BuildError where Blender refuses the zip."""
    command = find_blender()
    if command is None:
        return "not validated: no Blender (set BLENDER)"
    command += ["--factory-startup", "-b", "--command", "extension", "validate", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
    if done.returncode:
        raise BuildError(f"Blender refuses {path.name}:\n{done.stdout}{done.stderr}")
    return "Blender finds it valid"


def find_blender() -> list[str] | None:
    """How to run Blender: $BLENDER, `blender` on PATH, or the box beside this repository; None without one."""
    if os.environ.get("BLENDER"):
        return os.environ["BLENDER"].split()
    if shutil.which("blender"):
        return ["blender"]
    box = ROOT.parent / "shared" / "tools" / "blender-box"
    installed = Path(os.environ.get("BLENDER_BOX_DIR") or Path.home() / ".cache" / "blender-box") / "sid"
    return [str(box), "run"] if box.exists() and (installed / "usr/bin/blender").exists() else None


def _write_zip(path: Path, manifest: str, wheels: list[Wheel], platforms: tuple[str, ...]) -> Path:
    # A universal2 wheel and the like may serve two platforms: the same file name goes in once.
    chosen = {wheel.path.name: wheel.path for wheel in wheels if wheel.platform in platforms}
    files = {str(source.relative_to(ADDON)): source.read_bytes() for source in _sources(ADDON)}
    files |= {f"protocol/{source.relative_to(PROTOCOL)}": source.read_bytes() for source in _sources(PROTOCOL)}
    files |= {f"wheels/{name}": source.read_bytes() for name, source in chosen.items()}
    files["blender_manifest.toml"] = _complete(manifest, platforms, sorted(chosen)).encode()
    unfinished = path.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name.replace(os.sep, "/"), _TIME)
            info.external_attr = 0o644 << 16
            # A wheel is compressed already.
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".whl") else zipfile.ZIP_DEFLATED
            archive.writestr(info, files[name])
    os.replace(unfinished, path)
    return path


def _sources(folder: Path) -> list[Path]:
    """What belongs into the zip: code, manifest and licence; no caches."""
    kept = (".py", ".toml", "LICENSE")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name.endswith(kept) and "__pycache__" not in path.parts
    )


def _complete(manifest: str, platforms: tuple[str, ...], wheels: list[str]) -> str:
    """Put platforms and wheels before the first table: in TOML what follows a table's head belongs to it."""
    lines = [f"platforms = [{', '.join(repr(each) for each in platforms)}]", "wheels = ["]
    lines += [f'  "./wheels/{name}",' for name in wheels]
    head, table, rest = manifest.partition("\n[")
    return f"{head}\n" + "\n".join([*lines, "]"]).replace("'", '"') + f"\n{table}{rest}"


if __name__ == "__main__":
    sys.exit(main())
