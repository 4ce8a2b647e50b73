"""What every evaluation that makes assets shares: jobs that nobody watches, processes, progress, going on.

Knows keys and results, and how an asset is made and timed. Knows no measure and no pipeline; results are kept by
`kept.AssetFolder`.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dreamlift.pipelines.context import Asset, Preview, RequestError, Stop
from dreamlift.pipelines.context import Progress as JobProgress

logger = logging.getLogger(__name__)

_OWN_PEAK = Path("/proc/self/clear_refs")  # Linux: writing 5 starts the high-water mark afresh
_RESET_PEAK = "5"


class SilentContext:
    """A job that nobody watches: no previews, no checkpoints, no stop, and no plan: the mini models fit anywhere."""

    plan = None

    @property
    def device(self) -> torch.device:
        """The first CUDA device where there is one."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def progress(self, progress: JobProgress) -> None:
        """Nobody asks."""

    def publish(self, preview: Preview) -> None:
        """Nobody looks."""

    def wants_preview(self) -> bool:
        """Never."""
        return False

    def warn(self, code: str, what: str, remedy: str) -> None:
        """Into the log."""
        logger.warning("%s: %s %s", code, what, remedy)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """A run is short: it is done again."""

    def restore(self) -> dict[str, Any] | None:
        """Nothing was saved."""
        return None

    def should_stop(self) -> Stop | None:
        """Never."""
        return None


def fingerprint(files: Iterable[Path]) -> str:
    """The first eight hex digits of the SHA-256 of some files, one after the other: what names a folder of results.

    Raises:
        FileNotFoundError: One of them is not there.
    """
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.read_bytes())
    return whole.hexdigest()[:8]


@dataclass(frozen=True)
class Made:
    """What came of one job.

    Args:
        asset: None where the pipeline refused.
        seconds: That it took.
        peak_bytes: The most memory that the process held meanwhile, models and all; of the GPU where there is one; 0
            where the system does not tell.
        problem: Why there is no asset; empty where there is one.
    """

    asset: Asset | None
    seconds: float
    peak_bytes: int
    problem: str = ""


def made(generate: Callable[[], Asset]) -> Made:
    """Make an asset; a request that the pipeline refuses is an answer, any other error is not caught."""
    _forget_peak()
    start = time.monotonic()
    try:
        asset, problem = generate(), ""
    except RequestError as error:
        asset, problem = None, str(error)
    return Made(asset, round(time.monotonic() - start, 1), _peak(), problem)


def _forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if _OWN_PEAK.exists():
        _OWN_PEAK.write_text(_RESET_PEAK)


def _peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes, over the process's whole life


def run_all(
    wanted: Sequence[tuple],
    stored: Callable[..., Any],
    work: Callable[..., Any],
    jobs: int,
    words: Callable[[Any], str],
) -> list[Any]:
    """Results of all keys; only those that nobody stored are worked out.

    Args:
        wanted: Keys in the order of the answer; the missing ones are worked on in that order.
        stored: Called with a key's parts; the kept result, or None.
        work: Called with a key's parts; makes, keeps and returns a result. For `jobs` above 1 it is sent to another
            process: a module's function or a partial of one.
        jobs: Processes, one compute thread each if more than one; 1 runs here.
        words: A line about a result, for the progress bar.

    Returns:
        One result for each key.
    """
    results = {key: stored(*key) for key in wanted}
    missing = [key for key, result in results.items() if result is None]
    with _bar(len(results), len(results) - len(missing)) as advance:
        for key, result in _worked(missing, work, jobs):
            results[key] = result
            advance(words(result))
    return [results[key] for key in wanted]


def _worked(keys: list[tuple], work: Callable[..., Any], jobs: int) -> Iterator[tuple[tuple, Any]]:
    if jobs == 1 or not keys:
        yield from ((key, work(*key)) for key in keys)
        return
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(jobs, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = {pool.submit(work, *key): key for key in keys}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _bar(total: int, done: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr: stdout belongs to the table and the JSON."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("evaluating", total=total, completed=done)
        yield lambda text: bar.update(task, advance=1, description=text)


def default_jobs() -> int:
    """One process a core."""
    return os.cpu_count() or 1
