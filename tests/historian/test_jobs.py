"""Jobs: one worker at a time has a job, whoever dies; a pause is a stop, and a resumed job is claimed again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from historian.errors import InvalidInput, SourceError
from historian.job_worker import JobFunction, PartlyDone, Watch, Worker, function_of
from historian.jobs import LEASE, Job, JobProgress, Jobs, Outcome

T0 = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PLANT = Path("plant.toml")


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    """No jobs yet, in a directory that does not exist."""
    return Jobs(tmp_path / "state")


def states(jobs: Jobs) -> list[str]:
    """The state of every job."""
    return [job.state for job in jobs.every()]


def test_jobs_are_claimed_in_order_and_once(jobs: Jobs) -> None:
    """Each worker gets another one; the third gets none."""
    first, second = (jobs.submit("k", {"n": n}, now=T0) for n in (1, 2))
    claimed = [jobs.claim(name, now=T0) for name in ("w1", "w2", "w3")]
    assert [job and (job.id, job.worker, job.parameters) for job in claimed] == [
        (first.id, "w1", {"n": 1}), (second.id, "w2", {"n": 2}), None,
    ]  # fmt: skip
    assert (jobs.every("k"), jobs.every("other")) == (jobs.every(), [])


def test_the_job_of_a_dead_worker_is_claimed_by_another(jobs: Jobs) -> None:
    """A worker that comes back from the dead has to stop, and cannot end the job."""
    job = jobs.submit("k", {}, now=T0)
    jobs.claim("w1", now=T0)
    assert jobs.report(job.id, "w1", JobProgress(1, 4, 10), now=T0 + SECOND) == "run"
    assert jobs.claim("w2", now=T0 + LEASE) is None
    late = T0 + 2 * SECOND + LEASE
    assert jobs.get(job.id).is_interrupted(late)
    again = jobs.claim("w2", now=late)
    assert again is not None
    assert (again.id, again.progress, again.is_interrupted(late)) == (job.id, JobProgress(), False)
    assert jobs.report(job.id, "w1", JobProgress(2, 4), now=late) == "cancel"
    jobs.end(job.id, "w1", "failed", now=late, outcome=Outcome(error="late"))
    assert (jobs.get(job.id).state, jobs.get(job.id).outcome.error) == ("running", "")


def test_a_job_that_nobody_runs_is_paused_resumed_and_cancelled_at_once(jobs: Jobs) -> None:
    """Paused, it is not claimed; cancelled, it has ended."""
    job = jobs.submit("k", {}, now=T0)
    assert jobs.pause(job.id, now=T0).state == "paused"
    assert jobs.claim("w", now=T0) is None
    assert jobs.resume(job.id, now=T0).state == "queued"
    ended = jobs.cancel(job.id, now=T0)
    assert (ended.state, ended.ended_at) == ("cancelled", T0)
    for change in (jobs.pause, jobs.cancel, jobs.resume):
        with pytest.raises(InvalidInput, match=f"job {job.id} is cancelled"):
            change(job.id, now=T0)


def test_a_running_job_is_not_resumed_and_its_worker_learns_of_a_pause(jobs: Jobs) -> None:
    """The pause takes effect when the worker reports."""
    job = jobs.submit("k", {}, now=T0)
    jobs.claim("w", now=T0)
    with pytest.raises(InvalidInput, match="is running; only a paused, failed or interrupted one is resumed"):
        jobs.resume(job.id, now=T0)
    assert jobs.pause(job.id, now=T0).state == "running"
    assert jobs.report(job.id, "w", JobProgress(), now=T0) == "pause"
    with pytest.raises(InvalidInput, match="there is no job 99"):
        jobs.get(99)


def test_rate_and_time_left_follow_from_the_progress(jobs: Jobs) -> None:
    """A quarter of the slices in ten seconds leaves thirty."""
    job = jobs.submit("k", {}, now=T0)
    jobs.claim("w", now=T0)
    now = T0 + 10 * SECOND
    assert jobs.get(job.id).time_left(now) is None
    jobs.report(job.id, "w", JobProgress(1, 4, 500), now=now)
    found = jobs.get(job.id)
    assert (found.rate(now), found.time_left(now)) == (50.0, 30 * SECOND)


@dataclass
class Work:
    """A function of a kind of job: counts its starts, and does what it is given."""

    does: Callable[[], Awaitable[Mapping[str, Any]]]
    started: int = 0
    seen: list[tuple[Path, Mapping[str, Any]]] = field(default_factory=list)

    async def __call__(self, plant: Path, parameters: Mapping[str, Any], watch: Watch) -> Mapping[str, Any]:
        """See `JobFunction`."""
        self.started += 1
        self.seen.append((plant, parameters))
        watch(lambda: JobProgress(self.started, 9))
        return await self.does()

    def of(self, _kind: str) -> JobFunction:
        """See `function_of`."""
        return self


async def returns() -> Mapping[str, Any]:
    """Ends at once."""
    return {"rows": 3}


async def waits() -> Mapping[str, Any]:
    """Never ends."""
    await asyncio.Event().wait()
    raise AssertionError


def run_next(jobs: Jobs, work: Work, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Run a job; once it has started, do something."""

    async def main() -> bool:
        worker = Worker(jobs, PLANT, functions=work.of, every=0.01)
        running = asyncio.create_task(worker.run_next())
        while not work.started and not running.done():
            await asyncio.sleep(0.005)
        meanwhile()
        return await running

    return asyncio.run(main())


