"""One job in a worker: how each end of a pipeline becomes the end of an attempt."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest
import torch
from recording_channel import RecordingChannel

from dreamlift.pipelines.context import Request, RequestError, Stop, Stopped
from dreamlift.protocol import codec, messages, worker_channel
from dreamlift.workers.device import describe_device, is_out_of_memory, open_device
from dreamlift.workers.main import WorkerParts, problem_of, read_request, run_job
from dreamlift.workers.orders import Orders

JOB = "0123456789abcdef"


class Scripted:
    """A pipeline that does one thing."""

    def __init__(self, act):
        self.act = act

    def plan(self, request, device):
        """No stages."""
        return []

    def run(self, request, context):
        """The one thing."""
        return self.act(request, context)


def save(asset, folder: Path):
    (folder / "asset.glb").write_bytes(asset)


def end_of(act, home, **request):
    channel = RecordingChannel()
    parts = WorkerParts(lambda name: Scripted(act), save, None, lambda wanted: None)
    assign = worker_channel.Assign(attempt=3, request=messages.JobRequest(**request))
    orders = Orders("tcp://127.0.0.1:1", "", "", "", home, "cpu", "worker-0")
    run_job(codec.Envelope(assign, job=JOB), channel, orders, parts)
    assert isinstance(channel.said[-1], worker_channel.Ended) and channel.said[-1].attempt == 3
    return channel.said[-1]


def raising(error):
    def act(request, context):
        raise error

    return act


def test_a_finished_job_describes_its_files(tmp_path):
    end = end_of(lambda request, context: request.prompt.encode(), tmp_path, prompt="a duck")
    (artifact,) = end.artifacts
    assert (end.outcome, artifact.name, artifact.size) == ("finished", "asset.glb", 6)
    assert artifact.sha256 == hashlib.sha256(b"a duck").hexdigest()
    assert (tmp_path / "jobs" / JOB / "attempt-3" / "asset.glb").read_bytes() == b"a duck"


def test_what_an_earlier_try_of_the_attempt_left_is_gone(tmp_path):
    left = tmp_path / "jobs" / JOB / "attempt-3"
    left.mkdir(parents=True)
    (left / "contact_sheet.png").write_bytes(b"old")
    end = end_of(lambda request, context: b"new", tmp_path)
    assert [artifact.name for artifact in end.artifacts] == ["asset.glb"]


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (Stopped(Stop.CANCEL), "cancelled", None),
        (Stopped(Stop.PAUSE), "paused", None),
        (Stopped(Stop.FINISH), "failed", "nothing_yet"),
        (RequestError("unknown_words", "What.", "Remedy.", {"steps": 5, "bad": object()}), "failed", "unknown_words"),
        (MemoryError(), "failed", "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "failed", "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "failed", "out_of_memory"),
        (RuntimeError("/home/somebody/secret"), "failed", "internal_error"),
        (KeyError("x"), "failed", "internal_error"),
    ],
)
def test_every_way_to_end(tmp_path, caplog, error, outcome, code):
    caplog.set_level(logging.CRITICAL)
    end = end_of(raising(error), tmp_path)
    assert end.outcome == outcome
    assert (end.problem.code if end.problem else None) == code
    assert end.artifacts == ()
    if end.problem:
        assert "secret" not in end.problem.what + end.problem.remedy


def test_the_trace_of_an_internal_error_is_in_the_log(tmp_path, caplog):
    end_of(raising(KeyError("the reason")), tmp_path)
    assert "the reason" in caplog.text and JOB in caplog.text


def test_a_suggestion_that_cannot_travel_is_left_out():
    problem = problem_of(RequestError("x", "What.", "Remedy.", {"steps": 5, "bad": [1]}))
    assert problem.suggestion == {"steps": 5}


def test_pictures_are_read_by_their_hash(tmp_path):
    sha = hashlib.sha256(b"png").hexdigest()
    place = tmp_path / "blobs" / sha[:2]
    place.mkdir(parents=True)
    (place / sha).write_bytes(b"png")
    wire = messages.JobRequest(prompt="p", seed=5, settings={"steps": 1}, images={"reference": sha})
    assert read_request(wire, tmp_path) == Request(
        prompt="p", seed=5, settings={"steps": 1}, images={"reference": b"png"}
    )
    (place / sha).unlink()
    with pytest.raises(RequestError, match="reference"):
        read_request(wire, tmp_path)


def test_devices():
    assert open_device("cpu") == torch.device("cpu")
    assert open_device("auto").type in ("cpu", "cuda")
    name, memory = describe_device("cpu")
    assert name.startswith("CPU") and memory > 0
    for wrong in ("toaster", "cuda:99"):
        with pytest.raises(RequestError) as caught:
            open_device(wrong)
        assert caught.value.code == "bad_device"


def test_an_ordinary_error_is_not_out_of_memory():
    assert not is_out_of_memory(ValueError("memory"))
