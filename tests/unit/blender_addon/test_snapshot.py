"""The snapshot of moments that need no server: what the panels say while one is only getting ready."""

from __future__ import annotations

import time

import pytest
from blender_addon.protocol import messages
from blender_addon.protocol.handshake import Reason, sentences
from blender_addon.protocol.pairing import Endpoint, format_pairing
from blender_addon.protocol.states import JobState
from scripted_server import PIPELINE

from blender_addon.client.connection import Link
from blender_addon.client.servers import ServerList
from blender_addon.jobs.job import Job
from blender_addon.local_backend import BackendState
from blender_addon.session import Session
from blender_addon.snapshot import Snapshot, Surroundings, build


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_HOME", str(tmp_path))
    session = Session(ServerList(tmp_path / "servers.json"), "test", "0")
    yield session
    session.close()


def around(**changes) -> Surroundings:
    values = dict(
        online_access=True,
        forced_offline=False,
        command_found=True,
        backend=BackendState.STOPPED,
        backend_words="",
        backend_stuck=False,
        pipeline="",
        preset="",
        icons=(),
        now=time.monotonic(),
    )
    return Surroundings(**{**values, **changes})


def snapshot(session, *devices: messages.Device) -> Snapshot:
    session.connection.link = Link.ONLINE
    session.connection.conversation.welcome = messages.Welcome(
        server="s",
        server_run="0" * 32,
        version=1,
        pipelines=(PIPELINE,),
        devices=devices,
        limits=messages.ServerLimits(),
    )
    return build(session, around())


@pytest.mark.parametrize(
    ("name", "state", "said"),
    [
        ("auto", "starting", "starting"),  # nobody has looked at the machine yet
        ("auto", "down", "down"),
        ("CPU, 2 threads", "idle", "CPU, 2 threads"),
        ("CPU, 2 threads", "starting", "CPU, 2 threads"),  # known from before its restart
        ("NVIDIA H100 80GB HBM3", "idle", "NVIDIA H100 8…"),
    ],
)
def test_the_forecast_names_the_real_device(session, name, state, said):
    forecast = snapshot(session, messages.Device(name=name, state=state)).forecast
    assert forecast == f"40 s · {said} · starts at once"


def test_a_server_without_workers_says_so(session):
    assert "no device" in snapshot(session).forecast


@pytest.mark.parametrize("backend", [BackendState.STOPPED, BackendState.RUNNING, BackendState.ENDED])
@pytest.mark.parametrize(
    ("link", "title"),
    [
        (Link.REFUSED, "Not let in"),
        (Link.INCOMPATIBLE, "Versions do not fit"),
        (Link.BAD_ADDRESS, "Cannot use this server"),
    ],
)
def test_a_server_that_cannot_be_used_is_said_whatever_the_backend_does(session, link, title, backend):
    session.connection.link = link
    session.connection.error = " ".join(sentences(Reason.REFUSED, Endpoint("192.168.100.100", 47826)))
    card = build(session, around(backend=backend)).card
    assert card.title == title and card.alert
    assert " ".join(card.lines) == session.connection.error, "no word is cut off"
    assert [button.operator for button in card.buttons] == ["dreamlift.try_again", "dreamlift.show_servers"]


def test_the_card_of_a_server_that_does_not_answer_says_why(session):
    silent = Endpoint("127.0.0.1", 1)
    session.servers.add(format_pairing(silent), "studio")
    session.use_server("studio")
    session.tick()
    card = build(session, around(now=time.monotonic() + 60)).card
    assert card.title == "Server not reachable" and "Nobody listens at 127.0.0.1:1." in " ".join(card.lines)
    assert all(len(line) <= 34 for line in card.lines), card.lines


def test_the_time_left_stands_still_while_the_server_is_away(session):
    job = Job("0" * 16, "Duck", messages.JobRequest(prompt="a duck"), here=True, state=JobState.RUNNING)
    job.stage, job.seconds_left, job.said_at = "shape", 60.0, 1000.0
    session.book.accepted(job, job.id, JobState.RUNNING, -1)
    session.connection.link = Link.ONLINE
    assert build(session, around(now=1030.0)).running.line == "Shape · 30 s left"
    session.connection.link = Link.LOST
    view = build(session, around(now=1030.0)).running
    assert (view.line, view.hold) == ("Shape · 60 s left", "Waiting for the server")
