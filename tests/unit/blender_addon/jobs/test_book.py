"""The job list: order, what a file remembers, what the server's list changes."""

from __future__ import annotations

import json

import pytest
from blender_addon.protocol.messages import JobRequest, JobSummary, Problem, State
from blender_addon.protocol.states import JobState

from blender_addon.jobs.book import JobBook
from blender_addon.jobs.job import Job


def job(number: int, state=JobState.RUNNING, **changes) -> Job:
    made = Job(f"{number:016x}", f"Job {number}", JobRequest(prompt=f"thing {number}"), created=number, **changes)
    made.state = state
    return made


def book_of(*jobs: Job) -> JobBook:
    book = JobBook()
    for each in jobs:
        book._jobs[each.id] = each
    return book


def summary(number: int, state=JobState.RUNNING, **changes) -> JobSummary:
    request = JobRequest(prompt="a blue car")
    return JobSummary(job=f"{number:016x}", state=state, request=request, created=number, **changes)


def test_newest_first_and_what_is_sent_before_all():
    book = book_of(job(1), job(3), job(2))
    new = Job("", "New", JobRequest())
    book.sending(new)
    assert [each.name for each in book] == ["New", "Job 3", "Job 2", "Job 1"]
    book.accepted(new, "f" * 16, JobState.QUEUED, 2)
    assert book.get("f" * 16) is new and new.short() == "3rd in line"


def test_now_running_is_the_one_a_worker_holds_then_this_files_then_the_oldest():
    waiting, running, ours = job(1, JobState.QUEUED), job(2), job(3, here=True)
    assert book_of(waiting, running).running() is running
    assert book_of(waiting, running, ours).running() is ours
    assert book_of(job(1, JobState.FINISHED), job(2, JobState.PAUSED)).running() is None


def test_a_file_remembers_its_jobs_and_nothing_secret():
    book = book_of(job(1, here=True, size=2.0, location=(1, 2, 3), object_name="Mushroom"), job(2))
    text = book.to_text()
    assert len(json.loads(text)["jobs"]) == 1
    other = JobBook()
    found = other.open_file(text)
    assert [each.id for each in found] == [f"{1:016x}"]
    assert found[0].request == JobRequest(prompt="thing 1"), "so that it can be made again"
    assert (found[0].size, found[0].location, found[0].object_name, found[0].here) == (2.0, (1, 2, 3), "Mushroom", True)


DAMAGED = json.dumps({"format": 1, "jobs": [{**job(1).to_saved(), "request": {"seed": -1}}]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 9, "jobs": []}',
        '{"format": 1, "jobs": [{}]}',
        '{"format": 1, "jobs": [3]}',
        "null",
        DAMAGED,
    ],
)
def test_damaged_texts_count_as_no_jobs(text):
    assert JobBook().open_file(text) == []


def test_the_servers_list_adds_changes_and_takes_away():
    book = book_of(job(1, here=True), job(2), job(3, JobState.FINISHED, here=True, committed=True))
    ours = book.merge([summary(1, JobState.FINISHED, fraction=1.0), summary(9)], True, "studio")
    assert [each.id for each in ours] == [f"{1:016x}"]
    assert book.get(f"{1:016x}").state is JobState.FINISHED
    assert book.get(f"{2:016x}") is None, "the server does not have it any more"
    assert book.get(f"{3:016x}") is not None, "its result is in the file"
    assert book.get(f"{9:016x}").name == "Blue car"


def test_a_page_takes_nothing_away():
    book = book_of(job(1))
    book.merge([summary(2)], False, "studio")
    assert len(book) == 2


def test_a_job_of_this_file_that_its_server_lost_says_so_and_one_of_another_server_waits():
    lost, elsewhere = job(1, here=True, server="studio"), job(2, None, here=True, server="farm")
    book = book_of(lost, elsewhere)
    book.merge([], True, "studio")
    assert lost.state is JobState.FAILED and lost.problem.code == "unknown_job"
    assert book.get(elsewhere.id) is elsewhere and elsewhere.is_unknown and elsewhere.short() == "Asking"
    assert book.running() is None and '"farm"' in book.to_text()


def test_a_failure_is_kept_and_a_new_start_drops_it():
    made = job(1)
    made.fold(State(state=JobState.FAILED, problem=Problem(code="x", what="No.")), 0.0)
    assert made.problem.what == "No." and made.short() == "Failed"
    made.fold(State(state=JobState.RUNNING), 0.0)
    assert made.problem is None
