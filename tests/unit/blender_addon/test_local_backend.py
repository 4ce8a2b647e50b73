"""A backend on this computer: found, started without Blender's Python, stopped, and not started in a loop."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from blender_addon import local_backend
from blender_addon.local_backend import BackendState, LocalBackend, clean_environment, find_command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake command is a shell script")


def script(folder: Path, text: str) -> Path:
    path = folder / "dreamlift"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


@pytest.fixture
def backend(tmp_path):
    backend = LocalBackend(tmp_path / "logs" / "backend.log")
    yield backend
    backend.stop()


def test_a_folder_with_spaces_and_accents_is_searched(tmp_path):
    folder = tmp_path / "Mes été" / ".venv"
    (folder / "bin").mkdir(parents=True)
    command = script(folder / "bin", "exit 0")
    assert find_command(str(tmp_path / "Mes été")) == command
    assert find_command(str(folder)) == command
    assert find_command(str(command)) == command
    assert find_command(str(tmp_path / "nowhere")) is None


def test_it_runs_and_stops_and_its_words_are_kept(backend, tmp_path):
    command = script(tmp_path, 'echo "serving $1 $2"; echo "home=$PYTHONHOME"; exec sleep 60')
    assert backend.start(command, ["serve", "--fast"])
    assert backend.state is BackendState.RUNNING
    until(lambda: "home=" in backend.last_words())
    assert backend.last_words() == "home=" and "serving serve --fast" in backend.log_path.read_text()
    assert not backend.start(command, []), "one is enough"
    backend.stop()
    assert backend.state is BackendState.STOPPED


def test_one_that_ends_by_itself_says_why_and_is_not_started_in_a_loop(backend, tmp_path):
    command = script(tmp_path, 'echo "port 1 is taken"; exit 3')
    backend.start(command, [])
    until(lambda: backend.state is BackendState.ENDED)
    assert backend.last_words() == "port 1 is taken"
    assert not backend.start(command, []), "only once in five seconds"


def test_one_that_does_not_listen_is_killed(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(local_backend, "STOP_SECONDS", 0.3)
    command = script(tmp_path, 'trap "" TERM; echo ready; while true; do sleep 0.1; done')
    backend.start(command, [])
    until(lambda: backend.last_words() == "ready")
    backend.stop()
    assert backend.state is BackendState.STOPPED


def test_blenders_own_python_stays_out_of_the_environment():
    environment = {"PYTHONPATH": "/blender", "PYTHONHOME": "/blender", "PATH": "/bin", "VIRTUAL_ENV": "/x"}
    assert clean_environment(environment) == {"PATH": "/bin"}
