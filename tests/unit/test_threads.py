"""Threads are decided once: what the user set stays, everything else is chosen by the cores one may use."""

from __future__ import annotations

import os

import pytest

from dreamlift import threads


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # noted by monkeypatch, so that it comes back
        monkeypatch.delenv(name)


def test_waiting_threads_sleep_and_the_cores_are_used(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    assert threads.prepare_threads() == 3
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE" and os.environ["OMP_NUM_THREADS"] == "3"


def test_many_cores_are_not_all_used(monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 128)
    assert threads.prepare_threads() == threads.MOST_THREADS


def test_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert threads.prepare_threads() == 5
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize("nonsense", ["", "0", "many", "-2"])
def test_nonsense_in_the_environment_is_replaced(monkeypatch, nonsense):
    monkeypatch.setenv("OMP_NUM_THREADS", nonsense)
    assert threads.prepare_threads() >= 1
    assert int(os.environ["OMP_NUM_THREADS"]) >= 1


def test_a_caller_that_knows_better_wins(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads.prepare_threads(threads=1) == 1 and os.environ["OMP_NUM_THREADS"] == "1"


def test_there_is_at_least_one_core():
    assert 1 <= threads.usable_cores() <= (os.cpu_count() or 1)
