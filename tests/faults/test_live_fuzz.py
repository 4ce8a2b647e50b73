"""Ten thousand bad frames against a live service; `benchmarks/service_fuzz.py` sends a million."""

from __future__ import annotations

import socket

import zmq
from fuzzing import Fuzzer
from service_process import ServiceProcess

from dreamlift.client.finding import find_server
from dreamlift.client.session import open_socket
from dreamlift.protocol import codec, messages
from dreamlift.protocol.messages import JobRequest
from dreamlift.protocol.states import JobState

FRAMES = 10_000


def test_bad_frames_harm_nobody(tmp_path):
    with ServiceProcess(tmp_path) as service:
        service.start()
        with service.client() as client:
            endpoint = find_server(home=service.home)
            context = zmq.Context()
            bad = open_socket(context, endpoint)
            bad.send_multipart(codec.encode(messages.Hello(client="fuzzer", versions=(1,)), id=1))
            fuzzer, sent = Fuzzer(3), 0
            while sent < FRAMES:
                message = fuzzer.message()
                assert bad.poll(30_000, zmq.POLLOUT), "the service no longer reads"
                bad.send_multipart(message)
                sent += len(message)
                while bad.poll(0):
                    codec.decode(bad.recv_multipart(), messages.FROM_SERVER)
                if sent % 1000 < len(message):
                    assert client.jobs(1) is not None
                    with socket.create_connection((endpoint.host, endpoint.port), timeout=10) as knock:
                        knock.sendall(b"".join(message)[:1000])
            bad.close(0)
            context.term()
            assert client.wait(client.submit(JobRequest(prompt="steps=2")), 60).state is JobState.FINISHED
        assert "Traceback" not in (service.home / "logs" / "service.log").read_text()
        assert service.stop() == 0