def test_a_worker_runs_a_job_to_its_end(jobs: Jobs) -> None:
    """Its function gets the plant and the parameters; its result is recorded with the last progress."""
    job, work = jobs.submit("k", {"a": 1}, now=T0), Work(returns)
    assert (run_next(jobs, work), run_next(jobs, Work(returns))) == (True, False)
    ended = jobs.get(job.id)
    assert (ended.state, ended.outcome, ended.progress) == ("done", Outcome({"rows": 3}), JobProgress(1, 9))
    assert work.seen == [(PLANT, {"a": 1})]


@pytest.mark.parametrize(("stop", "state"), [(Jobs.pause, "paused"), (Jobs.cancel, "cancelled")])
def test_a_job_is_stopped_while_it_runs(jobs: Jobs, stop: Callable[..., Job], state: str) -> None:
    """A paused one can be run again from its record."""
    job = jobs.submit("k", {}, now=T0)
    run_next(jobs, Work(waits), lambda: stop(jobs, job.id, now=datetime.now(UTC)))
    assert states(jobs) == [state]
    if state == "paused":
        jobs.resume(job.id, now=T0)
        assert run_next(jobs, Work(returns))
        assert states(jobs) == ["done"]


def failing(error: Exception) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    """What raises an error."""

    async def fails() -> Mapping[str, Any]:
        raise error

    return fails


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SourceError("the archive is gone"), Outcome({}, "the archive is gone")),
        (PartlyDone("a file is broken", {"rows": 2}), Outcome({"rows": 2}, "a file is broken")),
        (ZeroDivisionError("by zero"), Outcome({}, "ZeroDivisionError: by zero")),
    ],
)
def test_a_failed_job_has_the_reason_and_can_be_resumed(jobs: Jobs, error: Exception, outcome: Outcome) -> None:
    """The worker goes on with the next job."""
    job = jobs.submit("k", {}, now=T0)
    assert run_next(jobs, Work(failing(error)))
    assert (jobs.get(job.id).state, jobs.get(job.id).outcome) == ("failed", outcome)
    assert jobs.resume(job.id, now=T0).outcome.error == ""


def test_a_worker_that_is_stopped_leaves_its_job_queued(jobs: Jobs) -> None:
    """The next one runs it at once."""
    jobs.submit("k", {}, now=T0)

    async def main() -> None:
        work = Work(waits)
        running = asyncio.create_task(Worker(jobs, PLANT, functions=work.of, every=0.01).run_next())
        while not work.started:
            await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(main())
    assert states(jobs) == ["queued"]


def test_a_job_of_an_unknown_kind_fails(jobs: Jobs) -> None:
    """It does not stop the worker."""
    jobs.submit("backfil", {}, now=T0)
    assert asyncio.run(Worker(jobs, PLANT, every=0.01).run_next())
    assert states(jobs) == ["failed"]


def test_kinds_of_jobs_are_found_by_entry_point() -> None:
    """An unknown one is named with its nearest."""
    assert callable(function_of("backfill"))
    with pytest.raises(InvalidInput, match="no package runs jobs of the kind 'backfil'; did you mean backfill"):
        function_of("backfil")
