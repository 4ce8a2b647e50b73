"""What each client is told, with peers that are fast, slow, silent or gone. No sockets."""

from __future__ import annotations

import numpy as np
import pytest

from dreamlift.protocol import codec, limits, messages
from dreamlift.protocol.messages import JobRequest
from dreamlift.service.database import Database
from dreamlift.service.sessions import MAX_UNSENT, PeerGone, Sessions
from dreamlift.service.store import Store


class Peers:
    """Pipes of a few peers: each takes `room` more messages."""

    def __init__(self):
        self.room: dict[bytes, float] = {}
        self.got: dict[bytes, list] = {}

    def send(self, peer, frames):
        if peer not in self.room:
            raise PeerGone
        if self.room[peer] <= 0:
            return False
        self.room[peer] -= 1
        self.got[peer].append(codec.decode([bytes(frame) for frame in frames], messages.FROM_SERVER))
        return True

    def join(self, peer, room=float("inf")):
        self.room[peer], self.got[peer] = room, []

    def kinds(self, peer):
        return [envelope.message.TYPE for envelope in self.got[peer]]


@pytest.fixture
def store(tmp_path):
    database = Database(tmp_path / "service.db")
    yield Store(database)
    database.close()


@pytest.fixture
def peers():
    return Peers()


@pytest.fixture
def sessions(store, peers):
    return Sessions(store, peers.send)


@pytest.fixture
def job(store):
    return store.accept("0" * 32, JobRequest(prompt="x"), 1.0).id


def enter(sessions, peers, name=b"a", room=float("inf")):
    peers.join(name, room)
    return sessions.open(name, name.decode(), 0.0)


def views(shade=0):
    return messages.Views(names=("front",), images=np.full((1, 2, 2, 3), shade, np.uint8))


def progress(step):
    return messages.Progress(stage="s", stage_index=0, stage_count=1, step=step, steps=9, fraction=step / 9)


def test_a_subscriber_is_told_what_was_and_what_comes(sessions, peers, store, job):
    session = enter(sessions, peers)
    sessions.subscribe(session, job, 0, True)
    sessions.deliver()
    store.start_attempt(job, 2.0, 1, 1.0)
    sessions.mark(job)
    sessions.deliver()
    sessions.deliver()
    assert [(e.message.state.value, e.sequence, e.job) for e in peers.got[b"a"]] == [
        ("queued", 1, job),
        ("running", 2, job),
    ]


def test_a_full_pipe_gets_the_rest_later_in_order(sessions, peers, store, job):
    session = enter(sessions, peers, room=1)
    for number in range(5):
        store.warn(job, messages.Warning(code=f"w{number}", what="x"))
    sessions.subscribe(session, job, 0, True)
    sessions.deliver()
    sessions.deliver()
    assert len(peers.got[b"a"]) == 1
    peers.room[b"a"] = 100
    sessions.deliver()
    assert [e.sequence for e in peers.got[b"a"]] == [1, 2, 3, 4, 5, 6]


def test_one_slow_peer_holds_up_nobody(sessions, peers, job):
    slow, fast = enter(sessions, peers, b"slow", 0), enter(sessions, peers, b"fast")
    for session in (slow, fast):
        sessions.subscribe(session, job, 0, True)
    sessions.deliver()
    assert len(peers.got[b"fast"]) == 1 and not peers.got[b"slow"]


def test_only_one_preview_of_a_kind_is_on_its_way(sessions, peers, job):
    session = enter(sessions, peers)
    sessions.subscribe(session, job, 1, True)
    for shade in range(5):
        sessions.preview(job, views(shade))
        sessions.deliver()
    assert [e.message.serial for e in peers.got[b"a"]] == [1]
    sessions.seen(session, job, "views", 99)
    sessions.deliver()
    assert len(peers.got[b"a"]) == 1, "another preview's receipt"
    sessions.seen(session, job, "views", 1)
    sessions.deliver()
    assert [e.message.serial for e in peers.got[b"a"]] == [1, 5], "the newest, not the next"
    assert peers.got[b"a"][-1].message.images.max() == 4


def test_who_wants_no_previews_gets_progress_alone(sessions, peers, job):
    session = enter(sessions, peers)
    sessions.subscribe(session, job, 1, False)
    sessions.preview(job, views())
    for step in range(3):
        sessions.progress(job, progress(step))
    sessions.deliver()
    assert [e.message.step for e in peers.got[b"a"]] == [2]


def test_a_late_subscriber_sees_the_newest_preview_at_once(sessions, peers, job):
    sessions.preview(job, views(7))
    session = enter(sessions, peers)
    sessions.subscribe(session, job, 1, True)
    sessions.deliver()
    assert peers.kinds(b"a") == ["views"]


def test_serials_go_on_over_a_requeue(sessions, peers, job):
    session = enter(sessions, peers)
    sessions.subscribe(session, job, 1, True)
    sessions.preview(job, views())
    sessions.deliver()
    sessions.seen(session, job, "views", 1)
    sessions.forget(job)
    sessions.deliver()
    assert peers.kinds(b"a") == ["views"]
    sessions.preview(job, views())
    sessions.deliver()
    assert [e.message.serial for e in peers.got[b"a"]] == [1, 2]


def test_nothing_is_kept_of_jobs_that_nobody_watches(sessions, job):
    sessions.preview(job, views())
    sessions.forget(job)
    assert not sessions._latest


def test_a_client_that_reads_nothing_is_dropped(sessions, peers):
    session = enter(sessions, peers, room=0)
    for _ in range(MAX_UNSENT + 1):
        sessions.answer(session, messages.Pong(), 1)
    assert sessions.get(b"a") is None


def test_answers_that_did_not_fit_go_later(sessions, peers):
    session = enter(sessions, peers, room=0)
    sessions.answer(session, messages.Pong(), 1)
    peers.room[b"a"] = 5
    sessions.deliver()
    assert peers.kinds(b"a") == ["pong"]


def test_a_peer_that_is_gone_is_forgotten(sessions, peers, job):
    session = enter(sessions, peers)
    sessions.subscribe(session, job, 0, True)
    del peers.room[b"a"]
    sessions.deliver()
    assert len(sessions) == 0


def test_silence_ends_a_session(sessions, peers):
    enter(sessions, peers)
    sessions.drop_silent(limits.CLIENT_SILENCE_SECONDS - 1)
    assert len(sessions) == 1
    sessions.drop_silent(limits.CLIENT_SILENCE_SECONDS + 1)
    assert len(sessions) == 0


def test_a_repeated_hello_keeps_subscriptions(sessions, peers, job):
    session = enter(sessions, peers)
    sessions.subscribe(session, job, 0, True)
    assert sessions.open(b"a", "a", 1.0).subscriptions


def test_an_unsubscribed_client_hears_no_more(sessions, peers, store, job):
    session = enter(sessions, peers)
    sessions.subscribe(session, job, 1, True)
    sessions.unsubscribe(session, job)
    store.start_attempt(job, 2.0, 1, 1.0)
    sessions.mark(job)
    sessions.deliver()
    assert peers.got[b"a"] == []
