"""Generation and jobs on a live service with scripted workers (tests/faults), through the command line's own words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from faults.service_process import ServiceProcess

from dreamlift.cli import main
from dreamlift.client.finding import ClientError
from dreamlift.client.session import Client
from dreamlift.commands.outcomes import Exit


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with ServiceProcess(tmp_path_factory.mktemp("service"), cancel_grace=1.0) as service:
        service.start()
        service.client().close()
        yield service


@pytest.fixture(autouse=True)
def here(service, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_HOME", str(service.home))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *words):
    """Exit code and the JSON events of one command."""
    code = main([*words, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def started(*words):
    """A command in a process of its own, once its job runs."""
    command = [sys.executable, "-m", "dreamlift.cli", *words, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1]["event"] == "progress" and lines[-1]["stage"] == "Shape":  # before that the worker loads
            return process, lines
    raise AssertionError(process.stderr.read())


def ended(process, lines):
    out, err = process.communicate(timeout=60)
    return process.returncode, lines + [json.loads(line) for line in out.splitlines()], err


def test_a_job_on_the_server_ends_in_a_file_here(capsys, here):
    code, events = run(capsys, "generate", "steps=3 warn=1", "-o", "x.glb", "--server")
    assert code == Exit.OK, events
    assert (here / "x.glb").read_bytes() == b"steps=3 warn=1" * 1000
    kinds = [event["event"] for event in events]
    assert kinds[0] == "accepted" and kinds[-1] == "done" and "warning" in kinds
    assert [path.name for path in here.iterdir()] == ["x.glb"]


def test_a_failed_job_says_why(capsys, here):
    code, events = run(capsys, "generate", "memory=1", "-o", "x.glb", "--server")
    assert code == Exit.PROBLEM
    assert events[-1]["event"] == "error" and events[-1]["code"] == "out_of_memory" and events[-1]["remedy"]
    assert list(here.iterdir()) == []


def test_the_pipelines_refusal_comes_back_in_its_own_words(capsys):
    code, events = run(capsys, "generate", "refuse=1", "--server")
    assert code == Exit.PROBLEM
    assert events[-1]["code"] == "unknown_words" and events[-1]["what"] == "The words are unknown."


def test_ctrl_c_once_fetches_what_there_is(here):
    process, lines = started("generate", "steps=5000", "-o", "x.glb", "--server")
    process.send_signal(signal.SIGINT)
    code, events, err = ended(process, lines)
    assert code == Exit.OK, (events, err)
    assert (here / "x.glb").exists()
    assert "finishing" in [event["event"] for event in events]


def test_ctrl_c_twice_cancels_the_job(capsys, here):
    process, lines = started("generate", "steps=5000 hang_at=1", "-o", "x.glb", "--server")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    code, events, err = ended(process, lines)
    assert code == Exit.INTERRUPTED, (events, err)
    assert "Traceback" not in err and list(here.iterdir()) == []
    _, jobs = run(capsys, "jobs", "list", "--limit", "1")
    assert jobs[0]["state"] in ("cancelling", "cancelled")


def test_jobs_are_listed_shown_downloaded_and_removed(capsys, here):
    code, events = run(capsys, "generate", "steps=2", "-o", "x.glb", "--server", "--seed", "5")
    assert code == Exit.OK
    job = events[0]["job"]
    _, (newest, *_) = run(capsys, "jobs", "list")
    assert newest["job"] == job and newest["state"] == "finished" and newest["seed"] == 5
    assert main(["jobs", "list"]) == Exit.OK
    assert capsys.readouterr().out.splitlines()[-1] == "server: Scripted (idle)"
    assert main(["jobs", "show", job[:12]]) == Exit.OK
    assert "steps=2" in capsys.readouterr().out
    assert main(["jobs", "download", job]) == Exit.OK
    assert (here / f"{job}-asset.glb").exists() and (here / f"{job}-provenance.json").exists()
    assert main(["jobs", "download", job, "-o", "y.glb"]) == Exit.OK
    assert (here / "y.glb").read_bytes() == (here / "x.glb").read_bytes()
    assert main(["jobs", "remove", job]) == Exit.OK
    capsys.readouterr()
    assert main(["jobs", "show", job]) == Exit.USAGE
    assert "No job's id begins with" in capsys.readouterr().err


def test_a_pairing_string_lets_in_until_it_is_revoked(capsys, service):
    port = json.loads((service.home / "connection.json").read_text())["port"]
    _, (added,) = run(capsys, "keys", "add", "eve", "--host", "127.0.0.1", "--port", str(port))
    assert run(capsys, "jobs", "list", "--server", added["pairing"])[0] == Exit.OK
    run(capsys, "keys", "revoke", "eve")
    time.sleep(0.5)
    with pytest.raises(ClientError, match="refuses this computer's key"):
        Client(added["pairing"], wait=2.0)


def test_a_second_service_on_the_same_home_is_refused(service):
    command = [sys.executable, "-m", "dreamlift.cli", "serve"]
    result = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert result.returncode == Exit.USAGE and "already runs" in result.stderr
