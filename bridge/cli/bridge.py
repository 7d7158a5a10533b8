"""`penstock stream`, `penstock backfill` and `penstock quarantine`: the bridge from the keyboard."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bridge.delivery.forwarder import Forwarder
from bridge.edge.database import open_edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.spool import Spool
from bridge.run.backfill import Backfill, Slice
from bridge.run.stream import Pump
from bridge.run.stream import stream as run_stream
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.errors import InvalidInput, SourceError, near_misses
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from historian.stores.open import open_store
from historian.times import parse_duration, parse_instant, utc_now

TICK_S: Final = 0.2


def stream(
    plant: PlantOption = Path("plant.toml"),
    *,
    span: Annotated[str | None, typer.Option("--for", help="Stop after this long, such as 10s.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be given again.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Streams live samples from the plant's sources into the store, until interrupted."""
    loaded = load_plant(plant)
    seconds = _seconds(span)
    feeds = _chosen(loaded.sources, source, "sources")
    started = time.monotonic()
    with open_edge(loaded) as edge, progress("streaming", unit="samples", quiet=as_json) as advance:
        pumps = [Pump(feed, edge) for feed in feeds]
        forwarder = Forwarder(edge, open_store(loaded), [feed.name for feed in feeds])
        asyncio.run(_stream(pumps, forwarder, seconds, advance))
        waiting = Spool(edge).waiting()
    record = {
        "samples_streamed": sum(pump.intake.samples for pump in pumps),
        "samples_stored": forwarder.stored.total(),
        "quarantined": sum(pump.intake.quarantined for pump in pumps),
        "sources": {pump.name: _told(pump, forwarder, waiting) for pump in pumps},
        "seconds": round(time.monotonic() - started, 3),
    }
    answer(record, _stream_text(record), as_json=as_json)


async def _stream(
    pumps: Sequence[Pump], forwarder: Forwarder, seconds: float | None, advance: Callable[[int], None]
) -> None:
    """Streams until the time is over or a signal comes."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    ticking = asyncio.create_task(_tick(forwarder, advance))
    await run_stream(pumps, forwarder, stop)
    ticking.cancel()


async def _tick(forwarder: Forwarder, advance: Callable[[int], None]) -> None:
    shown = 0
    while True:
        stored = forwarder.stored.total()
        advance(stored - shown)
        shown = stored
        await asyncio.sleep(TICK_S)


def _told(pump: Pump, forwarder: Forwarder, waiting: Mapping[str, int]) -> dict[str, object]:
    return {
        "streamed": pump.intake.samples,
        "stored": forwarder.stored[pump.name],
        "quarantined": pump.intake.quarantined,
        "waiting": waiting.get(pump.name, 0),
        "connections": pump.connections,
        "trouble": pump.trouble,
    }


def _stream_text(record: Mapping[str, Any]) -> str:
    lines = [
        f"streamed {record['samples_streamed']:,} samples, stored {record['samples_stored']:,}, "
        f"quarantined {record['quarantined']:,} in {record['seconds']:.1f} s"
    ]
    for name, told in record["sources"].items():
        state = f"not connected: {told['trouble']}" if told["trouble"] else f"{told['connections']} connection(s)"
        waiting = f", {told['waiting']:,} wait in the spool" if told["waiting"] else ""
        lines.append(f"  {name}: {told['streamed']:,} samples, {state}{waiting}")
    return "\n".join(lines)


def backfill(
    archive: Annotated[str | None, typer.Argument(help="The archive; all of them if not named.")] = None,
    plant: PlantOption = Path("plant.toml"),
    *,
    start: Annotated[
        str | None, typer.Option(help="From this time on, such as 2026-03-01T00:00:00Z or now-7d.")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Read what was read before too: an address was wrong, a file came late.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be read.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Brings the past of legacy archives into the store; what is there already is not read again."""
    loaded = load_plant(plant)
    feeds = _chosen(loaded.archives, [archive] if archive else None, "archives")
    now, started = utc_now(), time.monotonic()
    since, until = (parse_instant(text, now=now) if text else None for text in (start, end))
    told, failures = {}, list[str]()
    with open_edge(loaded) as edge:
        store = open_store(loaded)
        for task in [Backfill(feed, edge, store) for feed in feeds]:
            plan: list[Slice] = []
            try:
                plan = task.plan(since, until, again=again)
            except SourceError as error:
                failures.append(str(error))
            with progress(f"backfilling {task.name}", unit="slices", total=len(plan), quiet=as_json) as advance:
                try:
                    if not dry_run:
                        asyncio.run(task.run(plan, advance=advance))
                except SourceError as error:
                    failures.append(str(error))
            told[task.name] = _told_archive(task, plan, Spool(edge).waiting())
    sums = {key: sum(one[key] for one in told.values()) for key in ("samples", "quarantined", "conflicts", "waiting")}
    record = {
        "samples_backfilled": sums.pop("samples"),
        **sums,
        "dry_run": dry_run,
        "archives": told,
        "failures": failures,
        "seconds": round(time.monotonic() - started, 3),
    }
    answer(record, _backfill_text(record), as_json=as_json)
    if failures:
        raise SourceError("\n".join(failures))


