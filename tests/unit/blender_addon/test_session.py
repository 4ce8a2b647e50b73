"""The session against a scripted server: what is asked when, and what survives a server that goes away."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import numpy as np
import pytest
import zmq
from blender_addon.protocol import messages, view_grid
from blender_addon.protocol.connection_file import ConnectionFile, format_connection
from blender_addon.protocol.pairing import Endpoint
from blender_addon.protocol.states import JobState
from scripted_server import ScriptedServer

from blender_addon.client.connection import Link
from blender_addon.client.servers import ServerList
from blender_addon.jobs.job import Job
from blender_addon.jobs.picture import PicturePrompt
from blender_addon.local_backend import BackendState
from blender_addon.session import Session
from blender_addon.snapshot import Surroundings, build


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def server(home):
    context = zmq.Context()
    server = ScriptedServer(context)
    announce(home, server.endpoint)
    yield server
    server.close()
    context.term()


@pytest.fixture
def session(server, home):
    session = Session(ServerList(home / "servers.json"), "test", "0")
    yield session
    session.close()


def announce(home, endpoint: Endpoint) -> None:
    (home / "connection.json").write_text(format_connection(ConnectionFile(endpoint, 1)))


def until(condition, session, server=None, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        if server is not None:
            server.step()
        session.tick()
        time.sleep(0.005)


def submitted(session, server, prompt="a red mushroom") -> Job:
    until(lambda: session.link is Link.ONLINE, session, server)
    job = Job("", "Red mushroom", messages.JobRequest(prompt=prompt), here=True)
    session.submit(job)
    until(lambda: job.id and ("subscribe", job.id) in server.commands, session, server)
    return job


def mesh(serial: int, vertices: int = 3) -> messages.Mesh:
    return messages.Mesh(
        serial=serial,
        vertices=np.zeros((vertices, 3), np.float32),
        faces=np.array([[0, 1, 2]], np.int32),
        edges=np.array([[0, 1], [1, 2], [0, 2]], np.int32),
        face_edges=np.array([[0, 1, 2]], np.int32),
        colors=np.ones((vertices, 4), np.float32),
    )


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


def test_it_finds_the_service_of_this_computer_by_its_file(session, server):
    until(lambda: session.link is Link.ONLINE, session, server)
    assert session.welcome.server == "scripted"
    until(lambda: ("list_jobs", "") in server.commands, session, server)


def test_nothing_is_sent_while_blender_forbids_it(session, server):
    session.allowed = False
    for _ in range(20):
        server.step()
        session.tick()
    assert server.commands == []


def test_a_submitted_job_is_watched_and_follows_its_events(session, server):
    job = submitted(session, server)
    assert job.state is JobState.QUEUED and session.book.get(job.id) is job
    server.push(messages.State(state=JobState.RUNNING), job.id, 1)
    server.push(
        messages.Progress(stage="shape", stage_index=0, stage_count=2, step=1, steps=4, fraction=0.25, seconds_left=60),
        job.id,
    )
    until(lambda: job.fraction == 0.25, session, server)
    assert job.state is JobState.RUNNING
    assert job.line(time.monotonic()) == "Shape 1/2 · 60 s left"


def test_the_newest_preview_wins_and_is_taken_once(session, server):
    job = submitted(session, server)
    server.push(mesh(1, 3), job.id)
    server.push(mesh(2, 5), job.id)
    until(lambda: session.waits(job.id, "mesh"), session, server)
    until(lambda: not server.socket.poll(20), session, server)
    for _ in range(20):
        session.tick()
    assert len(session.take_mesh(job.id).vertices) == 5
    assert session.take_mesh(job.id) is None
    until(lambda: ("seen", job.id) in server.commands, session, server)


def test_a_finished_job_is_fetched_whole(session, server):
    job = submitted(session, server)
    data = bytes(range(256)) * 20000  # more than one piece
    artifact = server.add_blob(data)
    server.push(messages.State(state=JobState.FINISHED, artifacts=(artifact,), seconds=7.0), job.id, 1)
    until(lambda: session.results() == [job.id], session, server)
    assert session.take_result(job.id) == data
    assert session.results() == []
    session.committed(job)
    assert job.committed and not session.waits_for_blender()


def test_a_result_that_cannot_be_fetched_is_shown_as_a_failure(session, server):
    job = submitted(session, server)
    artifact = server.add_blob(b"x" * 10)
    server.refuse["fetch"] = messages.Error(code="unknown_blob", what="The server has no such blob.")
    server.push(messages.State(state=JobState.FINISHED, artifacts=(artifact,)), job.id, 1)
    until(lambda: job.problem is not None, session, server)
    assert job.state is JobState.FAILED and job.problem.code == "unknown_blob"
    (row,) = build(session, around()).rows
    assert row.problem is not None and row.problem.buttons[0].operator == "dreamlift.again"


def test_a_refused_request_is_shown_with_what_to_do(session, server):
    until(lambda: session.link is Link.ONLINE, session, server)
    server.refuse["submit"] = messages.Error(code="queue_full", what="The queue is full.", remedy="Cancel a job.")
    session.submit(Job("", "X", messages.JobRequest(prompt="x"), here=True))
    until(lambda: session.refused is not None, session, server)
    card = build(session, around()).card
    assert card.title == "Queue full" and "Cancel a job." in card.lines
    session.dismiss()
    assert build(session, around()).card is None
    assert len(session.book) == 0


def test_a_server_that_moved_is_found_at_its_new_port(session, server, home):
    job = submitted(session, server)
    context = zmq.Context()
    other = ScriptedServer(context, run="1" * 32)
    other.jobs = server.jobs
    announce(home, other.endpoint)
    server.mute = True
    session.connection.conversation.ready = False  # as after the silence that counts as gone
    session.connection.link = Link.LOST
    until(lambda: session.link is Link.ONLINE and ("subscribe", job.id) in other.commands, session, other)
    other.push(messages.State(state=JobState.RUNNING), job.id, 1)
    until(lambda: job.state is JobState.RUNNING, session, other)
    other.close()
    context.term()


def test_a_job_that_the_server_forgot_fails_with_a_reason(session, server):
    until(lambda: session.link is Link.ONLINE, session, server)
    saved = Job("00000000000000aa", "Old", messages.JobRequest(prompt="old"), here=True)
    session.book._jobs[saved.id] = saved
    session.open_file(session.book.to_text())
    job = session.book.get(saved.id)
    until(lambda: job.state is JobState.FAILED, session, server)
    assert job.problem.code == "unknown_job"


def test_a_file_is_left_and_its_job_found_again_when_it_opens(session, server):
    job = submitted(session, server)
    text = session.book.to_text()
    session.open_file("")
    assert not session.book.get(job.id).here
    session.open_file(text)
    assert session.book.get(job.id).here and session.book.get(job.id).name == "Red mushroom"


def test_changing_the_server_leaves_the_jobs_there(session, server, home):
    submitted(session, server)
    context = zmq.Context()
    other = ScriptedServer(context)
    from blender_addon.protocol.pairing import format_pairing

    session.servers.add(format_pairing(other.endpoint), "studio")
    session.submit(Job("", "Unanswered", messages.JobRequest(prompt="x"), here=True))
    session.use_server("studio")
    assert [job.name for job in session.book] == ["Red mushroom"], "what the old server has not answered is dropped"
    until(lambda: session.link is Link.ONLINE, session, other)
    assert build(session, around()).server == "studio"
    other.close()
    context.term()


def test_the_test_button_measures_a_round_trip(session, server):
    until(lambda: session.link is Link.ONLINE, session, server)
    session.test("This Computer")
    until(lambda: session.tests["This Computer"].ok is not None, session, server)
    test = session.tests["This Computer"]
    assert test.ok and test.text.endswith("ms · CPU"), test.text


def test_no_socket_stays_open_once_blender_forbids_the_network(session, server):
    until(lambda: session.link is Link.ONLINE, session, server)
    server.mute = True
    session.test("This Computer")
    session.tick()
    session.go_offline()
    test = session.tests["This Computer"]
    assert test.ok is False and "Online access" in test.text
    assert session.connection._socket is None and test.connection._socket is None


@pytest.mark.parametrize(
    ("changes", "title", "operator"),
    [
        ({"online_access": False}, "Allow online access", "dreamlift.allow_online"),
        ({"online_access": False, "forced_offline": True}, "Blender is offline", None),
        ({}, "Welcome to Dreamlift", "dreamlift.start_backend"),
        ({"command_found": False}, "Welcome to Dreamlift", "dreamlift.show_servers"),
        ({"backend": BackendState.ENDED, "backend_words": "no disk"}, "Backend stopped", "dreamlift.start_backend"),
        ({"backend": BackendState.RUNNING}, "Starting the backend", None),
        ({"backend": BackendState.RUNNING, "backend_stuck": True}, "No answer", "dreamlift.show_log"),
    ],
)
def test_without_a_server_the_card_says_what_mends_it(home, changes, title, operator):
    session = Session(ServerList(home / "servers.json"), "test", "0")
    card = build(session, around(**changes)).card
    assert card.title == title
    assert (card.buttons[0].operator if card.buttons else None) == operator
    assert all(len(line) <= 34 for line in card.lines), card.lines
    session.close()


def test_the_forecast_says_time_device_and_turn(session, server):
    until(lambda: session.link is Link.ONLINE and session.welcome, session, server)
    assert build(session, around()).forecast == "40 s · CPU · starts at once"
    submitted(session, server)
    assert build(session, around()).forecast == "40 s · CPU · 2nd in line"


# -- preview of seeds ------------------------------------------------------------------------------


def previewing(session, server, seeds=(3, 7)) -> Job:
    until(lambda: session.link is Link.ONLINE, session, server)
    request = messages.JobRequest(prompt="a red mushroom", goal="views", seeds=seeds)
    job = Job("", "Red mushroom", request)
    session.preview_seeds(job)
    until(lambda: job.id and ("subscribe", job.id) in server.commands, session, server)
    return job


def seed_pictures(seeds, shade=50, serial=1) -> messages.Views:
    images = np.full((len(seeds) * 2, 4, 4, 3), shade, np.uint8)
    return messages.Views(serial=serial, names=("front", "back"), seeds=seeds, images=images)


def test_a_preview_of_seeds_is_no_row_of_the_list_and_nothing_that_runs(session, server):
    job = previewing(session, server)
    server.push(messages.State(state=JobState.RUNNING), job.id, 1)
    until(lambda: job.state is JobState.RUNNING, session, server)
    shown = build(session, around(seed_icons={3: (1, 2)}))
    assert shown.rows == () and shown.running is None
    assert shown.seeds.rows == ((3, (1, 2)), (7, ())) and shown.seeds.can_use and shown.seeds.line
    assert shown.can_generate, "an object can be asked for meanwhile"


def test_pictures_arrive_and_the_finished_ones_are_fetched_and_taken_off_the_server(session, server):
    job = previewing(session, server)
    server.push(messages.State(state=JobState.RUNNING), job.id, 1)
    server.push(seed_pictures((3, 7)), job.id)
    until(lambda: session.waits(job.id, "views"), session, server)
    session.preview.take(session.take_views(job.id))
    assert session.preview.fresh and session.waits_for_blender()
    images = np.full((2, 2, 4, 4, 3), 99, np.uint8)
    artifact = server.add_blob(view_grid.pack_views(images), "views.npy")
    server.push(messages.State(state=JobState.FINISHED, artifacts=(artifact,)), job.id, 2)
    until(lambda: session.preview.complete, session, server)
    assert session.preview.rows()[1][1][0].max() == 99 and session.results() == []
    until(lambda: ("remove", job.id) in server.commands, session, server)
    assert session.book.get(job.id) is None
    assert build(session, around()).seeds.line == ""


def test_a_damaged_file_of_pictures_is_said(session, server):
    job = previewing(session, server)
    artifact = server.add_blob(b"no pictures", "views.npy")
    server.push(messages.State(state=JobState.FINISHED, artifacts=(artifact,)), job.id, 1)
    until(lambda: job.problem is not None, session, server)
    assert build(session, around()).seeds.problem.title == "Unreadable result"


def test_a_preview_that_fails_says_why_in_its_box(session, server):
    job = previewing(session, server)
    problem = messages.Problem(code="unknown_words", what="The model does not know it.", remedy="Use other words.")
    server.push(messages.State(state=JobState.FAILED, problem=problem), job.id, 1)
    until(lambda: job.state is JobState.FAILED, session, server)
    assert build(session, around()).seeds.problem.title == "Unknown words"
    assert session.take_ended() == [], "nothing of it is in the scene"


def test_a_preview_put_away_is_cancelled_and_then_removed(session, server):
    job = previewing(session, server)
    session.drop_preview()
    until(lambda: ("cancel", job.id) in server.commands, session, server)
    assert build(session, around()).seeds is None
    server.push(messages.State(state=JobState.CANCELLED), job.id, 1)
    until(lambda: ("remove", job.id) in server.commands, session, server)
    assert session.book.get(job.id) is None


def test_choosing_a_seed_early_ends_the_drawing_and_keeps_the_pictures(session, server):
    job = previewing(session, server)
    session.settle_preview()
    until(lambda: ("finish", job.id) in server.commands, session, server)
    assert session.preview.job is job


def test_one_put_away_before_the_server_answered_is_cancelled_when_it_does(session, server):
    until(lambda: session.link is Link.ONLINE, session, server)
    job = Job("", "Red mushroom", messages.JobRequest(goal="views", seeds=(1,)))
    session.preview_seeds(job)
    session.drop_preview()
    until(lambda: ("cancel", job.id) in server.commands, session, server)


def test_a_second_preview_takes_the_place_of_the_first(session, server):
    first = previewing(session, server)
    second = previewing(session, server, (8, 9))
    until(lambda: ("cancel", first.id) in server.commands, session, server)
    assert session.preview.job is second and [seed for seed, _ in session.preview.rows()] == [8, 9]


def test_a_refused_preview_leaves_no_box_and_says_why(session, server):
    server.refuse["submit"] = messages.Error(code="no_views", what="It cannot.", remedy="Use another.")
    until(lambda: session.link is Link.ONLINE, session, server)
    session.preview_seeds(Job("", "Red mushroom", messages.JobRequest(goal="views", seeds=(1,))))
    until(lambda: session.refused is not None, session, server)
    assert session.preview is None and build(session, around()).card.title == "No views"


def test_another_file_or_server_has_no_use_for_the_pictures(session, server):
    previewing(session, server)
    session.open_file("")
    assert session.preview is None
    previewing(session, server)
    session.use_server("This Computer")
    assert session.preview is None


def test_a_preview_that_the_server_forgot_is_given_up(session, server):
    job = previewing(session, server)
    server.jobs.clear()
    server.known.clear()
    server.run = "f" * 32
    until(lambda: job.state is JobState.FAILED, session, server, seconds=15)
    assert build(session, around()).seeds.problem.title == "Unknown job"


def test_seeds_are_offered_only_where_the_model_can_draw_them(session, server):
    until(lambda: session.link is Link.ONLINE, session, server)
    assert build(session, around()).can_preview
    server.pipeline = replace(server.pipeline, view_names=())
    server.known.clear()
    server.run = "e" * 32
    until(lambda: not session.welcome.pipelines[0].view_names, session, server, seconds=15)
    assert not build(session, around()).can_preview


def picture() -> PicturePrompt:
    made = PicturePrompt("key", "ball.png", io.BytesIO(b"a picture"))
    made.step(float("inf"))
    return made


def test_a_picture_is_uploaded_cut_out_and_sent_with_the_job(session, server):
    until(lambda: session.link is Link.ONLINE, session, server)
    made = picture()
    session.use_picture(made)
    session.cut_out(made)
    assert made.asked
    until(lambda: made.is_cut_out, session, server)
    assert server.uploads[made.source.sha256] == b"a picture" and made.method == "plane"
    upload = made.upload(True)
    job = Job("", "Ball", messages.JobRequest(images={"reference": upload.sha256}), here=True)
    session.submit(job, {"reference": upload})
    until(lambda: job.id, session, server)
    assert server.uploads[upload.sha256].startswith(b"\x89PNG")
    assert server.jobs[0].request.images == {"reference": upload.sha256}


def test_a_refused_picture_hears_it_and_a_change_of_server_frees_it(session, server, home):
    until(lambda: session.link is Link.ONLINE, session, server)
    server.refuse["cut_out"] = messages.Error(code="busy", what="Nine pictures wait.", remedy="Try again.")
    made = picture()
    session.use_picture(made)
    session.cut_out(made)
    until(lambda: made.problem is not None, session, server)
    assert made.problem.code == "busy" and session.refused is None
    server.mute = True
    session.cut_out(made)
    assert made.asked
    session.use_server(session.servers.in_use)
    assert not made.asked and not session._cut_outs


def test_the_panel_says_what_an_image_needs(session, server):
    server.others = (
        replace(server.pipeline, name="imagedream", label="ImageDream", image_roles=("reference", "mask")),
    )
    until(lambda: session.link is Link.ONLINE, session, server)
    shown = build(session, around())
    assert shown.sources == ("TEXT", "IMAGE") and shown.source == "TEXT" and not shown.needs
    shown = build(session, around(source="IMAGE"))
    assert shown.pipeline == "imagedream" and "image first" in shown.needs and shown.picture is None
    made = picture()
    session.use_picture(made)
    assert build(session, around(source="IMAGE")).needs == "The subject is being cut out"
    assert build(session, around(source="IMAGE", cut=False)).needs == ""
    session.cut_out(made)
    assert build(session, around(source="IMAGE")).picture.is_busy
    until(lambda: made.is_cut_out, session, server)
    view = build(session, around(source="IMAGE", picture_icon=7)).picture
    assert (view.icon, view.line, view.is_cut, view.problem) == (7, "Found on a plain background", True, None)
    assert build(session, around(source="IMAGE", painting=True)).needs == "Press Use Mask first"


def test_a_server_without_the_command_gets_the_file_as_it_is(session, server):
    server.features = ()
    server.others = (replace(server.pipeline, name="imagedream", image_roles=("reference",)),)
    until(lambda: session.link is Link.ONLINE, session, server)
    session.use_picture(picture())
    shown = build(session, around(source="IMAGE"))
    assert not session.can_cut_out and shown.needs == "" and not shown.picture.can_cut
