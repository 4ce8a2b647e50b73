"""What the supervisor makes of a worker's first words. Whole lives and deaths: test_server.py, tests/faults."""

from __future__ import annotations

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


class Nobody:
    """Hears no reports; the tests here give no job."""

    worker_said = worker_lost = None


class Running:
    """A process that lives."""

    def poll(self):
        """As of `subprocess.Popen`."""
        return None


@pytest.fixture
def supervisor(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    context = zmq.Context()
    gatekeeper = Gatekeeper(context, KeyRing(home))
    made = Supervisor(context, ServiceSettings(home=tmp_path), home, gatekeeper, Nobody())
    made.workers[0].process, made.workers[0].heard = Running(), time.monotonic()
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
