"""A worker lives no longer than its service, and a service that comes back ends what is left of the old one."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil
from service_process import WORKER, ServiceProcess

from dreamlift.protocol.messages import JobRequest
from dreamlift.protocol.states import JobState


def test_workers_end_when_their_service_is_killed(tmp_path):
    with ServiceProcess(tmp_path) as service:
        service.start()
        with service.client() as client:
            job = client.submit(JobRequest(prompt="steps=100000"))
            for event in client.follow(job):
                if getattr(event, "progress", None) and event.progress.stage == "Shape":
                    break
            (worker,) = service.workers()
            service.kill()
            assert psutil.wait_procs([worker], timeout=10)[1] == []
            service.start()
            client._pump(0.1)
            client.cancel(job)
            assert client.wait(job, 60).state is JobState.CANCELLED


def test_a_stopped_service_ends_in_order_and_keeps_its_jobs(tmp_path):
    with ServiceProcess(tmp_path) as service:
        service.start()
        with service.client() as client:
            job = client.submit(JobRequest(prompt="steps=100000"))
        assert service.stop() == 0
        assert not (service.home / "connection.json").exists()
        service.start()
        with service.client() as client:
            assert client.job(job).state in (JobState.QUEUED, JobState.RUNNING)


def test_a_worker_started_by_hand_says_so():
    result = subprocess.run(
        [sys.executable, str(WORKER)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1 and "dreamlift serve" in result.stderr


def test_a_worker_ends_with_its_standard_input_even_while_it_hears_nothing():
    orders = {"endpoint": "tcp://127.0.0.1:9", "server_key": "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"}
    orders |= {
        "public": orders["server_key"],
        "secret": orders["server_key"],
        "home": ".",
        "device": "cpu",
        "name": "w",
    }
    process = subprocess.Popen([sys.executable, str(WORKER)], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdin.write(json.dumps(orders).encode() + b"\n")
    process.stdin.flush()
    time.sleep(0.5)
    process.stdin.close()
    assert process.wait(30) == 75
