"""A live service with scripted workers, over real sockets: jobs, steering, refusals, previews, transfers, security."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from dataclasses import replace

import pytest
import zmq
from live_service import LiveService

from dreamlift.client.finding import ClientError, find_server
from dreamlift.client.session import Client, open_socket
from dreamlift.pipelines.catalog import PIPELINES
from dreamlift.protocol import codec, events, limits, messages, view_grid
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.messages import JobRequest
from dreamlift.protocol.pairing import Endpoint, format_pairing
from dreamlift.protocol.states import JobState
from dreamlift.service.keys import add_client, make_key_pair, revoke_client
from dreamlift.service.settings import ServiceError, ServiceSettings


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with LiveService(tmp_path_factory.mktemp("live"), attempts=2, cancel_grace=1.0) as service:
        yield service


@pytest.fixture
def client(live):
    with live.client() as client:
        yield client


@pytest.fixture
def raw(live):
    """A bare socket with the local key: says anything."""
    context = zmq.Context()
    socket = open_socket(context, find_server(home=live.home))
    socket.rcvtimeo = 20_000
    yield socket
    socket.close(0)
    context.term()


def make(client, prompt, **request):
    return client.submit(JobRequest(prompt=prompt, **request))


def until(client, job, state):
    for event in client.follow(job):
        if isinstance(event, events.JobChanged) and event.state.state is state:
            return event.state
    raise AssertionError(f"the job ended without {state}")


def ask(socket, message, id=1, job=""):
    socket.send_multipart(codec.encode(message, id=id, job=job))
    return answer(socket)


def answer(socket):
    return codec.decode(socket.recv_multipart(), messages.FROM_SERVER)


def test_a_job_runs_and_its_artifacts_arrive(client, tmp_path):
    prompt = "steps=10 warn=1"
    job = make(client, prompt)
    told = list(client.follow(job))
    states = [event.state.state.value for event in told if isinstance(event, events.JobChanged)]
    assert states == ["queued", "running", "finished"]
    assert [event.warning.code for event in told if isinstance(event, events.JobWarned)] == ["few_steps"]
    summary = client.job(job)
    assert [artifact.name for artifact in summary.artifacts] == ["asset.glb", "provenance.json"]
    client.download(summary.artifacts[0], tmp_path / "a.glb")
    assert (tmp_path / "a.glb").read_bytes() == prompt.encode() * 1000
    assert client.refresh().pipelines[0].presets[0].seconds > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.glb"]


def test_a_job_for_views_shows_its_seeds_leaves_pictures_and_is_no_measured_run(client, tmp_path):
    before = client.refresh().pipelines[0].presets[0].seconds
    assert client.welcome.pipelines[0].view_names == ("front", "right", "back", "left")
    request = JobRequest(prompt="steps=40 views", goal="views", seeds=(3, 2**62))
    job = client.submit(request, watch=True)
    shown = []
    for event in client.follow(job, previews=True):
        if isinstance(event, events.PreviewWaiting):
            shown.append(client.preview(job, event.kind))
    summary = client.job(job)
    assert summary.state is JobState.FINISHED and summary.request == request
    files = {artifact.name: artifact for artifact in summary.artifacts}
    assert set(files) == {"views.npy", "contact_sheet.png", "provenance.json"}
    assert shown and all(preview.TYPE == "views" and preview.seeds == request.seeds for preview in shown)
    assert all(len(preview.images) == 2 * len(preview.names) for preview in shown)
    client.download(files["views.npy"], tmp_path / "views.npy")
    images = view_grid.unpack_views((tmp_path / "views.npy").read_bytes())
    assert images.shape == (2, 2, 8, 8, 3) and images[0].max() == 3
    assert client.refresh().pipelines[0].presets[0].seconds == before


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"seeds": ()}, "bad_seeds"),
        ({"seeds": (4, 4)}, "bad_seeds"),
        ({"settings": {"steps": 50}}, "unknown_setting"),
        ({"images": {"reference": "ab" * 32}}, "no_image"),
    ],
)
def test_a_request_for_views_that_cannot_run_is_refused_at_once(client, changes, code):
    with pytest.raises(ProtocolError) as caught:
        client.submit(JobRequest(**{"goal": "views", "seeds": (1, 2), **changes}))
    assert caught.value.code == code


@pytest.mark.parametrize("pipeline", ["v3d"])
def test_a_pipeline_for_views_alone_says_so_in_the_handshake_and_makes_no_object(client, pipeline):
    offered = {each.name: each for each in client.welcome.pipelines}
    assert offered["mvdream"].makes_objects and not offered[pipeline].makes_objects
    with pytest.raises(ProtocolError) as caught:
        client.submit(JobRequest(pipeline=pipeline, preset="full", prompt="a box"))
    assert caught.value.code == "no_object"


def test_a_job_for_views_is_cancelled_like_any_other(client):
    job = client.submit(JobRequest(prompt="steps=2000 views", goal="views", seeds=(1,)))
    for event in client.follow(job):
        if isinstance(event, events.JobChanged) and event.state.state is JobState.RUNNING:
            client.cancel(job)
    summary = client.job(job)
    assert summary.state is JobState.CANCELLED and not summary.artifacts


def test_a_job_says_that_it_is_loading_before_its_pipeline_says_anything(client):
    stages = []
    for event in client.follow(make(client, "steps=50")):
        if isinstance(event, events.JobProgressed) and event.progress.stage not in stages:
            stages.append(event.progress.stage)
    assert stages[-1] == "Shape" and set(stages) <= {"Waiting", "Loading", "Shape"}


def test_an_interrupted_download_goes_on(client, tmp_path):
    job = make(client, "steps=1 long")
    client.wait(job, 60)
    artifact = client.job(job).artifacts[0]
    partial = tmp_path / f".a.glb.{artifact.sha256[:12]}.part"
    partial.write_bytes(b"steps=1 long" * 100)
    seen = []
    client.download(artifact, tmp_path / "a.glb", lambda have, size: seen.append((have, size)))
    assert (tmp_path / "a.glb").read_bytes() == b"steps=1 long" * 1000
    assert seen[-1] == (artifact.size, artifact.size)
    partial.write_bytes(b"wrong" * 100)
    with pytest.raises(ProtocolError, match="damaged"):
        client.download(artifact, tmp_path / "a.glb")
    client.download(artifact, tmp_path / "a.glb")


def test_pictures_are_uploaded_once_and_asked_for_where_they_are_missing(tmp_path):
    pictured = {"mvdream": replace(PIPELINES["mvdream"], image_roles=("reference",))}
    picture = os.urandom(3 * limits.MIB)
    with LiveService(tmp_path, pictured) as live, live.client() as client:
        for _ in range(2):
            job = client.submit(JobRequest(prompt="steps=1"), {"reference": picture})
            client.wait(job, 60)
        assert client.job(job).request.images == {"reference": hashlib.sha256(picture).hexdigest()}
        for images, code in (({}, "missing_image"), ({"reference": "ab" * 32}, "missing_blob")):
            with pytest.raises(ProtocolError) as caught:
                client.submit(JobRequest(images=images))
            assert caught.value.code == code


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (JobRequest(pipeline="sculpt"), "unknown_pipeline"),
        (JobRequest(preset="huge"), "unknown_preset"),
        (JobRequest(settings={"colour": 1}), "unknown_setting"),
        (JobRequest(settings={"steps": -1}), "bad_setting"),
        (JobRequest(images={"reference": "ab" * 32}), "no_image"),
    ],
)
def test_what_cannot_run_is_refused_at_once(client, request_, code):
    with pytest.raises(ProtocolError) as caught:
        client.submit(request_)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("prompt", "code"),
    [("refuse=1", "unknown_words"), ("memory=1", "out_of_memory"), ("fail=secret-path", "internal_error")],
)
def test_a_failed_job_says_why_and_the_worker_goes_on(client, prompt, code):
    state = client.wait(make(client, prompt), 60)
    assert (state.state, state.problem.code) == (JobState.FAILED, code)
    assert "secret-path" not in state.problem.what + state.problem.remedy
    assert client.wait(make(client, "steps=1"), 60).state is JobState.FINISHED


def test_a_pipelines_suggestion_reaches_the_client(client):
    assert client.wait(make(client, "refuse=1"), 60).problem.suggestion == {"steps": 5}


def test_a_job_that_kills_its_workers_fails_in_the_end(client):
    job = make(client, "crash_at=0")
    told = [event.state for event in client.follow(job) if isinstance(event, events.JobChanged)]
    assert [state.state.value for state in told] == ["queued", "running", "queued", "running", "failed"]
    assert told[2].problem.code == told[4].problem.code == "worker_lost"
    assert client.wait(make(client, "steps=1"), 60).state is JobState.FINISHED


def test_cancel_ends_a_running_job(client):
    job = make(client, "steps=2000")
    until(client, job, JobState.RUNNING)
    assert client.cancel(job) is JobState.CANCELLING
    assert client.wait(job, 60).state is JobState.CANCELLED
    assert client.cancel(job) is JobState.CANCELLED, "a repeated cancel is no error"
    with pytest.raises(ProtocolError, match="cancelled"):
        client.pause(job)


def test_a_worker_that_does_not_obey_a_cancel_is_ended(client):
    job = make(client, "hang_at=0")
    until(client, job, JobState.RUNNING)
    client.cancel(job)
    assert client.wait(job, 60).state is JobState.CANCELLED
    assert client.wait(make(client, "steps=1"), 60).state is JobState.FINISHED


def test_use_now_finishes_early(client):
    job = make(client, "steps=2000")
    until(client, job, JobState.RUNNING)
    assert client.finish(job) is JobState.FINISHING
    state = client.wait(job, 60)
    assert (state.state, len(state.artifacts)) == (JobState.FINISHED, 2)


def test_pause_frees_the_worker_and_resume_goes_on(client):
    job = make(client, "steps=100")
    until(client, job, JobState.RUNNING)
    client.pause(job)
    until(client, job, JobState.PAUSED)
    assert client.wait(make(client, "steps=1"), 60).state is JobState.FINISHED
    assert client.resume(job) is JobState.QUEUED
    assert client.wait(job, 60).attempt == 2


def test_waiting_jobs_can_be_moved_paused_finished_and_cancelled(client):
    blocker = make(client, "steps=2000")
    until(client, blocker, JobState.RUNNING)
    one, two, three = (make(client, f"steps=1 {name}") for name in "abc")
    client.move(three, one)
    places = {summary.job: summary.position for summary in client.jobs()}
    assert (places[three], places[one], places[two], places[blocker]) == (0, 1, 2, -1)
    assert client.pause(one) is JobState.PAUSED
    assert client.cancel(two) is JobState.CANCELLED
    assert client.finish(three) is JobState.QUEUED
    with pytest.raises(ProtocolError, match="moved"):
        client.move(one)
    client.cancel(blocker)
    assert client.wait(three, 60).state is JobState.FINISHED
    assert client.cancel(one) is JobState.CANCELLED


def test_removing_is_told_to_those_who_watch_and_is_repeatable(live, client):
    job = make(client, "steps=1")
    last = client.wait(job, 60)
    with pytest.raises(ProtocolError, match="removed"):
        client.remove(make(client, "steps=2000 blocker"))
    client.cancel(client.jobs(1)[0].job)
    with live.client() as other:
        other._conversation.watch(job, after=3)
        other.refresh()
        client.remove(job)
        event = other._until(lambda event: isinstance(event, events.JobChanged), 20, "the removal")
        assert event.state.state is JobState.REMOVED
    assert last.state is JobState.FINISHED
    assert client.remove(job) is JobState.REMOVED
    with pytest.raises(ProtocolError, match="no job"):
        list(client.follow(job))


def test_who_comes_later_is_told_everything_from_the_start(live, client):
    job = make(client, "steps=5")
    client.wait(job, 60)
    with live.client() as late:
        assert [event.sequence for event in late.follow(job) if isinstance(event, events.JobChanged)] == [1, 2, 3]
        assert list(late.follow(job, after=3)) == [], "who knew the end is not kept waiting"


def test_a_slow_viewer_skips_previews_and_gets_the_newest(client):
    job = make(client, "steps=100 preview=1 pause=0.02")
    serials = []
    for event in client.follow(job, previews=True):
        if isinstance(event, events.PreviewWaiting) and event.kind == "mesh":
            time.sleep(0.3)
            mesh = client.preview(job, "mesh")
            serials.append(mesh.serial)
            assert mesh.topology == 1, "only vertices moved"
    assert serials == sorted(set(serials))
    assert len(serials) < 30, "one at a time, not a backlog of a hundred"
    assert serials[-1] - serials[0] > len(serials), "some were skipped"


def test_lists_carry_thumbnails(live, client):
    job = make(client, "steps=3 preview=1")
    client.wait(job, 60)
    identity = client._conversation.list_jobs(5)
    page = client._answered(identity, messages.Jobs).answer
    (summary,) = [summary for summary in page.jobs if summary.job == job]
    assert page.thumbnails[summary.thumbnail].shape == (64, 64, 3)
    assert (page.thumbnails[summary.thumbnail] == 2).all(), "the picture of the last step"


def test_bad_messages_are_answered_and_the_connection_lives_on(raw):
    assert ask(raw, messages.Ping()).message.code == "no_session"
    assert ask(raw, messages.Hello(client="x", versions=(7,))).message.code == "version_unsupported"
    raw.send_multipart([b"\xc1"])
    assert answer(raw).message.code == "bad_header"
    raw.send_multipart([b"x"] * 40)
    assert answer(raw).message.code == "too_many_frames"
    raw.send_multipart([bytes(limits.MAX_COMMAND_BYTES + 1)])
    assert answer(raw).message.code == "frame_too_large"
    welcome = ask(raw, messages.Hello(client="x", versions=(1, 7)))
    assert (welcome.message.version, welcome.id) == (1, 1)
    assert isinstance(ask(raw, messages.Ping()).message, messages.Pong)
    job = "0" * 16
    for message in (messages.Cancel(), messages.Subscribe(), messages.Resume(), messages.Move()):
        assert ask(raw, message, 5, job).message.code == "unknown_job"


def test_a_refused_hello_opens_no_session(raw):
    assert ask(raw, messages.Hello(client="x", versions=(7,))).message.code == "version_unsupported"
    assert ask(raw, messages.Ping()).message.code == "no_session"
    ask(raw, messages.Hello(client="x", versions=(1,)))
    assert ask(raw, messages.Hello(client="x", versions=(7,))).message.code == "version_unsupported"
    assert isinstance(ask(raw, messages.Ping()).message, messages.Pong), "an open session stays"


def test_bye_ends_the_session(raw):
    ask(raw, messages.Hello(client="x", versions=(1,)))
    raw.send_multipart(codec.encode(messages.Bye()))
    assert ask(raw, messages.Ping()).message.code == "no_session"


def test_without_a_key_nobody_gets_a_byte(live):
    right = find_server(home=live.home)
    stranger = make_key_pair()
    context = zmq.Context()
    sockets = []
    for endpoint in (
        Endpoint(right.host, right.port),  # no keys at all
        Endpoint(right.host, right.port, right.server_key, stranger.public, stranger.secret),
        Endpoint(right.host, right.port, stranger.public, right.client_public, right.client_secret),
    ):
        socket = open_socket(context, endpoint)
        sockets.append(socket)
    control = open_socket(context, right)
    sockets.append(control)
    assert control.poll(20_000, zmq.POLLOUT)
    time.sleep(0.5)
    # Without a handshake nothing can even be sent: the socket waits for a peer (IMMEDIATE).
    accepted = [bool(socket.poll(0, zmq.POLLOUT)) for socket in sockets]
    heard = [bool(socket.poll(0)) for socket in sockets]
    for socket in sockets:
        socket.close(0)
    context.term()
    assert accepted == [False, False, False, True] and not any(heard)


def test_a_paired_computer_comes_in_until_it_is_revoked(live):
    endpoint = find_server(home=live.home)
    pairing = add_client(live.home, "studio", endpoint.host, endpoint.port)
    with Client(pairing, wait=20) as paired:
        assert paired.jobs(1) is not None
        revoke_client(live.home, "studio")
        time.sleep(0.6)
        paired._conversation.list_jobs()
        with pytest.raises(ClientError, match="answer"):
            paired._until(lambda event: isinstance(event, events.Answered), 1.0, "an answer")
    with pytest.raises(ClientError) as caught:
        Client(pairing, wait=20.0)
    assert caught.value.code == "key_refused"


def test_a_worker_key_is_not_a_client_key(live):
    endpoint = find_server(home=live.home)
    supervisor = live.service._supervisor
    (public,) = live.service._gatekeeper.workers
    assert supervisor.workers[0].public == public
    assert not live.service._ring.allows(public)
    assert format_pairing(endpoint)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the user's folder private by ACL")
def test_the_connection_file_is_private(live):
    for path in (live.home / "connection.json", live.home / "service.db", live.home / "logs"):
        assert stat.S_IMODE(live.home.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((live.home / "connection.json").stat().st_mode) == 0o600


def test_a_second_service_on_the_same_home_says_so(live):
    with pytest.raises(ServiceError) as caught:
        LiveService(live.home)
    assert caught.value.code == "already_running"
    assert str(os.getpid()) in caught.value.what


def test_a_taken_port_is_said(live, tmp_path):
    with pytest.raises(ServiceError) as caught:
        LiveService(tmp_path, port=find_server(home=live.home).port)
    assert caught.value.code == "port_taken"


def test_a_service_that_could_not_start_leaves_its_home_free(live, tmp_path):
    with pytest.raises(ServiceError):
        LiveService(tmp_path, port=find_server(home=live.home).port)
    with LiveService(tmp_path) as service, service.client() as client:
        assert client.welcome.server == "dreamlift"


def test_without_keys_only_on_loopback(tmp_path):
    with pytest.raises(ServiceError, match="loopback"):
        ServiceSettings(home=tmp_path, host="0.0.0.0", insecure_loopback=True)
    with LiveService(tmp_path, insecure_loopback=True) as service:
        assert not find_server(home=tmp_path).is_encrypted
        with service.client() as client:
            assert client.wait(make(client, "steps=1"), 60).state is JobState.FINISHED


def test_a_restart_keeps_port_keys_queue_and_clients(tmp_path):
    first = LiveService(tmp_path)
    with first.client() as client:
        endpoint = find_server(home=tmp_path)
        running, waiting = make(client, "steps=3000"), make(client, "steps=1")
        until(client, running, JobState.RUNNING)
        first.close()
        assert not (tmp_path / "connection.json").exists()
        with LiveService(tmp_path):
            assert find_server(home=tmp_path) == endpoint
            told = client._until(lambda event: isinstance(event, events.ServerReady), 30, "the restart")
            assert told.restarted
            states = {summary.job: summary.state for summary in client.jobs()}
            assert states[waiting] is JobState.QUEUED
            assert states[running] in (JobState.QUEUED, JobState.RUNNING)
            client.cancel(running)
            assert client.wait(waiting, 60).state is JobState.FINISHED


def test_a_full_queue_refuses_new_jobs(tmp_path):
    with LiveService(tmp_path, unfinished_jobs=1) as service, service.client() as client:
        make(client, "steps=3000")
        with pytest.raises(ProtocolError) as caught:
            make(client, "steps=1")
        assert caught.value.code == "queue_full"


def test_a_worker_command_that_cannot_start_is_logged_and_tried_again(tmp_path):
    with LiveService(tmp_path, worker_command=("/nonexistent/worker",)) as service, service.client() as client:
        time.sleep(0.5)
        assert client.refresh().devices[0].state == "down"
        assert client.jobs() == []
    log = (tmp_path / "logs" / "service.log").read_text()
    assert log.count("could not be started") > 1
