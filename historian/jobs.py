"""Jobs: long work that a person or a program orders, watches, pauses and resumes; whoever runs it may be killed.

A job is a record in `jobs.db` in the plant's state directory. Whoever has a job to run `submit`s it; a worker `claim`s
it, reports its progress every second, and learns from the answer whether it is to go on. A worker that has not
reported for `LEASE` is dead, and its job may be claimed again: work that can be a job resumes where it was, because
what it has done is recorded elsewhere.

Which function runs a kind of job says the entry-point group `penstock.jobs`; `historian.job_worker` runs it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from historian.errors import HistorianError, InvalidInput
from historian.times import from_micros, micros

FILE: Final = "jobs.db"
LEASE: Final = timedelta(seconds=30)
"""Age of the last report after which a worker counts as dead; a worker reports every second."""

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
Request = Literal["run", "pause", "cancel"]

_ENDED: Final = ("done", "cancelled")
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    parameters TEXT NOT NULL,
    state TEXT NOT NULL,
    request TEXT NOT NULL DEFAULT 'run',
    worker TEXT NOT NULL DEFAULT '',
    progress TEXT NOT NULL DEFAULT '{}',
    result TEXT NOT NULL DEFAULT '{}',
    error TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    reported_at INTEGER,
    ended_at INTEGER
)
"""
_SELECT: Final = (
    "SELECT id, kind, parameters, state, request, worker, progress, result, error, created_at, started_at, "
    "reported_at, ended_at FROM jobs"
)


@dataclass(frozen=True)
class JobProgress:
    """How far a job is."""

    done: int = 0
    total: int | None = None
    """Number of steps in all; None while it is unknown."""
    samples: int = 0
    """Number of samples moved."""
    message: str = ""
    """What it is doing, or waiting for."""


@dataclass(frozen=True)
class Outcome:
    """What a job came to."""

    result: Mapping[str, Any] = field(default_factory=dict)
    """What its function has returned; JSON."""
    error: str = ""
    """Why it failed, or what could not be done; empty if everything could."""


@dataclass(frozen=True)
class Job:
    """A job as it is recorded."""

    id: int
    kind: str
    """Name of the function that runs it, in the entry-point group `penstock.jobs`."""
    parameters: Mapping[str, Any]
    state: State
    request: Request
    """What the worker is to do next."""
    worker: str
    """The worker that runs it, or ran it last."""
    progress: JobProgress
    outcome: Outcome
    """Empty before it has ended."""
    created_at: datetime
    started_at: datetime | None
    """When it was last claimed."""
    reported_at: datetime | None
    """When its worker last reported."""
    ended_at: datetime | None

    def is_interrupted(self, now: datetime) -> bool:
        """Return whether its worker is dead: the job says that it runs, and nobody has reported for `LEASE`."""
        return self.state == "running" and now - (self.reported_at or self.created_at) > LEASE

    def rate(self, now: datetime) -> float | None:
        """Return the samples per second since it was claimed; None if it does not run."""
        elapsed = (now - self.started_at).total_seconds() if self.started_at and self.state == "running" else 0.0
        return self.progress.samples / elapsed if elapsed > 0 else None

    def time_left(self, now: datetime) -> timedelta | None:
        """Return the time that the remaining steps take, if they take as long as those done; None if unknown."""
        done, total = self.progress.done, self.progress.total
        if self.state != "running" or self.started_at is None or not done or total is None:
            return None
        return (now - self.started_at) * ((total - done) / done)


