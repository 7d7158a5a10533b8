"""Who computes partitions: this process, and others beside it. A cluster is in `features.compute.engines.cluster`.

An engine takes partitions and gives what they came to, in any order. It writes nothing: rows are appended in one place,
by the job, whoever computed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from time import monotonic
from typing import Final

from features.compute.engines.shared_read import compute_group, grouped
from features.compute.engines.worker import Worker
from features.compute.partition import Computed, Partition, Samples

Engine = Callable[[Iterable[Partition]], Iterator[Computed]]
Hand = Callable[[Sequence[Partition]], Sequence[Computed]]
"""Whoever computes one group at a time."""

_FASTEST: Final = 50e6
"""Samples a second that no process exceeds: how long work takes at least, before any is done."""
_IN_HAND: Final = 4
"""Groups, of which one is at work; while rows are appended nobody hands out more."""
_WORTH: Final = 3.0
"""Seconds of work for which it pays to start processes: each takes one and a half to be ready."""


def here(store: Samples) -> Engine:
    """This thread, one partition after the other."""

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        for group in grouped(partitions):
            yield from compute_group(store, group)

    return run


def processes(store: Samples, url: str, token: str, *, jobs: int, worth: float = _WORTH) -> Engine:
    """This process, which begins at once, and up to `jobs - 1` others, once it turns out that they are worth starting.

    An error of one is raised here, and what waits is not begun. See docs/decisions/0012.

    Args:
        store: to read from here.
        url: of the same store, for the others.
        token: the store's, if it wants one.
        jobs: how many processes, this one among them.
        worth: seconds of work left for which others are started.

    Raises, when it runs:
        FeatureError: a process was killed.
        StoreUnavailable: the store cannot be read.
    """

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        todo, begun, done = list(partitions), monotonic(), 0
        crew = _Crew(lambda group: list(compute_group(store, group)), lambda: Worker(url, token), jobs - 1)
        try:
            if sum(each.samples for each in todo) > worth * _FASTEST:
                crew.grow()
            for found in crew.work(grouped(todo)):
                yield from found
                done += len(found)
                if (monotonic() - begun) / done * (len(todo) - done) > worth:
                    crew.grow()
        finally:
            crew.dismiss()

    return run


class _Crew:
    """Several that compute, each with a group in hand and some that wait, for we may be long in coming back."""

    def __init__(self, first: Hand, hire: Callable[[], Worker], others: int) -> None:
        self._hands = {ThreadPoolExecutor(1): first}
        self._workers: list[Worker] = []
        self._hire, self._others = hire, others

    def grow(self) -> None:
        """Hires the others, if they are not there yet; they join in when they are ready."""
        self._workers = self._workers or [self._hire() for _ in range(self._others)]

    def work(self, groups: Iterator[list[Partition]]) -> Iterator[Sequence[Computed]]:
        """What each group came to."""
        pending: dict[Future[Sequence[Computed]], ThreadPoolExecutor] = {}
        while True:
            # Two threads a process, so that one group waits there while the other is at work.
            self._hands |= {ThreadPoolExecutor(2): each.compute for each in self._workers if each.is_ready()}
            for pool, hand in self._hands.items():
                room = _IN_HAND - list(pending.values()).count(pool)
                pending |= {pool.submit(hand, group): pool for group in islice(groups, room)}
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            pending = {future: pool for future, pool in pending.items() if future not in done}
            yield from (future.result() for future in done)

    def dismiss(self) -> None:
        """What waits is not begun; what is in hand here is waited for."""
        for worker in self._workers:
            worker.stop()
        for pool in self._hands:
            pool.shutdown(cancel_futures=True)
