"""Who computes partitions: this process, or all cores of this machine. A cluster is in `features.jobs.engine_ray`.

An engine takes partitions and gives what they came to, in any order. It writes nothing: rows are appended in one place,
by the job, whoever computed them. Partitions are drawn from the iterable as they can be worked on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from threading import Thread

from features.jobs.partition import Computed, Partition, Samples, compute_partition
from features.jobs.shared_read import shared_reads
from historian.errors import FeatureError
from historian.open_store import open_url

Engine = Callable[[Iterable[Partition]], Iterator[Computed]]


def here(store: Samples) -> Engine:
    """This process, one partition after the other."""

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        for reader, partition in shared_reads(store, partitions):
            yield compute_partition(reader, partition)

    return run


def processes(url: str, token: str, *, jobs: int) -> Engine:
    """As many processes, each with the store of the url open.

    Raises, when it runs:
        FeatureError: a process was killed.
    """

    def run(partitions: Iterable[Partition]) -> Iterator[Computed]:
        work = iter(partitions)
        with _pool(jobs) as pool:
            try:
                # One more than there are processes, so that none has to wait for us.
                pending = {pool.submit(compute_at, url, token, each) for each in islice(work, jobs + 1)}
                while pending:
                    done, rest = wait(pending, return_when=FIRST_COMPLETED)
                    pending = rest | {pool.submit(compute_at, url, token, each) for each in islice(work, len(done))}
                    yield from (future.result() for future in done)
            except BrokenProcessPool:
                raise FeatureError(
                    "a process that computed features was killed, most likely for lack of memory; nothing is lost: "
                    "run it again, with less --memory or fewer --jobs"
                ) from None

    return run


def compute_at(url: str, token: str, partition: Partition) -> Computed:
    """`compute_partition` on the store of a url, which stays open for the next one."""
    return compute_partition(_opened(url, token), partition)


@cache
def _opened(url: str, token: str) -> Samples:
    return open_url(url, token)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes in which Polars keeps to one core each, as there is one for every core."""
    threads = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = "1"
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        os.environ.pop("POLARS_MAX_THREADS")
        os.environ.update({"POLARS_MAX_THREADS": threads} if threads else {})


def _end_with_parent() -> None:
    """Whoever kills the job with -9 kills its processes, which would wait for work for ever."""
    parent = parent_process()
    if parent:
        sentinel = parent.sentinel
        Thread(target=lambda: (connection.wait([sentinel]), os._exit(1)), daemon=True).start()
