"""The client's side of the conversation, driven by a scripted server made of frames: no sockets, no clock."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import wire_examples

from dreamlift.protocol import codec, events, limits, messages
from dreamlift.protocol.conversation import RESEND_SECONDS, Conversation
from dreamlift.protocol.errors import ProtocolError
from dreamlift.protocol.messages import JobRequest, State
from dreamlift.protocol.states import JobState
from dreamlift.protocol.transfers import Upload

JOB = wire_examples.JOB
RUN, OTHER_RUN = "0" * 32, "1" * 32


class Desk:
    """A conversation and what it sent."""

    def __init__(self):
        self.now = 100.0
        self.talk = Conversation("test", "1")
        self.happened: list[events.Event] = []

    def sent(self):
        envelopes = [codec.decode([bytes(f) for f in frames], messages.FROM_CLIENT) for frames in self.talk.outbox]
        self.talk.outbox.clear()
        return envelopes

    def sent_of(self, kind):
        return [envelope for envelope in self.sent() if isinstance(envelope.message, kind)]

    def server(self, message, id=0, job="", sequence=0):
        frames = [bytes(f) for f in codec.encode(message, id=id, job=job, sequence=sequence)]
        happened = self.talk.receive(frames, self.now)
        self.happened += happened
        return happened

    def wait(self, seconds):
        self.now += seconds
        return self.talk.tick(self.now)

    def connect(self, run=RUN):
        self.talk.open(self.now)
        return self.welcome(run)

    def welcome(self, run=RUN):
        hello = self.sent_of(messages.Hello)[-1]
        return self.server(
            messages.Welcome(server="s", server_run=run, version=1, limits=messages.ServerLimits()), hello.id
        )

    def watched(self, after=0):
        """Connected and following JOB."""
        self.connect()
        identity = self.talk.watch(JOB, after)
        self.sent()
        self.server(messages.Subscribed(state="running", last_sequence=after), identity, JOB)
        return self


def error(code):
    return messages.Error(code=code, what="What.", remedy="Remedy.")


def test_hello_comes_first_and_welcome_makes_it_ready():
    desk = Desk()
    identity = desk.talk.cancel(JOB)
    assert desk.talk.outbox.__len__() == 0, "nothing is sent before the connection is open"
    desk.talk.open(desk.now)
    hello = desk.sent()
    assert [type(e.message) for e in hello] == [messages.Hello]
    assert not desk.talk.ready
    (ready,) = desk.server(
        messages.Welcome(server="s", server_run=RUN, version=1, limits=messages.ServerLimits()), hello[0].id
    )
    assert ready == events.ServerReady(desk.talk.welcome, restarted=False)
    assert desk.talk.ready
    (cancel,) = desk.sent()
    assert (cancel.message, cancel.id, cancel.job) == (messages.Cancel(), identity, JOB)


def test_an_answer_finds_its_command_once():
    desk = Desk()
    desk.connect()
    identity = desk.talk.pause(JOB)
    done = messages.Done(state="pausing")
    assert desk.server(done, identity, JOB) == [events.Answered(identity, messages.Pause(), JOB, done)]
    assert desk.server(done, identity, JOB) == []


def test_a_refusal_is_told_with_its_sentences():
    desk = Desk()
    desk.connect()
    identity = desk.talk.resume(JOB)
    (refused,) = desk.server(error("wrong_state"), identity, JOB)
    assert (refused.id, refused.error.code, refused.error.remedy) == (identity, "wrong_state", "Remedy.")


def test_submit_watches_the_job_it_gets():
    desk = Desk()
    desk.connect()
    identity = desk.talk.submit(JobRequest(prompt="a duck"))
    (submit,) = desk.sent()
    assert submit.message.request.prompt == "a duck"
    (answered,) = desk.server(messages.Accepted(state="queued", position=0), identity, JOB)
    assert answered.job == JOB
    (subscribe,) = desk.sent_of(messages.Subscribe)
    assert (subscribe.job, subscribe.message.after) == (JOB, 0)


def test_a_bad_request_is_refused_before_it_is_sent():
    desk = Desk()
    desk.connect()
    with pytest.raises(ProtocolError, match="seed"):
        desk.talk.submit(JobRequest(seed=-1))
    assert not desk.sent()


def test_events_come_in_order_and_once():
    desk = Desk().watched()
    running = State(state=JobState.RUNNING, attempt=1)
    assert desk.server(running, 0, JOB, 1) == [events.JobChanged(JOB, 1, running)]
    assert desk.server(running, 0, JOB, 1) == [], "a replay is dropped"
    warning = messages.Warning(code="x", what="y")
    assert desk.server(warning, 0, JOB, 2) == [events.JobWarned(JOB, 2, warning)]
    assert desk.talk.last_sequence(JOB) == 2


def test_a_gap_asks_for_the_rest_once():
    desk = Desk().watched()
    running = State(state=JobState.RUNNING, attempt=1)
    desk.sent()
    assert desk.server(running, 0, JOB, 3) == []
    assert desk.server(running, 0, JOB, 4) == []
    (subscribe,) = desk.sent_of(messages.Subscribe)
    assert subscribe.message.after == 0


def test_events_of_jobs_that_nobody_watches_are_dropped():
    desk = Desk()
    desk.connect()
    assert desk.server(State(state=JobState.RUNNING), 0, JOB, 1) == []


def test_a_removed_job_is_told_and_forgotten():
    desk = Desk().watched(3)
    (changed,) = desk.server(State(state=JobState.REMOVED), 0, JOB, 4)
    assert changed.state.state is JobState.REMOVED
    assert desk.talk.last_sequence(JOB) == 0


def test_previews_are_latest_wins_and_seen_when_taken():
    desk = Desk().watched()
    mesh = messages.Mesh(serial=5, **wire_examples._triangle)
    newer = messages.Mesh(serial=6, **wire_examples._triangle)
    assert desk.server(mesh, 0, JOB) == [events.PreviewWaiting(JOB, "mesh")]
    desk.server(newer, 0, JOB)
    assert not desk.sent_of(messages.Seen)
    assert desk.talk.take_preview(JOB, "mesh").serial == 6
    (seen,) = desk.sent()
    assert (seen.message.kind, seen.message.serial, seen.job) == ("mesh", 6, JOB)
    assert desk.talk.take_preview(JOB, "mesh") is None


def test_a_restart_is_told_and_everything_open_is_asked_again():
    desk = Desk().watched()
    desk.server(State(state=JobState.RUNNING), 0, JOB, 1)
    pause = desk.talk.pause(JOB)
    desk.sent()
    assert desk.server(error("no_session")) == []
    assert not desk.talk.ready
    (ready,) = desk.welcome(OTHER_RUN)
    assert ready.restarted
    again = desk.sent()
    assert {type(e.message) for e in again} == {messages.Pause, messages.Subscribe}
    subscribe = next(e for e in again if isinstance(e.message, messages.Subscribe))
    assert subscribe.message.after == 1
    assert [e.id for e in again if isinstance(e.message, messages.Pause)] == [pause]


def test_a_burst_of_no_session_says_hello_once():
    desk = Desk()
    desk.connect()
    for _ in range(20):
        desk.server(error("no_session"))
    assert len(desk.sent_of(messages.Hello)) == 1


def test_a_submit_is_repeated_with_the_same_token():
    desk = Desk()
    desk.connect()
    desk.talk.submit(JobRequest(prompt="a duck"))
    (first,) = desk.sent()
    desk.server(error("no_session"))
    desk.welcome(OTHER_RUN)
    (second,) = desk.sent()
    assert first.message.token == second.message.token
    assert first.id == second.id


def test_silence_is_answered_with_pings_and_then_told():
    desk = Desk()
    desk.connect()
    desk.sent()
    assert desk.wait(limits.PING_SECONDS + 0.1) == []
    assert len(desk.sent_of(messages.Ping)) == 1
    happened = []
    while not happened:
        happened = desk.wait(1.0)
    (gone,) = happened
    assert isinstance(gone, events.ServerGone)
    assert gone.seconds > limits.SERVER_SILENCE_SECONDS
    assert not desk.talk.ready
    assert len(desk.sent_of(messages.Hello)) == 1
    desk.wait(limits.PING_SECONDS + 0.1)
    assert len(desk.sent_of(messages.Hello)) == 1, "it goes on trying"


def test_hellos_do_not_pile_up_while_nobody_takes_them():
    desk = Desk()
    desk.talk.open(desk.now)
    for _ in range(50):
        desk.wait(1.0)
    assert len(desk.talk.outbox) == 1


def test_a_ping_of_the_server_is_answered():
    desk = Desk()
    desk.connect()
    desk.server(messages.Ping(), 7)
    frames = desk.talk.outbox.popleft()
    assert codec.decode([bytes(f) for f in frames], messages.FROM_SERVER).id == 7


def test_an_unanswered_command_is_sent_again():
    desk = Desk()
    desk.connect()
    identity = desk.talk.cancel(JOB)
    desk.sent()
    for _ in range(int(RESEND_SECONDS) + 1):
        desk.wait(1.0)
        desk.server(messages.Pong())
    assert [e.id for e in desk.sent_of(messages.Cancel)] == [identity]


def test_a_version_that_is_not_shared_stops_the_conversation():
    desk = Desk()
    desk.talk.open(desk.now)
    (hello,) = desk.sent()
    (incompatible,) = desk.server(error("version_unsupported"), hello.id)
    assert isinstance(incompatible, events.ServerIncompatible)
    assert desk.wait(60) == [] and not desk.sent()


def test_another_error_to_hello_is_tried_again():
    desk = Desk()
    desk.talk.open(desk.now)
    (hello,) = desk.sent()
    desk.server(error("internal_error"), hello.id)
    desk.wait(limits.PING_SECONDS + 0.1)
    assert len(desk.sent_of(messages.Hello)) == 1


def test_what_cannot_be_read_is_told_and_dropped():
    desk = Desk()
    desk.connect()
    (unreadable,) = desk.talk.receive([b"\xc1"], desk.now)
    assert unreadable.error.code == "bad_header"
    assert desk.talk.ready


def test_close_says_goodbye_and_nothing_after_it():
    desk = Desk().watched()
    desk.talk.close()
    desk.wait(60)
    assert [type(e.message) for e in desk.sent()] == [messages.Bye]


def test_pictures_go_up_in_pieces_before_the_submit():
    desk = Desk()
    desk.connect()
    picture = bytes(3 * limits.MIB)
    sha = hashlib.sha256(picture).hexdigest()
    identity = desk.talk.submit(JobRequest(prompt="x"), {"reference": picture, "back": picture})
    (query,) = desk.sent()
    assert (query.message.sha256, query.message.size) == (sha, len(picture))
    desk.server(messages.BlobState(sha256=sha, have=limits.MIB, complete=False), query.id)
    (chunk,) = desk.sent()
    assert chunk.message.offset == limits.MIB, "it goes on where the server is"
    desk.server(error("wrong_offset"), chunk.id)
    (query,) = desk.sent()
    desk.server(messages.BlobState(sha256=sha, have=0, complete=False), query.id)
    (chunk,) = desk.sent()
    (progressed,) = desk.server(messages.BlobState(sha256=sha, have=len(picture), complete=True), chunk.id)
    assert progressed == events.UploadProgressed(sha, len(picture), len(picture))
    (submit,) = desk.sent()
    assert (submit.id, submit.message.request.images) == (identity, {"reference": sha, "back": sha})


def test_a_refused_picture_refuses_the_submit():
    desk = Desk()
    desk.connect()
    identity = desk.talk.submit(JobRequest(prompt="x"), {"reference": b"abc"})
    (query,) = desk.sent()
    (refused,) = desk.server(error("storage_full"), query.id)
    assert (refused.id, refused.error.code) == (identity, "storage_full")
    assert not desk.sent()


def chunk_of(data, offset, length, sha):
    piece = np.frombuffer(data[offset : offset + length], np.uint8)
    return messages.Chunk(sha256=sha, offset=offset, size=len(data), data=piece)


def test_a_download_goes_on_over_a_reconnect():
    data = bytes(range(256)) * 40
    sha = hashlib.sha256(data).hexdigest()
    artifact = messages.Artifact(name="asset.glb", media_type="m", size=len(data), sha256=sha)
    written = bytearray()
    desk = Desk()
    desk.connect()
    identity = desk.talk.download(artifact, written.extend)
    (fetch,) = desk.sent()
    (progressed,) = desk.server(chunk_of(data, 0, 5000, sha), fetch.id)
    assert progressed == events.DownloadProgressed(identity, artifact, 5000)
    desk.sent()
    desk.server(error("no_session"))
    desk.welcome(OTHER_RUN)
    (fetch,) = desk.sent()
    assert fetch.message.offset == 5000
    happened = desk.server(chunk_of(data, 5000, 9999, sha), fetch.id)
    assert happened[-1] == events.Downloaded(identity, artifact)
    assert bytes(written) == data


def test_damage_and_full_disks_end_a_download():
    artifact = messages.Artifact(name="asset.glb", media_type="m", size=3, sha256=wire_examples.SHA)
    desk = Desk()
    desk.connect()
    desk.talk.download(artifact, lambda data: None)
    (fetch,) = desk.sent()
    (failed,) = desk.server(chunk_of(b"abd", 0, 3, wire_examples.SHA), fetch.id)
    assert failed.error.code == "bad_hash"

    def full(data):
        raise OSError("disk full")

    desk.talk.download(artifact, full)
    (fetch,) = desk.sent()
    (failed,) = desk.server(chunk_of(b"abc", 0, 3, wire_examples.SHA), fetch.id)
    assert failed.error.code == "storage_full"

    desk.talk.download(artifact, full)
    (fetch,) = desk.sent()
    (failed,) = desk.server(error("unknown_blob"), fetch.id)
    assert failed.error.code == "unknown_blob"


def test_a_picture_goes_up_before_the_server_is_asked_to_cut_it_out():
    desk = Desk()
    desk.connect()
    picture = Upload(b"picture")
    identity = desk.talk.cut_out(picture, 0.25)
    (query,) = desk.sent()
    assert query.message == messages.BlobQuery(sha256=picture.sha256, size=7)
    desk.server(messages.BlobState(sha256=picture.sha256, have=7, complete=True), query.id)
    (asked,) = desk.sent()
    assert asked.id == identity and asked.message == messages.CutOut(sha256=picture.sha256, threshold=0.25)
    answer = messages.Cutout(sha256=picture.sha256, rgba=np.zeros((1, 1, 4), np.uint8))
    (happened,) = desk.server(answer, identity)
    assert isinstance(happened, events.Answered) and happened.id == identity


def test_a_picture_that_cannot_go_up_refuses_what_waited_for_it():
    desk = Desk()
    desk.connect()
    identity = desk.talk.cut_out(Upload(b"picture"))
    (query,) = desk.sent()
    (refused,) = desk.server(error("storage_full"), query.id)
    assert isinstance(refused, events.Refused) and refused.id == identity


def test_a_hash_that_is_known_is_not_computed_again():
    assert Upload(b"picture", "ab" * 32).sha256 == "ab" * 32
