"""An out-of-memory inside a run: one step down and on from the checkpoint, a second one ends in words."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from dreamlift.memory import shelf
from dreamlift.memory.cards import GIB, Card, card_of_size, computer
from dreamlift.memory.step_down import is_out_of_memory, run_planned
from dreamlift.pipelines.context import Request, RequestError

CARD = card_of_size(24)
FULL = Request(preset="full")


class Context:
    """Keeps warnings and the last checkpoint."""

    plan = None

    def __init__(self):
        self.warnings, self.saved = [], 0

    def warn(self, code, what, remedy):
        self.warnings.append((code, remedy))


class Job:
    """Ten steps with a checkpoint at each; runs out of memory at given steps, once each."""

    def __init__(self, context, *fails, error=None):
        self.context, self.fails = context, list(fails)
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.done, self.plans, self.big = [], [], None

    def __call__(self):
        self.plans.append(self.context.plan)
        large = torch.zeros(10)  # alive in this frame when the step fails, as a failed step's tensors are
        for step in range(self.context.saved, 10):
            if self.fails and step == self.fails[0]:
                self.fails.pop(0)
                self.big = weakref.ref(large)
                raise self.error
            self.done.append(step)
            self.context.saved = step + 1
        gc.collect()
        return "asset"


def test_without_trouble_the_plan_of_the_card_is_set_and_nothing_is_said():
    context = Context()
    job = Job(context)
    assert run_planned(job, FULL, context, CARD) == "asset"
    assert [plan.rung for plan in job.plans] == [0] and context.warnings == []


def test_one_out_of_memory_goes_on_from_the_checkpoint_a_rung_lower_and_says_so(caplog):
    context = Context()
    job = Job(context, 4)
    with caplog.at_level("WARNING"):
        assert run_planned(job, FULL, context, CARD) == "asset"
    assert job.done == list(range(10)), "no step is done twice and none is left out"
    assert [plan.rung for plan in job.plans] == [0, 2]
    assert context.plan.stepped_down and "one step down" in context.plan.words()
    ((code, remedy),) = context.warnings
    assert code == "stepped_down" and "encoders released" in remedy
    assert "one step down" in caplog.text


def test_what_the_failed_step_held_is_gone_before_the_next_try():
    context, freed = Context(), []
    job = Job(context, 4)
    job.error = None  # so that nobody but the traceback holds the error

    def work():
        if job.plans:
            freed.append(job.big() is None)
        job.error = torch.OutOfMemoryError("out")
        try:
            return job()
        finally:
            job.error = None

    assert run_planned(work, FULL, context, CARD) == "asset"
    assert freed == [True]


def test_loaded_models_are_let_go():
    context, made = Context(), []
    job = Job(context, 4)

    def work():
        shelf.keep("model", lambda: made.append("model"))
        return job()

    run_planned(work, FULL, context, CARD)
    assert made == ["model", "model"]
    shelf.clear()


def test_the_second_one_ends_with_advice():
    context = Context()
    with pytest.raises(RequestError) as caught:
        run_planned(Job(context, 4, 6), FULL, context, CARD)
    assert caught.value.code == "out_of_memory" and caught.value.suggestion == {"preset": "mini"}
    assert "'full'" in caught.value.what and len(context.warnings) == 1


def test_on_the_last_rung_the_first_one_is_the_end():
    tight = Card("Tight", "cuda", int(6.2 * GIB))
    context = Context()
    with pytest.raises(RequestError) as caught:
        run_planned(Job(context, 0), FULL, context, tight)
    assert caught.value.code == "out_of_memory" and context.warnings == []


def test_what_does_not_fit_never_starts():
    context = Context()
    job = Job(context)
    with pytest.raises(RequestError) as caught:
        run_planned(job, FULL, context, Card("Small", "cuda", 4 * GIB))
    assert caught.value.code == "does_not_fit" and job.plans == []


def test_compiling_is_asked_for_by_the_environment_and_on_cuda_only(monkeypatch):
    monkeypatch.setenv("DREAMLIFT_COMPILE", "1")
    for card, expected in ((CARD, True), (computer(64 * GIB), False)):
        context = Context()
        run_planned(Job(context), FULL, context, card)
        assert context.plan.compiled is expected
    monkeypatch.delenv("DREAMLIFT_COMPILE")
    run_planned(Job(context), FULL, context, CARD)
    assert not context.plan.compiled


def test_other_errors_pass_and_are_not_tried_again():
    context = Context()
    job = Job(context, 4, error=KeyError("a bug"))
    with pytest.raises(KeyError):
        run_planned(job, FULL, context, CARD)
    assert len(job.plans) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes"), False),
        (ValueError("memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected
