"""The process that cuts one picture out: what it writes, and that it bounds itself first."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dreamlift.workers.cut_out import cut_out


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def answer(data: bytes) -> tuple[dict, np.ndarray | None]:
    output = io.BytesIO()
    cut_out(data, 0.5, output)
    head, rest = output.getvalue().split(b"\n", 1)
    said = json.loads(head)
    if "error" in said:
        return said, None
    return said, np.frombuffer(rest, np.uint8).reshape(said["height"], said["width"], 4)


def wall_with_a_disc(side: int = 320) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return np.where((x**2 + y**2 < 0.3)[..., None], [200, 40, 30], [170, 172, 168]).astype(np.uint8)


def test_the_subject_is_opaque_and_outside_of_it_are_the_pictures_own_colours():
    pixels = wall_with_a_disc()
    said, rgba = answer(png(pixels))
    assert said["method"] == "plane" and said["remarks"] == []
    assert rgba[160, 160, 3] == 255 and rgba[2, 2, 3] == 0
    outside = rgba[..., 3] == 0
    np.testing.assert_array_equal(rgba[outside][:, :3], pixels[outside])


def test_what_is_no_picture_is_an_error_in_words():
    said, rgba = answer(b"GIF89a nonsense")
    assert rgba is None and said["error"]["code"] == "bad_image" and said["error"]["what"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_the_process_bounds_its_memory_before_it_opens_anything():
    code = """
import resource
from dreamlift.workers import cut_out
cut_out.limit_self()
assert resource.getrlimit(resource.RLIMIT_AS)[0] == cut_out.MEMORY_BYTES
assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
try:
    bytearray(cut_out.MEMORY_BYTES)
except MemoryError:
    print("bounded")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "bounded\n", done.stderr


def test_the_module_imports_nothing_heavy_before_its_limits():
    code = "import sys, dreamlift.workers.cut_out; print({'numpy', 'PIL', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stdout + done.stderr


def test_several_things_come_back_uncut_to_be_marked_by_hand():
    pixels = np.concatenate([wall_with_a_disc(), wall_with_a_disc()], 1)
    said, rgba = answer(png(pixels))
    assert said["method"] == "" and said["remarks"][0]["code"] == "several_subjects"
    np.testing.assert_array_equal(rgba[..., :3], pixels)
    assert not rgba[..., 3].any()
