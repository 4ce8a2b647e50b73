"""The shared runner: refusals are answers, bugs are not, memory and time are told, kept results are not made again."""

import mmap

import pytest

from dreamlift.evaluation.kept import file_name
from dreamlift.evaluation.runner import SilentContext, fingerprint, made, run_all
from dreamlift.pipelines.context import RequestError


def test_a_refusal_is_an_answer_and_a_bug_is_not():
    def refuse():
        raise RequestError("empty_object", "Nothing took shape.", "Try another seed.")

    result = made(refuse)
    assert result.asset is None and result.problem == "Nothing took shape. Try another seed."
    with pytest.raises(ZeroDivisionError):
        made(lambda: 1 / 0)


def test_the_peak_is_of_this_run_and_not_of_one_before():
    def hold():
        # From the system itself: malloc would take it from what other tests left free on the heap, and hold no more.
        with mmap.mmap(-1, 480_000_000) as memory:
            for page in range(0, len(memory), mmap.PAGESIZE):
                memory[page] = 1

    large = made(hold)
    small = made(lambda: None)
    assert large.peak_bytes - small.peak_bytes > 300e6, "480 MB were held in the first run alone"


def test_only_missing_results_are_worked_out_and_the_order_is_kept():
    asked, kept = [], {("b", 0): "old"}

    def work(name, seed):
        asked.append((name, seed))
        return f"new {name}"

    wanted = [("a", 0), ("b", 0), ("c", 1)]
    assert run_all(wanted, lambda *key: kept.get(key), work, 1, str) == ["new a", "old", "new c"]
    assert asked == [("a", 0), ("c", 1)]


def test_a_fingerprint_names_contents_and_a_missing_file_is_named(tmp_path):
    (tmp_path / "one").write_bytes(b"abc")
    assert fingerprint([tmp_path / "one"]) == "ba7816bf", "the SHA-256 of abc"
    with pytest.raises(FileNotFoundError, match="two"):
        fingerprint([tmp_path / "one", tmp_path / "two"])


def test_names_of_files_hold_nothing_that_a_file_system_minds():
    assert file_name("A red car / 2", 3) == "a_red_car___2-3"


def test_nobody_stops_or_resumes_a_silent_job():
    context = SilentContext()
    assert context.should_stop() is None and context.restore() is None and not context.wants_preview()
