"""What the supervisor makes of a worker's first words. Whole lives and deaths: test_server.py, tests/faults."""

from __future__ import annotations

import io
import time

import pytest
import zmq

from dreamlift.protocol import codec, messages, worker_channel
from dreamlift.service.home import Home
from dreamlift.service.keys import KeyRing
from dreamlift.service.settings import ServiceSettings
from dreamlift.service.supervisor import Supervisor
from dreamlift.service.zap import Gatekeeper

HELLO = worker_channel.WorkerHello(pid=1, device="CPU, 2 threads", memory_bytes=5)


class Frame(bytes):
    """A frame as pyzmq gives it, of the peer that the gatekeeper knows as worker-0."""

    bytes = property(lambda self: bytes(self))
    buffer = property(memoryview)

    def get(self, _name):
        """The name that the ZAP answer gave to the peer."""
        return "worker-0"


class Reports:
    """Keeps what is reported lost."""

    def __init__(self):
        self.lost = []

    def worker_said(self, job, message):
        """Nothing is said here."""

    def worker_lost(self, job, attempt):
        """As of `supervisor.Reports`."""
        self.lost.append((job, attempt))


class Process:
    """A process as `subprocess.Popen` shows it; killed, it goes when the test lets it go."""

    def __init__(self):
        self.returncode, self.kills = None, 0
        self.stdin = io.BytesIO()

    def poll(self):
        """None while it is there."""
        return self.returncode

    def kill(self):
        """Only counted: a process that hangs in a driver stays."""
        self.kills += 1


@pytest.fixture
def supervisor(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    context = zmq.Context()
    gatekeeper = Gatekeeper(context, KeyRing(home))
    made = Supervisor(context, ServiceSettings(home=tmp_path), home, gatekeeper, Reports())
    made.workers[0].process, made.workers[0].heard = Process(), time.monotonic()
    yield made
    made.workers[0].process = None
    made.close()
    gatekeeper.close()
    context.term()


def say(supervisor, message: messages.Message) -> None:
    supervisor.receive([Frame(b"peer"), *(Frame(part) for part in codec.encode(message))])


def test_a_worker_is_idle_only_after_it_said_who_it_is(supervisor):
    assert supervisor.devices()[0].state == "starting"
    say(supervisor, worker_channel.Beat())
    assert supervisor.devices()[0].state == "starting" and not supervisor.idle()
    say(supervisor, HELLO)
    (device,) = supervisor.devices()
    assert (device.state, device.name, device.memory_bytes) == ("idle", "CPU, 2 threads", 5)


def test_a_beat_before_the_hello_counts_as_a_sign_of_life(supervisor):
    worker = supervisor.workers[0]
    worker.heard = 0.0
    say(supervisor, worker_channel.Beat())
    supervisor.tick(time.monotonic())
    assert worker.process is not None and worker.failures == 0


def test_what_is_not_a_message_of_a_worker_changes_nothing(supervisor):
    supervisor.receive([Frame(b"peer"), Frame(b"nonsense")])
    assert supervisor.devices()[0].state == "starting"


def test_a_killed_worker_that_hangs_holds_up_nobody_and_keeps_its_job_until_it_is_gone(supervisor):
    say(supervisor, HELLO)
    worker, now = supervisor.workers[0], time.monotonic()
    process = worker.process
    worker.job, worker.attempt = "0" * 16, 2
    for moment in (now + 100, now + 101, now + 102):  # silent for longer than allowed
        supervisor.tick(moment)
    assert process.kills == 1 and supervisor._reports.lost == []
    assert supervisor.devices()[0].state == "down" and not supervisor.idle()
    process.returncode = -9
    supervisor.tick(now + 103)
    assert supervisor._reports.lost == [("0" * 16, 2)] and worker.process is None


def test_a_killed_worker_whose_job_ended_meanwhile_gets_no_other(supervisor):
    say(supervisor, HELLO)
    worker = supervisor.workers[0]
    supervisor.tick(time.monotonic() + 100)
    assert worker.process.kills == 1 and worker.job == ""
    say(supervisor, HELLO)
    assert not supervisor.idle()
