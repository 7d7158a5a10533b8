"""`penstock compute`: brings the feature tables up to date with the stored samples."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from threading import Event
from time import monotonic
from typing import Annotated, Any, Final

import typer

from features.cli.options import MEMORY, AddressOption, EngineName, EngineOption, amount
from features.compute.engines.processes import Engine, in_process, processes
from features.compute.run import PlannedView, ViewReport, plan_views, run_views
from features.compute.splitting import budget, most_jobs
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.cli.options import parse_duration_option
from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.stores.protocols import Store
from historian.stores.urls import lake_path
from historian.times import utc_now

_ALONE: Final = (
    "--follow computes what arrives, in this process and one partition after the other; leave out --jobs, --engine, "
    "--stale and --dry-run, or run penstock compute with them first"
)
_EVERY_VIEW: Final[list[str]] = []


ViewOption = Annotated[list[str], typer.Option("--view", help="Only this feature view; may be given several times.")]
MemoryOption = Annotated[
    str,
    typer.Option(help="For samples and rows, besides 400MiB of program; on Ray, for each task: 512MiB, 2GiB."),
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="Processes; if not given, one for each core, as far as memory allows.")
]


def compute(  # noqa: PLR0913 - one parameter an option
    plant: PlantOption = Path("plant.toml"),
    view: ViewOption = _EVERY_VIEW,
    jobs: JobsOption = None,
    memory: MemoryOption = MEMORY,
    engine: EngineOption = EngineName.local,
    address: AddressOption = "auto",
    *,
    stale: Annotated[bool, typer.Option("--stale", help="Also recompute rows of older versions.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what is due.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Keep running, and write online, until stopped.")] = False,
    every: Annotated[str, typer.Option(help="With --follow: how often to look for new samples.")] = "500ms",
    as_json: JsonOption = False,
) -> None:
    """Compute the feature rows that new, late or backfilled samples require. Safe to stop and to run again."""
    checked = load_plant(plant)
    if follow:
        if (jobs, engine, stale, dry_run) != (None, EngineName.local, False, False):
            raise InvalidInput(_ALONE)
        _follow(checked, view, every=every, memory=amount(memory), as_json=as_json)
        return
    remote = engine is EngineName.ray
    if remote and jobs:
        raise InvalidInput("on a Ray cluster its nodes' cores and --memory say how much runs at once; leave out --jobs")
    store, start = open_store(checked), monotonic()
    at_once = 1 if remote else jobs or most_jobs(amount(memory), os.cpu_count() or 1)
    planned = plan_views(checked, store, utc_now, view, budget(amount(memory), at_once), recompute=stale)
    if dry_run:
        answer(_planned_record(planned), _planned_text(planned), as_json=as_json)
        return
    run = _ray(checked, address, amount(memory)) if remote else _local(checked, store, at_once)
    total = sum(each.samples for each in planned)
    with progress("compute", unit="samples", total=total, quiet=as_json) as advance:
        reports = run_views(planned, run, advance=advance)
    seconds = round(monotonic() - start, 3)
    answer({**_record(reports), "seconds": seconds}, _text(reports, seconds), as_json=as_json)


def _follow(plant: Plant, views: Sequence[str], *, every: str, memory: int, as_json: bool) -> None:
    """Follow until SIGINT or SIGTERM; the round then under way is finished."""
    pause = parse_duration_option(every, "--every")
    # Feast, which it imports, takes seconds that a run without it should not.
    plant_follower = resolve_name("features.compute.follow:plant_follower")
    follower, stop = plant_follower(plant, open_store(plant), utc_now, views, memory=memory), Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())

    def report(done: Any) -> None:
        record, text = _round(done)
        answer(record, text, as_json=as_json)

    follower.run(stop, pause=pause.total_seconds(), report=report)


def _round(done: Any) -> tuple[Mapping[str, object], str]:
    """Return a round's report or failure, for machines and for people."""
    record = asdict(done)
    if "error" in record:
        return record, f"{done.error}; trying again"
    found: ViewReport = done.report
    text = f"{done.view}: {found.feature_rows} new rows of {found.windows} windows in {done.seconds:.2f} s"
    return {"view": done.view, **record["report"], "seconds": done.seconds}, text


def _ray(plant: Plant, address: str, memory: int) -> Engine:
    cluster: Engine = resolve_name("features.compute.engines.cluster:cluster")(
        _url(plant), address=address, memory=memory
    )
    return cluster


def _local(plant: Plant, store: Store, jobs: int) -> Engine:
    return processes(store, _url(plant), plant.store_token, jobs=jobs) if jobs > 1 else in_process(store)


def _url(plant: Plant) -> str:
    return plant.store_url or lake_path(plant).resolve().as_uri()


def _record(reports: Mapping[str, ViewReport]) -> dict[str, object]:
    views = {name: asdict(report) for name, report in reports.items()}
    counts = [key for key, value in asdict(ViewReport()).items() if isinstance(value, int)]
    return {**{key: sum(view[key] for view in views.values()) for key in counts}, "views": views}


def _text(reports: Mapping[str, ViewReport], seconds: float) -> str:
    lines = []
    for name, report in reports.items():
        counts = (
            f"{report.feature_rows} new rows; {report.windows} windows computed, {report.invalid} of them not valid"
        )
        lines.append(f"{name}: {counts}")
        lines += [f"{name}: {stale}" for stale in _stale(report.stale_columns, report.stale_assets)]
    return "\n".join([*lines, f"in {seconds:.1f} s"])


def _stale(columns: Sequence[str], assets: Sequence[str]) -> list[str]:
    advice = "penstock compute --stale recomputes them"
    lines = [f"older rows have another version of {_some(columns)}, or lack it; {advice}"] * bool(columns)
    what = "were computed from other tags, or with another bearing, speed, range or states"
    return [*lines, *[f"older rows of {_some(assets)} {what}; {advice}"] * bool(assets)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _planned_record(planned: Sequence[PlannedView]) -> dict[str, object]:
    views = {
        each.job.view.name: {
            "stale_columns": each.job.table.stale_columns,
            "stale_assets": each.job.table.stale_assets,
            "assets": {asset: asdict(found) for asset, found in each.assets().items()},
        }
        for each in planned
    }
    return {"samples": sum(each.samples for each in planned), "views": views}


def _planned_text(planned: Sequence[PlannedView]) -> str:
    lines = []
    for each in planned:
        name, assets, table = each.job.view.name, each.assets(), each.job.table
        lines += [f"{name}: nothing is due"] * (not assets)
        lines += [
            f"{name} {asset}: about {due.windows} windows and {due.samples} samples in {due.partitions} partitions, "
            f"{due.after:%Y-%m-%d %H:%M:%S}Z to {due.until:%Y-%m-%d %H:%M:%S}Z"
            for asset, due in assets.items()
        ]
        lines += [f"{name}: {stale}" for stale in _stale(table.stale_columns, table.stale_assets)]
    return "\n".join(lines)
