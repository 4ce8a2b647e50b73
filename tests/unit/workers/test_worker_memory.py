"""A worker whose memory runs out once goes on a rung lower and tells the client; what cannot fit is refused."""

from __future__ import annotations

import pytest
import torch
from recording_channel import RecordingChannel

from dreamlift.memory import cards
from dreamlift.protocol import codec, messages, worker_channel
from dreamlift.workers.main import WorkerParts, run_job
from dreamlift.workers.orders import Orders

JOB = "0123456789abcdef"


class RunsOut:
    """Runs out of memory so many times; counts from its checkpoint."""

    def __init__(self, times):
        self.times, self.began, self.plans = times, [], []

    def plan(self, request, device):
        return []

    def run(self, request, context):
        self.plans.append(context.plan)
        step = int((context.restore() or {"step": 0})["step"])
        self.began.append(step)
        context.checkpoint({"step": step + 5})
        if self.times:
            self.times -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return b"glTF"


def end_of(pipeline, home, **request):
    channel = RecordingChannel()
    save = lambda asset, folder: (folder / "asset.glb").write_bytes(asset)  # noqa: E731
    parts = WorkerParts(lambda name: pipeline, save, None, lambda wanted: torch.device("cpu"))
    assign = worker_channel.Assign(attempt=1, request=messages.JobRequest(**request))
    run_job(codec.Envelope(assign, job=JOB), channel, Orders("", "", "", "", home, "cpu", "worker-0"), parts)
    warned = [said for said in channel.said if isinstance(said, messages.Warning)]
    return channel.said[-1], warned


def test_the_job_goes_on_from_its_checkpoint_and_the_client_is_told(tmp_path):
    pipeline = RunsOut(1)
    end, (warning,) = end_of(pipeline, tmp_path)
    assert end.outcome == "finished" and pipeline.began == [0, 5]
    assert warning.code == "stepped_down" and "last checkpoint" in warning.remedy
    assert pipeline.plans[1].stepped_down and pipeline.plans[1].rung == pipeline.plans[0].rung + 1


def test_a_second_time_ends_the_job_in_words(tmp_path):
    end, warned = end_of(RunsOut(2), tmp_path)
    assert (end.outcome, end.problem.code, len(warned)) == ("failed", "out_of_memory", 1)
    assert end.problem.remedy


def test_what_does_not_fit_is_refused_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(cards.psutil, "virtual_memory", lambda: type("Memory", (), {"total": 6 * cards.GIB}))
    pipeline = RunsOut(0)
    end, _ = end_of(pipeline, tmp_path, preset="full")
    assert (end.outcome, end.problem.code) == ("failed", "does_not_fit") and pipeline.began == []
    assert end.problem.suggestion == {"preset": "mini"}


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level("CRITICAL")
