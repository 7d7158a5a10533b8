"""Engines on this machine: this process alone, or with others. A cluster is in `features.compute.engines.cluster`.

An engine takes partitions and yields their rows, in any order. It writes nothing: the job appends all rows in one
place, whichever process computed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from time import monotonic
from typing import Final

from features.compute.engines.groups import grouped
from features.compute.engines.worker import WorkerProcess
from features.compute.partition import Computed, Partition, Samples, compute_partitions

Engine = Callable[[Iterable[Partition]], Iterator[Computed]]
"""Runs partitions and yields their rows as they are done."""
ComputeGroup = Callable[[Sequence[Partition]], Computed]
"""Computes the partitions of one group, in this process or in another."""

_FASTEST: Final = 50e6
"""Samples a second that no process exceeds: with it the least duration of work is known before any is done."""
_QUEUED: Final = 4
"""Groups a process has at a time, one of them at work; while rows are appended no more are submitted."""
_WORTH: Final = 3.0
"""Seconds of work for which it pays to start processes: each takes one and a half to be ready."""


def in_process(store: Samples) -> Engine:
    """Return an engine that runs in the calling thread, one group after the other; `store` has the samples."""

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        for group in grouped(partitions):
            yield compute_partitions(store, group)

    return run


def processes(store: Samples, url: str, token: str, *, jobs: int, worth: float = _WORTH) -> Engine:
    """Return an engine of this process, which begins at once, and up to `jobs - 1` others.

    The others are started once the work left is worth it. An error in any of them is raised here, and partitions that
    still wait are not begun. See docs/decisions/0012.

    Args:
        store: read from in this process.
        url: of the same store, for the others.
        token: the store's, if it needs one.
        jobs: how many processes, including this one.
        worth: seconds of work left for which others are started.

    Raises, when it runs:
        FeatureError: a process was killed.
        StoreUnavailable: the store cannot be read.
    """

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        todo, begun, done = list(partitions), monotonic(), 0
        pool = _ProcessPool(store, partial(WorkerProcess, url, token), jobs - 1)
        try:
            if sum(each.samples for each in todo) > worth * _FASTEST:
                pool.start_others()
            for found in pool.compute(grouped(todo)):
                yield found
                done += len(found.covered)
                if (monotonic() - begun) / done * (len(todo) - done) > worth:
                    pool.start_others()
        finally:
            pool.shutdown()

    return run


class _ProcessPool:
    """This process and others, each with a group at work and some queued, for the caller may be slow to come back."""

    def __init__(self, store: Samples, start: Callable[[], WorkerProcess], others: int) -> None:
        self._compute: dict[ThreadPoolExecutor, ComputeGroup] = {
            ThreadPoolExecutor(1): lambda group: compute_partitions(store, group)
        }
        self._workers: list[WorkerProcess] = []
        self._start, self._others = start, others

    def start_others(self) -> None:
        """Start the other processes, unless they are there; they take part as soon as they are ready."""
        self._workers = self._workers or [self._start() for _ in range(self._others)]

    def compute(self, groups: Iterator[list[Partition]]) -> Iterator[Computed]:
        """Yield the rows of each group, as they are done."""
        pending: dict[Future[Computed], ThreadPoolExecutor] = {}
        while True:
            # Two threads a process, so that one group waits there while the other is at work.
            self._compute |= {ThreadPoolExecutor(2): each.compute for each in self._workers if each.is_ready()}
            for threads, compute in self._compute.items():
                room = _QUEUED - list(pending.values()).count(threads)
                pending |= {threads.submit(compute, group): threads for group in islice(groups, room)}
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            pending = {future: threads for future, threads in pending.items() if future not in done}
            yield from (future.result() for future in done)

    def shutdown(self) -> None:
        """End the other processes; groups that are queued are not begun, the one at work here is waited for."""
        for worker in self._workers:
            worker.stop()
        for threads in self._compute:
            threads.shutdown(cancel_futures=True)
