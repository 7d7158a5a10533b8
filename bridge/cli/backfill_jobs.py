"""`penstock backfill start | list | status | pause | resume | cancel | work`: backfills as jobs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bridge.cli.backfill_options import (
    AgainOption,
    EndOption,
    OrderName,
    OrderOption,
    RateOption,
    StartOption,
    WindowOption,
    WorkersOption,
    parameters_of,
)
from bridge.cli.options import chosen
from historian.cli.console import JsonOption, PlantOption, answer
from historian.job_worker import Worker
from historian.jobs import Job, Jobs
from historian.logs import configure_logging
from historian.plant.load import load_plant
from historian.times import utc_now

KIND: Final = "backfill"
LOG: Final = "jobs.log"
"""File in the plant's state directory with what the workers that `start` begins have to say."""
_LOOK_S: Final = 1.0

JobArgument = Annotated[int, typer.Argument(help="Number of the job, as penstock backfill list shows it.")]
QueueOption = Annotated[
    bool, typer.Option("--queue", help="Only queue it, for a worker that is running: penstock backfill work --follow.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to `penstock backfill`."""
    for command in (start, listed, status, pause, resume, cancel, work):
        app.command("list" if command is listed else command.__name__)(command)


def start(  # noqa: PLR0913 (a parameter an option)
    archive: Annotated[list[str] | None, typer.Argument(help="The archives; all archives if absent.")] = None,
    plant: PlantOption = Path("plant.toml"),
    *,
    start: StartOption = None,
    end: EndOption = None,
    again: AgainOption = False,
    order: OrderOption = OrderName.oldest,
    workers: WorkersOption = 1,
    rate: RateOption = None,
    window: WindowOption = None,
    queue: QueueOption = False,
    as_json: JsonOption = False,
) -> None:
    """Begin a backfill as a job that goes on in the background, whatever becomes of this terminal."""
    loaded, now = load_plant(plant), utc_now()
    names = tuple(each.name for each in chosen(loaded.archives, archive, "archives"))
    parameters = parameters_of(
        names, start=start, end=end, again=again, order=order, workers=workers, rate=rate, window=window, now=now
    )
    job = Jobs(loaded.state).submit(KIND, parameters.model_dump(mode="json"), now=now)
    if not queue:
        _begin_work(plant, loaded.state)
    _answer(job, now, as_json=as_json)


def listed(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """List the backfills that are jobs: queued, running, paused, and those that have ended."""
    jobs, now = Jobs(load_plant(plant).state).every(KIND), utc_now()
    text = "\n".join(_line(job, now) for job in jobs)
    answer({"jobs": [_record(job, now) for job in jobs]}, text or "there are no jobs", as_json=as_json)


def status(job: JobArgument, plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Show a job: how far it is, its rate, the time left, what it waits for, and what it could not read."""
    _answer(Jobs(load_plant(plant).state).get(job), utc_now(), as_json=as_json)


def pause(job: JobArgument, plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Stop a job where it is, within a second or two. What it has read stays covered."""
    _answer(Jobs(load_plant(plant).state).pause(job, now=utc_now()), utc_now(), as_json=as_json)


def resume(
    job: JobArgument,
    plant: PlantOption = Path("plant.toml"),
    *,
    queue: QueueOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a job go on that was paused, has failed, or whose process was killed."""
    loaded = load_plant(plant)
    found = Jobs(loaded.state).resume(job, now=utc_now())
    if not queue:
        _begin_work(plant, loaded.state)
    _answer(found, utc_now(), as_json=as_json)


def cancel(job: JobArgument, plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Stop a job for good. What it has read stays in the store, and covered."""
    _answer(Jobs(load_plant(plant).state).cancel(job, now=utc_now()), utc_now(), as_json=as_json)


def work(
    plant: PlantOption = Path("plant.toml"),
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more jobs instead of ending.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run queued jobs, and those whose process was killed, one after the other; `start` does so in the background."""
    configure_logging()
    done = asyncio.run(_work(Worker(Jobs(load_plant(plant).state), plant), follow=follow))
    answer({"jobs": done}, f"{done} jobs were run", as_json=as_json)


async def _work(worker: Worker, *, follow: bool) -> int:
    done = 0
    while True:
        if await worker.run_next():
            done += 1
        elif not follow:
            return done
        else:
            await asyncio.sleep(_LOOK_S)


def _begin_work(plant: Path, state: Path) -> None:
    """Start a process that runs what is queued, and outlives this one."""
    state.mkdir(parents=True, exist_ok=True)
    program = [sys.executable, "-c", "from historian.cli.main import main; main()"]
    with (state / LOG).open("ab") as log:
        subprocess.Popen(
            [*program, KIND, "work", "--plant", str(plant.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _answer(job: Job, now: datetime, *, as_json: bool) -> None:
    named = [*job.outcome.error.splitlines(), *job.outcome.result.get("problems", [])]
    lines = [_line(job, now), *(f"  {each}" for each in named)]
    answer(_record(job, now), "\n".join(lines), as_json=as_json)


def _record(job: Job, now: datetime) -> dict[str, Any]:
    """Return a job as one JSON object."""
    left = job.time_left(now)
    return {
        **{key: value for key, value in asdict(job).items() if key != "outcome"},
        **asdict(job.outcome),
        "state": _state(job, now),
        "samples_per_s": job.rate(now),
        "seconds_left": None if left is None else round(left.total_seconds()),
    }


def _state(job: Job, now: datetime) -> str:
    return "interrupted" if job.is_interrupted(now) else job.state


def _line(job: Job, now: datetime) -> str:
    """Return a job on one line."""
    progress, rate, left = job.progress, job.rate(now), job.time_left(now)
    archives = ", ".join(job.parameters.get("archives") or ["all archives"])
    steps = f", {progress.done} of {progress.total} slices, {progress.samples:,} samples" if progress.total else ""
    speed = f", {rate:,.0f} samples/s" if rate is not None and progress.samples else ""
    time_left = f", {timedelta(seconds=round(left.total_seconds()))} left" if left is not None else ""
    stopping = f", to {job.request}" if job.request != "run" else ""
    message = f" ({progress.message})" if progress.message and job.state == "running" else ""
    return f"{job.id}  {_state(job, now)}{stopping}  {archives}{steps}{speed}{time_left}{message}"
