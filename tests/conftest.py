"""What every test shares: one compute thread, and nothing left behind.

The environment is set here because OpenMP reads it once, when torch is first imported (backend/threads.py).
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["DREAMLIFT_MATTING"] = "off"  # a model of whoever runs the tests would cut pictures out its own way

import psutil
import pytest

HELPERS = ("resource_tracker", "forkserver")  # Python's own, which live until the interpreter ends


def _children() -> dict[int, str]:
    found = {}
    for child in psutil.Process().children(recursive=True):
        try:
            command = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and not any(name in command for name in HELPERS):
                found[child.pid] = command
        except psutil.NoSuchProcess:  # it ended while we looked
            continue
    return found


def _listening() -> set[str]:
    sockets = psutil.Process().net_connections(kind="tcp")
    return {f"{s.laddr.ip}:{s.laddr.port}" for s in sockets if s.status == psutil.CONN_LISTEN}


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind():
    """Fails the module whose tests leave a process running or a port open."""
    children, listening = _children(), _listening()
    yield
    left = {pid: command for pid, command in _children().items() if pid not in children}
    psutil.wait_procs([psutil.Process(pid) for pid in left if psutil.pid_exists(pid)], timeout=3)
    left = {pid: command for pid, command in _children().items() if pid not in children}
    assert not left, f"processes left running: {left}"
    assert not _listening() - listening, f"ports left open: {_listening() - listening}"
