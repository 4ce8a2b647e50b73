"""One job in a worker: how each end of a pipeline becomes the end of an attempt."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from recording_channel import RecordingChannel

from dreamlift.pipelines.context import Provenance, Request, RequestError, SeedViews, Stop, Stopped
from dreamlift.protocol import codec, messages, worker_channel
from dreamlift.protocol.view_grid import unpack_views
from dreamlift.workers.device import describe_device, expected_device, open_device
from dreamlift.workers.main import WorkerParts, introduce, problem_of, read_request, run_job
from dreamlift.workers.orders import Orders
from dreamlift.workers.results import write_results

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
        assert request.goal == "object"
        return self.act(request, context)

    def sample_views(self, request, context):
        """The one thing."""
        assert request.goal == "views"
        return self.act(request, context)


def save(asset, folder: Path):
    (folder / "asset.glb").write_bytes(asset)


def orders_at(home) -> Orders:
    return Orders("tcp://127.0.0.1:1", "", "", "", home, "cpu", "worker-0")


def end_of(act, home, save=save, **request):
    channel = RecordingChannel()
    parts = WorkerParts(lambda name: Scripted(act), save, None, lambda wanted: None)
    assign = worker_channel.Assign(attempt=3, request=messages.JobRequest(**request))
    run_job(codec.Envelope(assign, job=JOB), channel, orders_at(home), parts)
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


def test_a_job_for_views_calls_the_other_function_and_leaves_no_object(tmp_path):
    def act(request, context):
        about = Provenance("mvdream", "mini", request.prompt, "", 3, "none", "CC0-1.0", True, "0", 1.0)
        return SeedViews(np.full((2, 1, 8, 8, 3), 9, np.uint8), ("front",), request.seeds, about)

    end = end_of(act, tmp_path, save=write_results, prompt="a duck", goal="views", seeds=(3, 7))
    assert [artifact.name for artifact in end.artifacts] == ["views.npy", "contact_sheet.png", "provenance.json"]
    left = tmp_path / "jobs" / JOB / "attempt-3"
    assert unpack_views((left / "views.npy").read_bytes()).shape == (2, 1, 8, 8, 3)
    about = json.loads((left / "provenance.json").read_text())
    assert (about["seeds"], about["views"], about["prompt"]) == ([3, 7], ["front"], "a duck")


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


@pytest.mark.parametrize("wanted", ["cpu", "auto"])
def test_the_device_is_known_before_torch_is_imported(wanted):
    assert expected_device(wanted, torch.get_num_threads()) == describe_device(wanted)


def test_a_device_that_nobody_knows_keeps_its_name():
    assert expected_device("toaster", 2) == ("toaster", 0)
    assert expected_device("cuda:99", 2) == ("cuda:99", 0)
    assert expected_device("cpu", 1)[0] == "CPU, 1 thread"


def test_a_worker_says_hello_with_its_device_before_it_is_warm(tmp_path):
    channel = RecordingChannel()
    parts = WorkerParts(warm_up=lambda wanted: (f"Card in place of {wanted}", 7))
    introduce(channel, orders_at(tmp_path), parts, 3)
    first, second = channel.said
    assert (first.device, first.warm) == ("CPU, 3 threads", False) and first.memory_bytes > 0
    assert (second.device, second.memory_bytes, second.warm) == ("Card in place of cpu", 7, True)


def test_a_worker_that_cannot_get_warm_lives_on_to_say_why(tmp_path, caplog):
    channel = RecordingChannel()
    introduce(channel, orders_at(tmp_path), WorkerParts(warm_up=raising_at_once), 2)
    assert len(channel.said) == 1 and "the weights are damaged" in caplog.text


def raising_at_once(wanted):
    raise ValueError("the weights are damaged")
