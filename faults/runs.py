"""Runs a case: a backfill is interrupted or disturbed until it has ended, and then counted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final

import polars as pl
from polars.testing import assert_frame_equal

from bridge.delivery.sink_runner import SinkRunner
from bridge.edge.batches import Batches
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import Spool
from bridge.run.backfill import Backfill
from bridge.run.courtesy import Limits
from faults.archives import CHANGE, COUNT, MINUTE, TAGS, Step, connection_of, truth, write_plant
from faults.cases import Case
from historian.errors import NotConnected, SourceError, StoreUnavailable
from historian.job_worker import Watch, Worker
from historian.jobs import JobProgress, Jobs
from historian.plant.load import load_plant
from historian.samples import SampleBatch, sample_batch
from historian.stores.memory import MemoryStore

NOW: Final = datetime(2026, 11, 1, tzinfo=UTC)
LIMIT_S: Final = 30.0
_INTERRUPTIONS: Final = 4
_END: Final = CHANGE + COUNT * MINUTE


class SteppingStore(MemoryStore):
    """A store in memory for several threads, that takes a step before and after each write."""

    def __init__(self) -> None:
        super().__init__()
        self.step: Step = lambda: None
        self._lock = Lock()

    def write(self, batch: SampleBatch, *, source: str, now: datetime) -> None:
        """See `Sink.write`."""
        self.step()
        with self._lock:
            super().write(batch, source=source, now=now)
        self.step()


class Run:
    """A case, its plant, and the store that outlives every interruption."""

    def __init__(self, case: Case, directory: Path) -> None:
        self.case = case
        self.store = SteppingStore()
        self.random = random.Random(str(case))  # noqa: S311 (a draw of moments)
        self._directory = directory
        self._archive = load_plant(write_plant(case, directory)).archives["old"]
        self._step: Step = lambda: None

    def to_its_end(self) -> None:
        """Disturb the backfill, and let it end."""
        fault = self.case.fault
        if fault == "interrupted":
            for _ in range(_INTERRUPTIONS):
                self._interrupted()
        elif fault == "job paused":
            self._as_job()
        elif fault == "streamed meanwhile":
            self._with_edge(self._streamed)
        elif fault == "edge disk full":
            self._with_edge(self._full)
        elif fault in ("archive lost", "store away"):
            self._with_failures()
        self._with_edge(self._once)

    def check(self) -> None:
        """Compare the store with the archive, and look for what is not covered, or in quarantine."""
        rows = pl.concat(self.store.read(TAGS, CHANGE - timedelta(days=9), _END + timedelta(days=9)))
        assert_frame_equal(rows.sort("tag", "timestamp"), truth())
        with closing(self._edge()) as edge:
            last = truth()["timestamp"].max()
            covered = Coverage(edge).of(TAGS, CHANGE, _END)
            assert covered["tag"].to_list() == list(TAGS), covered
            assert covered.select(start=(pl.col("start") <= CHANGE), end=(pl.col("end") > last)).to_series().all()
            assert Quarantine(edge).rows().is_empty()
            assert asyncio.run(self._backfill(edge).plan(None, None)) == []

    def _edge(self) -> Edge:
        return Edge(self._directory / ".penstock" / "edge.db")

    def _backfill(self, edge: Edge) -> Backfill:
        connection = connection_of(self.case, self._archive, lambda: self._step())
        limits = Limits(self.case.workers)
        return Backfill(connection, edge, self.store, limits=limits, clock=lambda: NOW, wait=lambda *_: 0.001)

    def _with_edge(self, work: Callable[[Edge], Coroutine[Any, Any, None]]) -> None:
        with closing(self._edge()) as edge:
            asyncio.run(asyncio.wait_for(work(edge), LIMIT_S))

    async def _once(self, edge: Edge) -> None:
        backfill = self._backfill(edge)
        plan = await backfill.plan(None, None, order=self.case.order)
        await backfill.run(plan, advance=lambda _: None)

    def _interrupted(self) -> None:
        """Run as far as a random page or write, and stop there, as far as Python lets anything stop."""

        async def main(edge: Edge) -> None:
            loop, running = asyncio.get_running_loop(), asyncio.ensure_future(self._once(edge))
            with self._stepping(lambda: loop.call_soon_threadsafe(running.cancel)):
                await asyncio.wait([running])

        self._with_edge(main)

    @contextmanager
    def _stepping(self, act: Callable[[], object]) -> Iterator[None]:
        """Do something at a random step of archive or store."""
        left = [self.random.randrange(1, 25)]

        def step() -> None:
            left[0] -= 1
            if left[0] == 0:
                act()

        self._step = self.store.step = step
        yield
        self._step = self.store.step = lambda: None

    def _with_failures(self) -> None:
        """Fail at random steps, in the archive or in the store."""
        lost = self.case.fault == "archive lost"

        def fails() -> None:
            if self.random.random() < 0.1:
                raise NotConnected("the line is cut") if lost else StoreUnavailable("the store is away")

        if lost:
            self._step = fails
        else:
            self.store.step = fails
        with suppress(SourceError):  # it has given up; what was covered is in the store
            self._with_edge(self._once)
        self._step = self.store.step = lambda: None

    async def _full(self, edge: Edge) -> None:
        """Let the edge's disk be full until the backfill waits for it."""
        [(pages,)] = edge.rows("PRAGMA page_count")
        edge.rows(f"PRAGMA max_page_count = {pages}")
        backfill = self._backfill(edge)
        plan = await backfill.plan(None, None, order=self.case.order)
        running = asyncio.ensure_future(backfill.run(plan, advance=lambda _: None))
        await asyncio.wait([running], timeout=0.02)
        edge.rows("PRAGMA max_page_count = 1000000")
        await running

    async def _streamed(self, edge: Edge) -> None:
        """Stream the last samples of the same tags meanwhile."""
        live, spool, finish = truth().sort("timestamp").tail(60), Spool(edge), asyncio.Event()
        runner = SinkRunner(edge, self.store, ["line1"])

        async def arrive() -> None:
            for batch in live.iter_slices(10):
                spool.append(Batches(sample_batch(batch.sort("tag", "timestamp"))), source="line1", now=NOW)
                await asyncio.sleep(0)
            finish.set()

        await asyncio.gather(arrive(), runner.run(finish, every=0.01, clock=lambda: NOW), self._once(edge))

    def _as_job(self) -> None:
        """Run as a job that is paused in the middle and resumed later, by another worker."""
        jobs = Jobs(self._directory / ".penstock")
        job = jobs.submit("backfill", {}, now=NOW)

        async def function(_: Path, __: object, watch: Watch) -> dict[str, object]:
            watch(JobProgress)
            with closing(self._edge()) as edge:
                await self._once(edge)
            return {}

        async def run(*, pausing: bool) -> None:
            worker = Worker(jobs, self._directory, functions=lambda _: function, every=0.005)
            with self._stepping(lambda: jobs.pause(job.id, now=datetime.now(UTC)) if pausing else None):
                await asyncio.wait_for(worker.run_next(), LIMIT_S)

        asyncio.run(run(pausing=True))
        if jobs.get(job.id).state == "paused":
            jobs.resume(job.id, now=NOW + timedelta(days=1))
            asyncio.run(run(pausing=False))
        assert jobs.get(job.id).state == "done"


def run_case(case: Case, directory: Path) -> None:
    """Run a case in a directory. Raises `AssertionError` if the store has not exactly the samples of the archive."""
    run = Run(case, directory)
    run.to_its_end()
    run.check()
