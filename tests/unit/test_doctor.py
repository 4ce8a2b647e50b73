"""The doctor looks at everything, says what to do where something is wrong, and never falls over."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys

import pytest
import zmq
from faults.service_process import ServiceProcess

from dreamlift import doctor
from dreamlift.doctor import Finding, examine
from dreamlift.memory.cards import GIB, Card, card_of_size, computer
from dreamlift.rendering import _nvdiffrast


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_HOME", str(tmp_path / "home"))


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


@pytest.mark.parametrize(
    ("installed", "choice", "level", "words"),
    [
        (None, "", "ok", "not needed"),
        ("0.4.0", "", "ok", "not used"),
        ("0.4.0", "nvdiffrast", "ok", "by your choice"),
        (None, "nvdiffrast", "problem", "not installed"),
        ("0.4.0", "opengl", "problem", "no rasterizer"),
    ],
)
def test_it_says_which_rasterizer_draws_and_why(installed, choice, level, words):
    finding = doctor.rasterizer_finding(installed, choice)
    assert finding.level == level and words in finding.what and bool(finding.remedy) == (level != "ok")


def test_doctor_and_rasterizer_read_the_same_variable():
    assert doctor.RASTERIZER_VARIABLE == _nvdiffrast.VARIABLE


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


@pytest.mark.parametrize(
    ("card", "mini", "full"),
    [
        (card_of_size(24), "fits: float32", "fits: bfloat16"),
        (Card("Old Card", "cuda", 4 * GIB), "fits: float32", "does not fit: needs about"),
        (computer(64 * GIB), "fits: float32", "made for a GPU"),
    ],
)
def test_it_says_which_presets_fit_a_device(card, mini, full):
    findings = {finding.name: finding for finding in doctor.preset_findings("cuda:0", card)}
    assert mini in findings["mvdream mini on cuda:0"].what
    assert full in findings["mvdream full, full-plain, full-legacy on cuda:0"].what
    assert {finding.level for finding in findings.values()} == {"ok"}


def test_a_device_on_which_nothing_fits_is_a_warning():
    findings = list(doctor.preset_findings("cuda:0", Card("Tiny", "cuda", GIB // 2)))
    levels = {finding.name.split()[0]: finding.level for finding in findings}
    assert levels == {"mvdream": "warning", "imagedream": "warning", "v3d": "ok"}, "objects are made without the last"
    assert all("does not fit" in finding.what for finding in findings)


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


def test_a_running_service_answers(tmp_path, monkeypatch):
    with ServiceProcess(tmp_path) as service:
        service.start()
        service.client().close()
        monkeypatch.setenv("DREAMLIFT_HOME", str(service.home))
        findings = {finding.name: finding for finding in doctor.check_service()}
        assert findings["service"].level == "ok" and "answers on 127.0.0.1" in findings["service"].what
        service.kill()
        findings = {finding.name: finding for finding in doctor.check_service(wait=0.5)}
        assert findings["service"].level == "warning" and "dreamlift serve" in findings["service"].remedy
        (service.home / "connection.json").chmod(0o644)
        findings = {finding.name: finding for finding in doctor.check_service(wait=0.1)}
        assert findings["connection file"].level == "problem"


def test_a_service_that_refuses_the_key_is_not_called_silent(tmp_path, monkeypatch):
    with ServiceProcess(tmp_path) as service:
        service.start()
        service.client().close()
        monkeypatch.setenv("DREAMLIFT_HOME", str(service.home))
        file = service.home / "connection.json"
        public, secret = (key.decode() for key in zmq.curve_keypair())
        file.write_text(json.dumps(json.loads(file.read_text()) | {"client_public": public, "client_secret": secret}))
        findings = {finding.name: finding for finding in doctor.check_service()}
    assert findings["service"].level == "warning" and findings["service"].remedy
    assert "nobody answers" not in findings["service"].what and "key" in findings["service"].what


def test_a_port_that_somebody_else_took_is_a_warning(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "last_port").write_text(str(taken.getsockname()[1]))
        findings = {finding.name: finding for finding in doctor.check_service()}
    assert findings["port"].level == "warning" and findings["service"].level == "ok"


def test_a_home_that_cannot_be_made_is_a_problem(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert [finding.level for finding in doctor.check_service()] == ["problem"]


def test_a_matting_model_is_told_and_one_that_cannot_be_opened_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_MATTING", "off")
    (finding,) = doctor.check_matting()
    assert finding.level == "ok" and "by their colours" in finding.what
    (tmp_path / "u2net.onnx").write_bytes(b"no model")
    monkeypatch.setenv("DREAMLIFT_MATTING", str(tmp_path / "u2net.onnx"))
    (finding,) = doctor.check_matting()
    assert finding.level == "warning" and "u2net.onnx" in finding.what and finding.remedy
