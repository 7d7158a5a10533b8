"""Who computes partitions: this process, with a thread for each core. A cluster is in `features.jobs.engine_ray`.

An engine takes partitions and gives what they came to, in any order. It writes nothing: rows are appended in one place,
by the job, whoever computed them. Partitions are drawn from the iterable as they can be worked on.

Threads, for what takes long is done by Polars, NumPy and SciPy, which let others run meanwhile; see
docs/decisions/0012.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice

from features.jobs.partition import Computed, Partition, Samples, compute_partition
from features.jobs.shared_read import shared_reads

Engine = Callable[[Iterable[Partition]], Iterator[Computed]]


def here(store: Samples) -> Engine:
    """This thread, one partition after the other."""

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        for reader, partition in shared_reads(store, partitions):
            yield compute_partition(reader, partition)

    return run


def threads(store: Samples, *, jobs: int) -> Engine:
    """So many partitions at once, each in a thread; an error of one is raised here, and what waits is not begun."""

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        work, pool = shared_reads(store, partitions), ThreadPoolExecutor(jobs)
        try:
            # One more than there are threads, so that none has to wait for us.
            pending = {pool.submit(compute_partition, *each) for each in islice(work, jobs + 1)}
            while pending:
                done, rest = wait(pending, return_when=FIRST_COMPLETED)
                pending = rest | {pool.submit(compute_partition, *each) for each in islice(work, len(done))}
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(cancel_futures=True)

    return run
