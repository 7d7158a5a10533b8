"""`penstock compute`: brings the feature tables up to date with the stored samples."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from time import monotonic
from typing import Annotated, Final

import typer

from features.cli.options import MEMORY, AddressOption, EngineName, EngineOption, amount
from features.compute.engines.processes import Engine, here, processes
from features.compute.plan import Budget, Due, budget, most_jobs
from features.compute.run import ViewJob, ViewReport, chosen_views
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.open import open_store
from historian.stores.protocols import Store
from historian.stores.urls import lake_path
from historian.times import from_micros, utc_now

_ALONE: Final = (
    "--follow computes what comes in, in this process and one part after the other; leave out --jobs, --engine, "
    "--stale and --dry-run, or run penstock compute with them first"
)
_EVERY_VIEW: Final[list[str]] = []


ViewOption = Annotated[list[str], typer.Option("--view", help="Only this feature view; may be given several times.")]
MemoryOption = Annotated[
    str,
    typer.Option(help="What samples and rows may take, beside 400MiB of program; on Ray, of each task: 512MiB, 2GiB."),
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="Processes, for work of seconds; if not given, one a core that memory is for.")
]


def compute(  # noqa: PLR0913 - one parameter an option
    plant: PlantOption = Path("plant.toml"),
    view: ViewOption = _EVERY_VIEW,
    jobs: JobsOption = None,
    memory: MemoryOption = MEMORY,
    engine: EngineOption = EngineName.local,
    address: AddressOption = "auto",
    *,
    stale: Annotated[bool, typer.Option("--stale", help="Also make anew what older versions have made.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is due.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on, and write online, until stopped.")] = False,
    every: Annotated[str, typer.Option(help="With --follow: how often to look.")] = "500ms",
    as_json: JsonOption = False,
) -> None:
    """Computes the feature rows that new, late or backfilled samples call for. Safe to stop and to run again."""
    checked = load_plant(plant)
    if follow:
        if (jobs, engine, stale, dry_run) != (None, EngineName.local, False, False):
            raise InvalidInput(_ALONE)
        # Feast, which it imports, takes seconds that a run without it should not.
        follow_plant = resolve_name("features.compute.follow:follow_plant")
        follow_plant(checked, view, every=every, memory=amount(memory), as_json=as_json)
        return
    remote = engine is EngineName.ray
    if remote and jobs:
        raise InvalidInput("on a Ray cluster its nodes' cores and --memory say how much runs at once; leave out --jobs")
    store, start = open_store(checked), monotonic()
    at_once = 1 if remote else jobs or most_jobs(amount(memory), os.cpu_count() or 1)
    limits = budget(amount(memory), at_once)
    work = _work(checked, store, view, limits, stale=stale)
    if dry_run:
        answer(_record_due(work), _text_due(work), as_json=as_json)
        return
    total = sum(due.samples for _, dues in work for due in dues)
    run = _ray(checked, address, amount(memory)) if remote else _local(checked, store, at_once)
    reports: dict[str, ViewReport] = {}
    with progress("compute", unit="samples", total=total, quiet=as_json) as advance:
        for job, dues in work:
            for due in dues:
                done = job.run(due, run, advance=advance)
                reports[job.view.name] = done.plus(reports.get(job.view.name))
    seconds = round(monotonic() - start, 3)
    answer({**_record(reports), "seconds": seconds}, _text(reports, seconds), as_json=as_json)


def _work(
    plant: Plant, store: Store, views: Sequence[str], limits: Budget, *, stale: bool
) -> list[tuple[ViewJob, list[Due]]]:
    jobs = [ViewJob(plant, view, store, utc_now) for view in chosen_views(plant, views)]
    return [(job, [job.due(limits), *([job.stale(limits)] if stale else [])]) for job in jobs]


def _ray(plant: Plant, address: str, memory: int) -> Engine:
    cluster: Engine = resolve_name("features.compute.engines.cluster:cluster")(
        _url(plant), address=address, memory=memory
    )
    return cluster


def _local(plant: Plant, store: Store, jobs: int) -> Engine:
    return processes(store, _url(plant), plant.store_token, jobs=jobs) if jobs > 1 else here(store)


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
        lines += [f"{name}: {told}" for told in _stale(report.stale_columns, report.stale_assets)]
    return "\n".join([*lines, f"in {seconds:.1f} s"])


def _stale(columns: Sequence[str], assets: Sequence[str]) -> list[str]:
    anew = "penstock compute --stale makes them anew"
    lines = [f"older rows have another version of {_some(columns)}, or lack it; {anew}"] * bool(columns)
    what = "were made from other tags, or with another bearing, speed, range or states"
    return [*lines, *[f"older rows of {_some(assets)} {what}; {anew}"] * bool(assets)]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _record_due(work: Sequence[tuple[ViewJob, Sequence[Due]]]) -> dict[str, object]:
    views = {
        job.view.name: {
            "stale_columns": job.table.stale_columns,
            "stale_assets": job.table.stale_assets,
            "assets": _assets(dues),
        }
        for job, dues in work
    }
    return {"samples": sum(due.samples for _, dues in work for due in dues), "views": views}


def _assets(dues: Sequence[Due]) -> dict[str, dict[str, object]]:
    by_asset: dict[str, dict[str, object]] = {}
    parts = [partition for due in dues for partition in due.partitions]
    for asset in dict.fromkeys(part.asset for part in parts):
        own = [part for part in parts if part.asset == asset]
        by_asset[asset] = {
            "partitions": len(own),
            "after": from_micros(min(part.span.after for part in own)),
            "until": from_micros(max(part.span.until for part in own)),
            "windows": sum(part.windows for part in own),
            "samples": sum(part.samples for part in own),
        }
    return by_asset


def _text_due(work: Sequence[tuple[ViewJob, Sequence[Due]]]) -> str:
    lines = []
    for job, dues in work:
        assets = _assets(dues)
        lines += [f"{job.view.name}: nothing is due"] * (not assets)
        lines += [
            f"{job.view.name} {asset}: about {due['windows']} windows and {due['samples']} samples in "
            f"{due['partitions']} partitions, {due['after']:%Y-%m-%d %H:%M:%S}Z to {due['until']:%Y-%m-%d %H:%M:%S}Z"
            for asset, due in assets.items()
        ]
        lines += [f"{job.view.name}: {told}" for told in _stale(job.table.stale_columns, job.table.stale_assets)]
    return "\n".join(lines)
