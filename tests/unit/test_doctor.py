"""The doctor looks at everything, says what to do where something is wrong, and never falls over."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from dreamlift import doctor
from dreamlift.doctor import Finding, examine


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
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