def _told_archive(task: Backfill, plan: Sequence[Slice], waiting: Mapping[str, int]) -> dict[str, Any]:
    return {
        "samples": task.forwarder.stored.total(),
        "quarantined": task.intake.quarantined,
        "conflicts": task.intake.conflicts,
        "waiting": waiting.get(task.name, 0),
        "slices": len(plan),
        "tags": len({tag for piece in plan for tag in piece.tags}),
        "start": plan[0].start if plan else None,
        "end": plan[-1].end if plan else None,
    }


def _backfill_text(record: Mapping[str, Any]) -> str:
    lines = []
    for name, told in record["archives"].items():
        if not told["slices"]:
            lines.append(f"{name}: everything asked for is in the store already")
            continue
        reach = f"{told['tags']} tags from {told['start'].isoformat()} to {told['end'].isoformat()}"
        if record["dry_run"]:
            lines.append(f"{name}: would read {reach} in {told['slices']} slices")
            continue
        counts = f"{told['samples']:,} samples, {told['quarantined']:,} quarantined ({told['conflicts']:,} conflicts)"
        waiting = f"; {told['waiting']:,} wait in the spool for the store" if told["waiting"] else ""
        lines.append(f"{name}: {counts} of {reach}{waiting}")
    return "\n".join(lines)


def quarantine(
    plant: PlantOption = Path("plant.toml"),
    *,
    export: Annotated[Path | None, typer.Option(help="Write the samples to this .parquet or .csv file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Shows how many samples were kept out of the store, and why."""
    with open_edge(load_plant(plant)) as edge:
        kept = Quarantine(edge)
        counts = kept.counts().to_dicts()
        exported = kept.export(export) if export else 0
    record = {"rows": sum(count["rows"] for count in counts), "reasons": counts, "exported": exported}
    lines = [f"{count['rows']:>10,}  {count['source']}: {count['reason']}" for count in counts]
    lines += [f"{exported:,} rows written to {export}"] if export else []
    answer(record, "\n".join(lines) or "nothing is in quarantine", as_json=as_json)


def _chosen(feeds: Mapping[str, ConnectionConfig], names: Sequence[str] | None, section: str) -> list[ConnectionConfig]:
    """The feeds of those names, or all of them."""
    if not feeds:
        raise InvalidInput(f"the plant file has no {section}; describe one under [{section}.NAME]")
    for name in names or ():
        if name not in feeds:
            raise InvalidInput(f"the plant file has no [{section}.{name}]{near_misses(name, feeds)}")
    return [feeds[name] for name in dict.fromkeys(names or feeds)]


def _seconds(span: str | None) -> float | None:
    try:
        return parse_duration(span).total_seconds() if span else None
    except ValueError as error:
        raise InvalidInput(f"--for: {error}") from None
