"""A few kills of each kind in every run; `benchmarks/service_faults.py` does fifty of each."""

from __future__ import annotations

from campaign import run_campaign


def test_three_kills_of_each_kind_lose_no_job_and_do_none_twice(tmp_path):
    account = run_campaign(tmp_path, worker_kills=3, service_kills=3, seed=5)
    assert account.is_clean, account
    assert (account.worker_kills, account.service_kills) == (3, 3)
    assert account.jobs > 0 and account.requeued > 0, "the kills hit no running job, so nothing was shown"


def test_a_missing_and_a_doubled_end_would_be_noticed():
    from campaign import Account, _check_told

    from dreamlift.protocol.states import JobState

    account = Account()
    ends = (JobState.QUEUED, JobState.RUNNING, JobState.FINISHED)
    good = list(enumerate(ends, start=1))
    _check_told({"good": good, "lost": good[:2], "twice": [*good, (4, JobState.FINISHED)], "gap": good[1:]}, account)
    assert (account.lost, account.twice, account.gaps) == (["lost"], ["twice"], ["gap"])
    assert not account.is_clean