class Jobs:
    """The jobs of a plant. Any number of processes may use it; every call is a transaction of its own."""

    def __init__(self, state: Path) -> None:
        """Name the plant's state directory; the first job creates the file."""
        self._path = state / FILE

    def submit(self, kind: str, parameters: Mapping[str, Any], *, now: datetime) -> Job:
        """Record a job to be run, and return it.

        Args:
            kind: name in the entry-point group `penstock.jobs`.
            parameters: what its function takes; JSON.
            now: the current time.

        Raises:
            HistorianError: the file cannot be written.
        """
        with self._open() as database:
            row = database.execute(
                "INSERT INTO jobs (kind, parameters, state, created_at) VALUES (?, ?, 'queued', ?) RETURNING id",
                (kind, json.dumps(dict(parameters)), micros(now)),
            ).fetchone()
            return _found(database, row[0])

    def get(self, job: int) -> Job:
        """Return a job. Raises `InvalidInput` if there is none of that number."""
        with self._open() as database:
            return _found(database, job)

    def every(self, kind: str | None = None) -> list[Job]:
        """Return the jobs of a kind, or all jobs, the oldest first."""
        with self._open() as database:
            rows = database.execute(_SELECT + " WHERE ? IS NULL OR kind = ? ORDER BY id", (kind, kind)).fetchall()
        return [_job(row) for row in rows]

    def pause(self, job: int, *, now: datetime) -> Job:
        """Stop a job where it is, to be resumed later; its worker does so within a second or two.

        Raises:
            InvalidInput: there is no such job, or it has ended.
        """
        return self._stop(job, "pause", "paused", now)

    def cancel(self, job: int, *, now: datetime) -> Job:
        """Stop a job for good. What it has done stays.

        Raises:
            InvalidInput: there is no such job, or it has ended.
        """
        return self._stop(job, "cancel", "cancelled", now)

    def resume(self, job: int, *, now: datetime) -> Job:
        """Let a job go on that is paused, has failed, or whose worker is dead.

        Raises:
            InvalidInput: there is no such job, it runs, or it has ended.
        """
        with self._open() as database:
            found = _found(database, job)
            if found.state in _ENDED or (found.state == "running" and not found.is_interrupted(now)):
                raise InvalidInput(f"job {job} is {found.state}; only a paused, failed or interrupted one is resumed")
            database.execute(
                "UPDATE jobs SET state = 'queued', request = 'run', error = '', ended_at = NULL WHERE id = ?", [job]
            )
            return _found(database, job)

    def claim(self, worker: str, *, now: datetime) -> Job | None:
        """Return the oldest job that nobody runs, as one that this worker runs; None if there is none."""
        with self._open() as database:
            row = database.execute(
                "SELECT id FROM jobs WHERE state = 'queued' OR (state = 'running' AND coalesce(reported_at, 0) < ?) "
                "ORDER BY id LIMIT 1",
                [micros(now - LEASE)],
            ).fetchone()
            if row is None:
                return None
            database.execute(
                "UPDATE jobs SET state = 'running', worker = ?, started_at = ?, reported_at = ?, progress = '{}' "
                "WHERE id = ?",
                (worker, micros(now), micros(now), row[0]),
            )
            return _found(database, row[0])

    def report(self, job: int, worker: str, progress: JobProgress, *, now: datetime) -> Request:
        """Record how far a job is, and return what the worker is to do.

        A worker that was taken for dead must stop, because another one has its job: it is answered `cancel`.
        """
        with self._open() as database:
            found = _found(database, job)
            if found.worker != worker or found.state != "running":
                return "cancel"
            database.execute(
                "UPDATE jobs SET progress = ?, reported_at = ? WHERE id = ?",
                (json.dumps(asdict(progress)), micros(now), job),
            )
            return found.request

    def end(self, job: int, worker: str, state: State, *, now: datetime, outcome: Outcome | None = None) -> None:
        """Record how a job ended, or that it is to be run again; nothing if another worker has it by now."""
        found, ended = outcome or Outcome(), None if state in ("queued", "paused") else micros(now)
        with self._open() as database:
            database.execute(
                "UPDATE jobs SET state = ?, request = 'run', result = ?, error = ?, ended_at = ?, reported_at = ? "
                "WHERE id = ? AND worker = ? AND state = 'running'",
                (state, json.dumps(dict(found.result)), found.error, ended, micros(now), job, worker),
            )

    def _stop(self, job: int, request: Request, state: State, now: datetime) -> Job:
        with self._open() as database:
            found = _found(database, job)
            if found.state in _ENDED:
                raise InvalidInput(f"job {job} is {found.state}; it cannot be stopped any more")
            if found.state == "running" and not found.is_interrupted(now):
                database.execute("UPDATE jobs SET request = ? WHERE id = ?", (request, job))
            else:
                ended = None if state == "paused" else micros(now)
                database.execute(
                    "UPDATE jobs SET state = ?, request = 'run', ended_at = ? WHERE id = ?", (state, ended, job)
                )
            return _found(database, job)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise HistorianError(f"the jobs in {self._path} cannot be opened: {error}; check the disk") from None
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE")
            database.execute(_TABLE)
            yield database
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise HistorianError(f"the jobs in {self._path} cannot be written: {error}; check the disk") from None
        finally:
            database.close()  # rolls back what was not committed


def _found(database: sqlite3.Connection, job: int) -> Job:
    row = database.execute(_SELECT + " WHERE id = ?", [job]).fetchone()
    if row is None:
        raise InvalidInput(f"there is no job {job}")
    return _job(row)


def _job(row: tuple[Any, ...]) -> Job:
    number, kind, parameters, state, request, worker, progress, result, error, *times = row
    created, started, reported, ended = (None if each is None else from_micros(each) for each in times)
    if created is None:
        raise HistorianError(f"job {number} has no time of creation; move {FILE} away")
    return Job(
        number, kind, json.loads(parameters), state, request, worker, JobProgress(**json.loads(progress)),
        Outcome(json.loads(result), error), created, started, reported, ended,
    )  # fmt: skip
