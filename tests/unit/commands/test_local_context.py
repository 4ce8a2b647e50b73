"""The context of a job in this process: Ctrl-C, checkpoints, progress."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from dreamlift.commands.display import QuietDisplay
from dreamlift.commands.local_context import LocalContext
from dreamlift.pipelines.context import Stop


class NotingDisplay(QuietDisplay):
    def __init__(self):
        self.finishes = 0

    def finishing(self):
        self.finishes += 1


def context(tmp_path=None):
    return LocalContext(torch.device("cpu"), NotingDisplay(), tmp_path and tmp_path / "x.checkpoint")


def test_the_first_interrupt_finishes_and_the_second_stops():
    job = context()
    with job.interruptible():
        assert job.should_stop() is None
        os.kill(os.getpid(), signal.SIGINT)
        assert job.should_stop() is Stop.FINISH
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)
    assert job._display.finishes == 1


def test_the_handler_of_before_comes_back():
    before = signal.getsignal(signal.SIGINT)
    with context().interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    first = context(tmp_path)
    assert first.restore() is None
    first.checkpoint({"step": 3, "grid": torch.arange(6).reshape(2, 3), "stage": "shape"})
    first.checkpoint({"step": 4, "grid": torch.ones(2, 3), "stage": "shape"})
    state = context(tmp_path).restore()
    assert state["step"] == 4 and state["stage"] == "shape"
    assert torch.equal(state["grid"], torch.ones(2, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["x.checkpoint"]


def test_without_a_file_checkpoints_are_dropped():
    job = context()
    job.checkpoint({"step": 1})
    assert job.restore() is None


def test_the_wish_is_announced_outside_the_signal_handler():
    job = context()
    with job.interruptible():
        os.kill(os.getpid(), signal.SIGINT)
        assert job._display.finishes == 0  # the handler may have interrupted a print: printing there would raise
        job.should_stop()
        job.should_stop()
    assert job._display.finishes == 1
