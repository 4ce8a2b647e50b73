"""kill -9 of workers and of the service at random moments while a client submits and watches jobs; then the accounts.

Knows the service's process, the client and the scripted workers' journal. Used small by `test_campaign.py` and large by
`benchmarks/service_faults.py`.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from service_process import ServiceProcess

from dreamlift.client.session import Client
from dreamlift.protocol import events
from dreamlift.protocol.messages import JobRequest
from dreamlift.protocol.states import JobState


@dataclass
class Account:
    """What a campaign found. All but the first four must be empty or 0."""

    jobs: int = 0
    worker_kills: int = 0
    service_kills: int = 0
    requeued: int = 0  # times a job went back to the queue
    seconds: float = 0.0
    restarts_told: int = 0  # times the client was told that the server had restarted
    rerun_after_done: int = 0  # killed in the instant between the end of the work and its commit
    lost: list[str] = field(default_factory=list)  # accepted jobs that did not finish
    twice: list[str] = field(default_factory=list)  # jobs that finished more than once
    overlapping: list[str] = field(default_factory=list)  # jobs on which two processes worked at the same time
    gaps: list[str] = field(default_factory=list)  # jobs whose watcher was not told everything once and in order
    damaged: list[str] = field(default_factory=list)  # artifacts that are not right

    @property
    def is_clean(self) -> bool:
        """True where nothing went wrong."""
        told = self.restarts_told >= min(self.service_kills, 1)
        return told and not (self.lost or self.twice or self.overlapping or self.gaps or self.damaged)


class _Killer(threading.Thread):
    """Kills at random moments until the numbers are reached."""

    def __init__(self, service: ServiceProcess, workers: int, services: int, seed: int, longest: float):
        super().__init__(daemon=True)
        self._service, self._longest = service, longest
        self._random = random.Random(seed)
        self._plan = ["worker"] * workers + ["service"] * services
        self._random.shuffle(self._plan)
        self.worker_kills = self.service_kills = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while self._plan:
                if self._random.random() < 0.8:
                    self._await_work()  # else anywhere: also while processes start
                time.sleep(self._random.uniform(0.0, self._longest))
                if self._service.has_died:
                    raise AssertionError(f"the service ended by itself: {self._service.output.read_text()[-2000:]}")
                if self._plan[-1] == "worker":
                    if not self._service.kill_worker():
                        continue  # none lives at this moment: another time
                    self.worker_kills += 1
                else:
                    self._service.kill()
                    time.sleep(self._random.uniform(0.0, 0.3))
                    self._service.start()
                    self.service_kills += 1
                self._plan.pop()
        except BaseException as error:
            self.failure = error

    def _await_work(self) -> None:
        """Wait until a worker has done something since the last kill, so that most kills hit a job."""
        before, until = self._journal_size(), time.monotonic() + 60
        while self._journal_size() == before and time.monotonic() < until:
            time.sleep(0.005)

    def _journal_size(self) -> int:
        return self._service.journal.stat().st_size if self._service.journal.exists() else 0


def run_campaign(folder: Path, worker_kills: int, service_kills: int, seed: int, longest: float = 0.5) -> Account:
    """Run it.

    Args:
        folder: Empty; for the home and the journal.
        worker_kills: How many workers to kill.
        service_kills: How many times to kill the service.
        seed: Of the moments and the jobs' lengths.
        longest: Seconds between the sign of work that the killer waits for and the kill, at most.
    """
    account, begun = Account(), time.monotonic()
    chance = random.Random(seed + 1)
    seen: dict[str, list[tuple[int, JobState | None]]] = {}
    prompts: dict[str, str] = {}
    with ServiceProcess(folder, attempts=10**6, restart_delay_most=0.2) as service:
        service.start()
        with service.client() as client:
            killer = _Killer(service, worker_kills, service_kills, seed, longest)
            killer.start()
            while killer.is_alive() or any(not _ended(told) for told in seen.values()):
                open_jobs = sum(not _ended(told) for told in seen.values())
                if killer.is_alive() and open_jobs < 4:
                    prompt = f"id={len(prompts)} trace=1 preview=1 steps={chance.randint(1, 60)} pause=0.01"
                    job = client.submit(JobRequest(prompt=prompt), watch=True)
                    prompts[job], seen[job] = prompt, seen.get(job, [])
                _listen(client, seen, account)
                if not killer.is_alive() and time.monotonic() - begun > 60 + 20 * (worker_kills + service_kills):
                    break
            if killer.failure is not None:
                raise killer.failure
            _check_artifacts(client, folder, account)
        account.worker_kills, account.service_kills = killer.worker_kills, killer.service_kills
        service.stop()
        _check_told(seen, account)
        _check_journal(service, prompts, account)
        _check_database(service, prompts, account)
    account.jobs, account.seconds = len(prompts), round(time.monotonic() - begun, 1)
    return account


def _ended(told: list[tuple[int, JobState | None]]) -> bool:
    return bool(told) and told[-1][1] is not None and told[-1][1].is_terminal


def _listen(client: Client, seen: dict, account: Account) -> None:
    client._pump(0.02)
    for event in client._take(lambda event: not isinstance(event, events.Answered)):
        if isinstance(event, events.JobChanged):
            seen.setdefault(event.job, []).append((event.sequence, event.state.state))
            account.requeued += event.state.state is JobState.QUEUED and event.sequence > 1
        elif isinstance(event, events.JobWarned):
            seen.setdefault(event.job, []).append((event.sequence, None))
        elif isinstance(event, events.PreviewWaiting):
            client.preview(event.job, event.kind)
        elif isinstance(event, events.ServerReady):
            account.restarts_told += event.restarted


def _check_told(seen: dict, account: Account) -> None:
    for job, told in seen.items():
        if [sequence for sequence, _ in told] != list(range(1, len(told) + 1)):
            account.gaps.append(job)
        finishes = sum(state is JobState.FINISHED for _, state in told)
        (account.lost if finishes == 0 else account.twice if finishes > 1 else []).append(job)


def _check_journal(service: ServiceProcess, prompts: dict[str, str], account: Account) -> None:
    lines = service.said()
    by_prompt: dict[str, list[dict]] = {}
    for line in lines:
        by_prompt.setdefault(line["prompt"], []).append(line)
    for job, prompt in prompts.items():
        pids = [line["pid"] for line in by_prompt.get(prompt, [])]
        changes = 1 + sum(a != b for a, b in zip(pids, pids[1:], strict=False))
        if changes != len(set(pids)):
            account.overlapping.append(job)
        account.rerun_after_done += sum(line["what"] == "done" for line in by_prompt.get(prompt, [])) - 1


def _check_database(service: ServiceProcess, prompts: dict[str, str], account: Account) -> None:
    database = sqlite3.connect(service.home / "service.db")
    states = dict(database.execute("SELECT id, state FROM jobs"))
    finishes = Counter(
        job
        for job, body in database.execute("SELECT job, body FROM events WHERE type = 'state'")
        if b"finished" in body
    )
    database.close()
    account.lost += [job for job in prompts if states.get(job) != "finished" and job not in account.lost]
    account.twice += [job for job, count in finishes.items() if count > 1 and job not in account.twice]
    # A job that no submit was answered for would be one too many: the token makes repeated submits one job.
    account.twice += [job for job in states if job not in prompts]


def _check_artifacts(client: Client, folder: Path, account: Account) -> None:
    for summary in client.jobs(10_000):
        for artifact in summary.artifacts:
            path = folder / f"{summary.job}-{artifact.name}"
            client.download(artifact, path)
            if artifact.name == "asset.glb" and path.read_bytes() != summary.request.prompt.encode() * 1000:
                account.damaged.append(summary.job)
            path.unlink()
        if summary.state is JobState.FINISHED and len(summary.artifacts) != 2:
            account.damaged.append(summary.job)


def as_dict(account: Account) -> dict:
    """For JSON."""
    return {**asdict(account), "clean": account.is_clean}
