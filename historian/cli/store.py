"""`penstock store …`: making, looking at, copying and keeping up the historian store."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import InvalidInput, near_misses
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.stores.copy import copy as copy_samples
from historian.stores.influx import admin as influx_admin
from historian.stores.influx.wire import parse_address
from historian.stores.lake.store import LakeStore
from historian.stores.open import is_influx, lake_path, open_store, open_url
from historian.times import parse_duration, parse_instant, utc_now

app = typer.Typer(
    no_args_is_help=True, help="The historian store: init, status, gaps, copy; compact and vacuum for the lake."
)
_EVERY_TAG: Final[list[str]] = []


@app.command()
def init(
    plant: PlantOption = Path("plant.toml"),
    *,
    retention: Annotated[
        str | None, typer.Option(help="Keep samples this long, such as 1825d; for ever if absent.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Makes the store's database or bucket; needs an administrator's token, once. Safe to repeat."""
    checked = load_plant(plant)
    span = _duration(retention, "--retention") if retention else None
    if is_influx(checked.store_url):
        told = influx_admin.initialise(parse_address(checked.store_url), checked.store_token, retention=span)
    else:
        LakeStore(lake_path(checked)).create()
        told = f"the lake at {lake_path(checked)} is there"
    answer({"store": checked.store_url or str(lake_path(checked)), "done": told}, told, as_json=as_json)


@app.command()
def status(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Shows the store's version, size and the newest sample of every asset."""
    checked = load_plant(plant)
    if is_influx(checked.store_url):
        found = influx_admin.status(parse_address(checked.store_url), checked.store_token)
    else:
        found = dict(LakeStore(lake_path(checked)).size())
    found["newest"] = _newest(checked)
    newest = [f"  {asset}: {instant or 'no samples yet'}" for asset, instant in found["newest"].items()]
    lines = [f"{name}: {value}" for name, value in found.items() if name != "newest"]
    answer(found, "\n".join([*lines, "newest sample:", *newest]), as_json=as_json)


def _newest(plant: Plant) -> dict[str, Any]:
    latest = open_store(plant).latest(list(plant.tags))
    instants = dict(zip(latest["tag"], latest["timestamp"], strict=True))
    return {
        asset: max(
            (instants[tag.name] for tag in plant.tags.values() if tag.asset == asset and tag.name in instants),
            default=None,
        )
        for asset in plant.assets
    }


@app.command()
def copy(
    source: Annotated[str, typer.Argument(help="file:///PATH or influxdb://…; its token in PENSTOCK_FROM_TOKEN.")],
    target: Annotated[str, typer.Argument(help="The same; its token in PENSTOCK_TO_TOKEN.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be copied.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copies all samples from one store to another, verified page by page. Run it again to resume."""
    if source == target:
        raise InvalidInput("source and target are the same store")
    origin = open_url(source, os.environ.get("PENSTOCK_FROM_TOKEN", ""))
    ledger = origin.changes(None)
    tags, total = ledger["tag"].unique().sort().to_list(), int(ledger["rows"].sum())
    if dry_run:
        text = f"would copy up to {total:,} samples of {len(tags)} tags"
        answer({"tags": len(tags), "samples": total, "dry_run": True}, text, as_json=as_json)
        return
    with progress("copying", unit="samples", total=total, quiet=as_json) as advance:
        goal = open_url(target, os.environ.get("PENSTOCK_TO_TOKEN", ""))
        done = copy_samples(origin, goal, tags, now=utc_now(), advance=advance)
    text = f"{done.samples:,} samples of {len(tags)} tags are in both; {done.written:,} of them were written now"
    answer({"tags": len(tags), **asdict(done)}, text, as_json=as_json)


@app.command()
def gaps(
    plant: PlantOption = Path("plant.toml"),
    *,
    tag: Annotated[list[str], typer.Option("--tag", help="Only this tag; may be given several times.")] = _EVERY_TAG,
    start: Annotated[str, typer.Option(help="ISO 8601 with zone, or now-7d.")] = "now-7d",
    end: Annotated[str, typer.Option(help="ISO 8601 with zone, or now.")] = "now",
    longer_than: Annotated[str, typer.Option(help="Shorter pauses are none.")] = "10m",
    as_json: JsonOption = False,
) -> None:
    """Lists where tags have no samples, of any quality."""
    checked, now = load_plant(plant), utc_now()
    for name in tag:
        if name not in checked.tags:
            raise InvalidInput(f"there is no tag {name!r}{near_misses(name, checked.tags)}")
    first, last = parse_instant(start, now=now), parse_instant(end, now=now)
    span = _duration(longer_than, "--longer-than")
    found = open_store(checked).gaps(tag or sorted(checked.tags), first, last, longer_than=span)
    lines = [
        f"{name}: {after:%Y-%m-%d %H:%M:%S} to {before:%Y-%m-%d %H:%M:%S} UTC" for name, after, before in found.rows()
    ]
    text = "\n".join([*lines, f"{len(lines)} gaps longer than {longer_than} since {start}"])
    answer({"gaps": found.to_dicts()}, text, as_json=as_json)


def _duration(text: str, option: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


@app.command()
def compact(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Merges the small files that live streaming leaves and drops superseded rows. Readers are not disturbed."""
    files = LakeStore(lake_path(load_plant(plant))).compact()
    answer(files, f"{files['files_before']} files became {files['files_after']}", as_json=as_json)


@app.command()
def vacuum(
    plant: PlantOption = Path("plant.toml"),
    *,
    keep: Annotated[str, typer.Option(help="Files that younger snapshots need stay; whole hours, or 0.")] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Deletes files that compaction has replaced. Reads and time travel older than --keep stop working."""
    span = timedelta(0) if keep == "0" else _duration(keep, "--keep")
    files = LakeStore(lake_path(load_plant(plant))).vacuum(keep=span, dry_run=dry_run)
    verb = "would delete" if dry_run else "deleted"
    answer({"files": files, "dry_run": dry_run}, "\n".join([f"{verb} {len(files)} files", *files]), as_json=as_json)
