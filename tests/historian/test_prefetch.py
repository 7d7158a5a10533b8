"""A producer in another thread runs ahead of its consumer without changing the result."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from itertools import islice

import pytest

from historian.prefetch import prefetch, run_concurrently


def numbers(count: int, log: list[str], *, fail_at: int = -1) -> Generator[int]:
    """Counts, and records how it ends."""
    try:
        for number in range(count):
            if number == fail_at:
                raise OSError("gone")
            log.append(f"made {number}")
            yield number
    finally:
        log.append("closed")


def test_items_come_in_order_and_the_producer_is_closed() -> None:
    """No item is lost if either side is slow."""
    log: list[str] = []
    assert list(prefetch(numbers(100, log), depth=3)) == list(range(100))
    assert log[-1] == "closed"


def test_an_error_comes_after_what_was_made_before_it() -> None:
    """The order is the same as without a thread."""
    log: list[str] = []
    items = prefetch(numbers(9, log, fail_at=4), depth=2)
    assert list(islice(items, 4)) == [0, 1, 2, 3]
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_it_runs_ahead_no_further_than_its_depth() -> None:
    """While the consumer is busy with the first item, `depth` items wait and one is being produced."""
    log: list[str] = []
    items = prefetch(numbers(100, log), depth=3)
    next(items)
    time.sleep(0.3)
    assert [entry for entry in log if entry.startswith("made")] == [f"made {number}" for number in range(5)]


def test_a_consumer_that_leaves_early_stops_the_producer() -> None:
    """No thread is left behind."""
    log: list[str] = []
    items = prefetch(numbers(1_000, log), depth=2)
    next(items)
    before = threading.active_count()
    items.close()
    assert log[-1] == "closed"
    assert threading.active_count() == before - 1


def test_parallel_work_is_complete_and_takes_a_bounded_number_of_items() -> None:
    """At most one item per thread and one that waits are taken from the producer."""
    log: list[str] = []
    ahead_of_done: list[int] = []
    done: list[int] = []

    def work(number: int) -> None:
        ahead_of_done.append(len(log) - len(done))
        time.sleep(0.001)
        done.append(number)

    run_concurrently(work, numbers(50, log), threads=3)
    assert sorted(done) == list(range(50))
    assert max(ahead_of_done) <= 3 + 2, "those in work, one that waits, one just taken"


def test_parallel_work_ends_with_the_first_error() -> None:
    """Items in progress are finished; no more are started or taken from the producer."""
    log: list[str] = []

    def work(number: int) -> None:
        if number == 4:
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        run_concurrently(work, numbers(1_000, log), threads=2)
    assert len(log) < 12
