"""`penstock store …`: creating, inspecting, copying and maintaining the historian store."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.cli.options import parse_duration_option
from historian.plant.load import load_plant
from historian.stores import operations
from historian.times import parse_instant, utc_now

app = typer.Typer(
    no_args_is_help=True, help="The historian store: init, status, gaps, copy; compact and vacuum for the lake."
)
_EVERY_TAG: Final[list[str]] = []
_LABELS: Final = {"rows_on_disk": "rows on disk, superseded ones included until store compact"}


@app.command()
def init(
    plant: PlantOption = Path("plant.toml"),
    *,
    retention: Annotated[
        str | None, typer.Option(help="How long samples are kept, such as 1825d; for ever if absent.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create the store's database or bucket, with an administrator's token. May be repeated."""
    span = parse_duration_option(retention, "--retention") if retention else None
    done = operations.initialise(load_plant(plant), retention=span)
    answer(asdict(done), done.done, as_json=as_json)


@app.command()
def status(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Show the store's version and size, and the newest sample of every asset."""
    found = operations.store_status(load_plant(plant))
    lines = [f"{_LABELS.get(name, name)}: {value}" for name, value in found.facts.items()]
    newest = [f"  {asset}: {instant or 'no samples yet'}" for asset, instant in found.newest.items()]
    answer({**found.facts, "newest": found.newest}, "\n".join([*lines, "newest sample:", *newest]), as_json=as_json)


@app.command()
def copy(
    source: Annotated[
        str,
        typer.Argument(
            help="Url of the store to read, file:///PATH or influxdb://…; its token is in PENSTOCK_FROM_TOKEN."
        ),
    ],
    target: Annotated[str, typer.Argument(help="Url of the store to write; its token is in PENSTOCK_TO_TOKEN.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be copied.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy all samples from one store to another, verified page by page. Run it again to resume."""
    plan = operations.plan_copy(source, target, source_token=os.environ.get("PENSTOCK_FROM_TOKEN", ""))
    if dry_run:
        text = f"would copy up to {plan.samples:,} samples of {len(plan.tags)} tags"
        answer({"tags": len(plan.tags), "samples": plan.samples, "dry_run": True}, text, as_json=as_json)
        return
    token = os.environ.get("PENSTOCK_TO_TOKEN", "")
    with progress("copying", unit="samples", total=plan.samples, quiet=as_json) as advance:
        done = operations.run_copy(plan, target, target_token=token, now=utc_now(), advance=advance)
    text = f"{done.samples:,} samples of {len(plan.tags)} tags are in both; {done.written:,} of them were written now"
    answer({"tags": len(plan.tags), **asdict(done)}, text, as_json=as_json)


@app.command()
def gaps(
    plant: PlantOption = Path("plant.toml"),
    *,
    tag: Annotated[list[str], typer.Option("--tag", help="Only this tag; may be given several times.")] = _EVERY_TAG,
    start: Annotated[str, typer.Option(help="ISO 8601 with zone, or now-7d.")] = "now-7d",
    end: Annotated[str, typer.Option(help="ISO 8601 with zone, or now.")] = "now",
    longer_than: Annotated[str, typer.Option(help="Shorter gaps are left out.")] = "10m",
    as_json: JsonOption = False,
) -> None:
    """List the gaps in which tags have no samples of any quality."""
    now, span = utc_now(), parse_duration_option(longer_than, "--longer-than")
    first, last = parse_instant(start, now=now), parse_instant(end, now=now)
    found = operations.find_gaps(load_plant(plant), tag, first, last, longer_than=span)
    lines = [
        f"{name}: {after:%Y-%m-%d %H:%M:%S} to {before:%Y-%m-%d %H:%M:%S} UTC" for name, after, before in found.rows()
    ]
    text = "\n".join([*lines, f"{len(lines)} gaps longer than {longer_than} since {start}"])
    answer({"gaps": found.to_dicts()}, text, as_json=as_json)


@app.command()
def compact(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Merge the small files that live streaming leaves, and drop superseded rows. Readers are not disturbed."""
    files = operations.compact_lake(load_plant(plant))
    answer(files, f"{files['files_before']} files became {files['files_after']}", as_json=as_json)


@app.command()
def vacuum(
    plant: PlantOption = Path("plant.toml"),
    *,
    keep: Annotated[
        str, typer.Option(help="Keep files that snapshots younger than this need; whole hours, or 0.")
    ] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete files that compaction has replaced. Reads and time travel older than --keep stop working."""
    span = parse_duration_option(keep, "--keep", zero=True)
    files = operations.vacuum_lake(load_plant(plant), keep=span, dry_run=dry_run)
    verb = "would delete" if dry_run else "deleted"
    answer({"files": files, "dry_run": dry_run}, "\n".join([f"{verb} {len(files)} files", *files]), as_json=as_json)
