"""Jobs on disk: every change with its event, completion once, order, what survives a reopening."""

from __future__ import annotations

import sqlite3

import pytest

from dreamlift.protocol import messages
from dreamlift.protocol.messages import Artifact, JobRequest, Problem
from dreamlift.protocol.states import IllegalMove, JobState
from dreamlift.service.database import Database
from dreamlift.service.settings import ServiceError
from dreamlift.service.store import Store

TOKEN = "0123456789abcdef" * 2
ARTIFACT = Artifact(name="asset.glb", media_type="model/gltf-binary", size=3, sha256="ab" * 32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "service.db"


@pytest.fixture
def store(path):
    database = Database(path)
    yield Store(database)
    database.close()


def accept(store, number=0, **request):
    return store.accept(f"{number:032x}", JobRequest(prompt=f"job {number}", **request), 1000.0 + number).id


def run(store, job):
    return store.start_attempt(job, 2000.0, 77, 1.5)


def states(store, job):
    return [event.state.value for _, event in store.events_after(job, 0) if isinstance(event, messages.State)]


def test_the_same_token_is_the_same_job(store):
    assert accept(store, 1) == accept(store, 1) != accept(store, 2)
    assert len(store.queued()) == 2


def test_a_job_is_stored_with_its_request_and_first_event(store):
    job = store.job(accept(store, 1, settings={"steps": 5}, seed=2**62))
    assert (job.state, job.request.settings, job.request.seed) == (JobState.QUEUED, {"steps": 5}, 2**62)
    assert states(store, job.id) == ["queued"]


def test_an_accepted_job_survives_without_a_close(path):
    database = Database(path)
    job = accept(Store(database), 1)
    other = Database(path)
    assert Store(other).queued() == [job]
    other.close()
    database.close()


def test_a_whole_life_is_numbered_without_gaps(store):
    job = accept(store)
    run(store, job)
    store.warn(job, messages.Warning(code="x", what="y"))
    store.change(job, JobState.QUEUED, 3.0, problem=Problem(code="worker_lost", what="z"), lost=True)
    run(store, job)
    assert store.complete(job, 2, (ARTIFACT,), 5.0, 9.0)
    events = store.events_after(job, 0)
    assert [sequence for sequence, _ in events] == [1, 2, 3, 4, 5, 6]
    assert events[-1][1].artifacts == (ARTIFACT,)
    assert [sequence for sequence, _ in store.events_after(job, 4)] == [5, 6]
    assert store.artifacts(job) == (ARTIFACT,)
    assert store.job(job).lost == 1


def test_completion_counts_once_and_only_from_the_present_attempt(store):
    job = accept(store)
    run(store, job)
    store.change(job, JobState.QUEUED, 3.0, lost=True)
    run(store, job)
    assert not store.complete(job, 1, (ARTIFACT,), 1.0, 9.0), "an attempt that was given up"
    assert store.complete(job, 2, (ARTIFACT,), 1.0, 9.0)
    assert not store.complete(job, 2, (ARTIFACT,), 1.0, 9.0), "twice"
    assert states(store, job).count("finished") == 1


def test_a_cancelled_job_does_not_finish(store):
    job = accept(store)
    run(store, job)
    store.change(job, JobState.CANCELLING, 3.0)
    assert not store.complete(job, 1, (ARTIFACT,), 1.0, 9.0)
    assert store.artifacts(job) == ()


def test_an_illegal_move_changes_nothing(store):
    job = accept(store)
    with pytest.raises(IllegalMove):
        store.change(job, JobState.FINISHED, 3.0)
    assert states(store, job) == ["queued"]


def test_completion_is_all_or_nothing(store):
    job = accept(store)
    run(store, job)
    with pytest.raises(sqlite3.IntegrityError):
        store.complete(job, 1, (ARTIFACT, ARTIFACT), 1.0, 9.0)
    assert store.job(job).state is JobState.RUNNING
    assert store.artifacts(job) == () and states(store, job)[-1] == "running"


def test_the_queue_keeps_its_order_and_can_be_changed(store):
    first, second, third = (accept(store, number) for number in range(3))
    store.reorder(third, first)
    assert store.queued() == [third, first, second]
    store.reorder(third, "")
    assert store.queued() == [first, second, third]
    store.change(first, JobState.PAUSED, 1.0)
    store.change(first, JobState.QUEUED, 2.0)
    assert store.queued() == [second, third, first], "a resumed job waits at the end"


def test_a_requeued_job_keeps_its_place(store):
    first, second = accept(store, 1), accept(store, 2)
    run(store, first)
    store.change(first, JobState.QUEUED, 3.0, lost=True)
    assert store.queued() == [first, second]


def test_removing_forgets_events_and_artifacts(store):
    job = accept(store, images={"reference": "cd" * 32})
    run(store, job)
    store.complete(job, 1, (ARTIFACT,), 1.0, 9.0)
    assert store.is_wanted("ab" * 32) and store.is_wanted("cd" * 32)
    assert store.remove(job).state is JobState.REMOVED
    assert store.job(job) is None and store.events_after(job, 0) == []
    assert not store.is_wanted("ab" * 32) and not store.is_wanted("cd" * 32)


def test_pages_are_newest_first(store):
    jobs = [accept(store, number) for number in range(5)]
    page, more = store.page(2, "")
    assert [job.id for job in page] == jobs[:2:-1] and more
    page, more = store.page(3, page[-1].id)
    assert [job.id for job in page] == jobs[2::-1] and not more


def test_measured_seconds_are_the_median_of_whole_runs(store):
    assert store.median_seconds("mvdream", "mini") is None
    for number, seconds in enumerate((10.0, 90.0, 20.0)):
        job = accept(store, number)
        run(store, job)
        store.complete(job, 1, (), seconds, number)
    cut = accept(store, 9)
    run(store, cut)
    store.ask_finish(cut)
    store.complete(cut, 1, (), 1.0, 99.0)
    assert store.median_seconds("mvdream", "mini") == 20.0


def test_old_ended_jobs_are_named(store):
    jobs = [accept(store, number) for number in range(4)]
    for job in jobs[:3]:
        store.change(job, JobState.CANCELLED, 1.0)
    assert store.ended_beyond(1) == [jobs[1], jobs[0]]
    assert store.unfinished() == 1


def test_a_newer_database_is_refused_in_words(path):
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(ServiceError, match="99"):
        Database(path)
