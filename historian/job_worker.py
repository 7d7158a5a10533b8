"""Runs jobs: claims one, calls the function of its kind, and stops it when a person says so.

A function of the entry-point group `penstock.jobs` is `async def run(plant, parameters, watch)`: it gets the path of
the plant file and the job's parameters, and calls `watch` with a function that returns its `JobProgress`. It returns
its result as JSON, and may be cancelled at any point: called again with the same parameters, it goes on.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from historian.errors import HistorianError, InvalidInput, near_misses
from historian.jobs import Job, JobProgress, Jobs, Outcome, Request, State
from historian.logs import get_logger
from historian.times import utc_now

GROUP: Final = "penstock.jobs"
REPORT_S: Final = 1.0

Watch = Callable[[Callable[[], JobProgress]], None]
"""Takes a function that returns the progress, which is called every second from then on."""
JobFunction = Callable[[Path, Mapping[str, Any], Watch], Awaitable[Mapping[str, Any]]]

_Work = asyncio.Future[Mapping[str, Any]]

log = get_logger(__name__)


class PartlyDone(HistorianError):
    """A job has ended, and something could not be done: it failed, and its result is what it did."""

    def __init__(self, text: str, result: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.result = result


def function_of(kind: str) -> JobFunction:
    """Return the function that runs jobs of a kind. Raises `InvalidInput` if no package has one."""
    known = entry_points(group=GROUP)
    if kind not in known.names:
        raise InvalidInput(f"no package runs jobs of the kind {kind!r}{near_misses(kind, known.names)}")
    function: JobFunction = known[kind].load()
    return function


class Worker:
    """Runs the jobs of a plant in this process, one after the other."""

    def __init__(
        self,
        jobs: Jobs,
        plant: Path,
        *,
        functions: Callable[[str], JobFunction] = function_of,
        clock: Callable[[], datetime] = utc_now,
        every: float = REPORT_S,
    ) -> None:
        """Create a worker.

        Args:
            jobs: the jobs.
            plant: path of the plant file.
            functions: returns the function of a kind.
            clock: returns the current time.
            every: seconds between two reports.
        """
        self.name = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._jobs = jobs
        self._plant = plant
        self._functions = functions
        self._clock = clock
        self._every = every

    async def run_next(self) -> bool:
        """Run the oldest job that nobody runs; return whether there was one.

        If this is cancelled, the job is queued again for the next worker.
        """
        job = await asyncio.to_thread(self._jobs.claim, self.name, now=self._clock())
        if job is None:
            return False
        watched = _Watched()
        work = asyncio.ensure_future(self._work(job, watched))
        try:
            request = await self._stopped(job, work, watched)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait([work])
            self._end(job, "queued")
            raise
        self._ended(job, work, request)
        return True

    async def _work(self, job: Job, watched: _Watched) -> Mapping[str, Any]:
        return await self._functions(job.kind)(self._plant, job.parameters, watched.by)

    async def _stopped(self, job: Job, work: _Work, watched: _Watched) -> Request:
        """Report until the work is done or is to stop; return what was requested last."""
        request: Request = "run"
        while not work.done():
            await asyncio.wait([work], timeout=self._every)
            progress = watched.progress()
            request = await asyncio.to_thread(self._jobs.report, job.id, self.name, progress, now=self._clock())
            if request != "run" and not work.done():
                work.cancel()
                await asyncio.wait([work])
        return request

    def _ended(self, job: Job, work: _Work, request: Request) -> None:
        """Record how the work ended."""
        if work.cancelled():
            self._end(job, "paused" if request == "pause" else "cancelled")
        elif (error := work.exception()) is None:
            self._end(job, "done", Outcome(work.result()))
        else:
            known = isinstance(error, HistorianError)
            log.error("a job failed", job=job.id, reason=str(error), exc_info=None if known else error)
            result = error.result if isinstance(error, PartlyDone) else {}
            self._end(job, "failed", Outcome(result, str(error) if known else f"{type(error).__name__}: {error}"))

    def _end(self, job: Job, state: State, outcome: Outcome | None = None) -> None:
        self._jobs.end(job.id, self.name, state, now=self._clock(), outcome=outcome)


class _Watched:
    """The progress of the work, once it lets it be watched."""

    def __init__(self) -> None:
        self.progress: Callable[[], JobProgress] = JobProgress

    def by(self, progress: Callable[[], JobProgress]) -> None:
        """Look at the progress through this function from now on."""
        self.progress = progress
