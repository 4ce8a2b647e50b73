"""The doctor looks at everything, says what to do where something is wrong, and never falls over."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest

from dreamlift import doctor
from dreamlift.doctor import Finding, examine


@pytest.fixture(scope="module")
def findings():
    return list(examine())


def test_every_finding_that_is_not_ok_says_what_to_do(findings):
    assert len(findings) >= 8
    assert not [finding for finding in findings if finding.level != "ok" and not finding.remedy]
    assert not [finding for finding in findings if not finding.what.strip()]


def test_names_are_told_apart(findings):
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    assert {"python", "torch", "warp", "memory", "disk"} <= set(names)


def test_a_python_that_is_too_old_is_a_problem(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert next(doctor.check_python()).level == "problem"


def test_full_disks_and_memory_are_warnings(monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_DISK", 2**60)
    monkeypatch.setattr(doctor, "LEAST_MEMORY", 2**60)
    assert {finding.level for finding in doctor.check_room()} == {"warning"}


def test_a_kernel_cache_that_cannot_be_written_is_a_problem(tmp_path):
    if os.geteuid() == 0:
        blocked = tmp_path / "file"
        blocked.write_text("a file where a folder should be")
        cache = blocked / "warp"
    else:
        cache = tmp_path / "closed"
        cache.mkdir(mode=0o500)
    code = "from dreamlift.doctor import check_kernels; print([f.level for f in check_kernels()])"
    environment = {**os.environ, "WARP_CACHE_PATH": str(cache)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert result.stdout.strip().splitlines()[-1:] == ["['problem']"], result.stderr


def test_a_finding_travels_as_json():
    finding = Finding("torch", "problem", "missing", "install it")
    assert json.loads(json.dumps(finding.as_dict())) == {
        "name": "torch",
        "level": "problem",
        "what": "missing",
        "remedy": "install it",
    }


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "mvdream"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    sums = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in sorted(os.listdir(folder))
    ]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    return folder


def test_whole_weights_are_ok(model):
    assert [finding.level for finding in doctor.check_weights(model.parent)] == ["ok"]


@pytest.mark.parametrize("name", ["model.safetensors", "SHA256SUMS"])
def test_damaged_or_missing_weights_are_a_problem_that_names_the_file(model, name):
    (model / name).unlink()
    (finding,) = doctor.check_weights(model.parent)
    assert finding.level == "problem" and name in finding.what


def test_one_wrong_byte_is_found(model):
    (model / "model.safetensors").write_bytes(b"weightz")
    (finding,) = doctor.check_weights(model.parent)
    assert finding.level == "problem" and finding.remedy


def test_no_weights_at_all_are_a_problem(tmp_path):
    assert [finding.level for finding in doctor.check_weights(tmp_path)] == ["problem"]
