"""`penstock status`: the state of the bridge, and any problems."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

import typer

from historian.cli.console import JsonOption, PlantOption, answer
from historian.plant.load import load_plant
from historian.status import BridgeStatus, SourceStatus, StatusFile, StatusReader, problems_of
from historian.times import utc_now


def status(plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Show the state of sources and store as last reported by the bridge. The exit code is 1 if there is a problem."""
    loaded, now = load_plant(plant), utc_now()
    reader: StatusReader = StatusFile(loaded.state)
    bridge, tags = reader.bridge(), reader.tags()
    problems = problems_of(bridge, loaded.sources, now=now)
    record = {
        "well": not problems,
        "problems": problems,
        "sources": [asdict(source) for source in bridge.sources],
        "sinks": [asdict(sink) for sink in bridge.sinks],
        "tags": tags.to_dicts(),
    }
    answer(record, _text(bridge, problems, now), as_json=as_json)
    if problems:
        raise typer.Exit(1)


def _text(bridge: BridgeStatus, problems: list[str], now: datetime) -> str:
    lines = [_source(source, now) for source in bridge.sources]
    for sink in bridge.sinks:
        wrote = f", last write {_ago(sink.last_write, now)}" if sink.last_write else ""
        lines.append(f"sink {sink.name}: {sink.state}, {sink.written:,} samples written{wrote}")
    lines += ["all is well"] if not problems else ["not well:", *(f"  {problem}" for problem in problems)]
    return "\n".join(lines)


def _source(source: SourceStatus, now: datetime) -> str:
    heard = f", last heard {_ago(source.last_heard, now)}" if source.last_heard else ""
    waiting = f", {source.waiting:,} samples ({source.waiting_bytes:,} bytes) in the spool" if source.waiting else ""
    clock = f", its clock {source.clock_ahead_s:+.1f} s ahead" if source.clock_ahead_s is not None else ""
    lost = f", {source.overflows:,} overflows ({', '.join(source.overflowing)})" if source.overflows else ""
    return (
        f"source {source.name}: {source.state} since {source.since:%Y-%m-%d %H:%M:%S} UTC{heard}, "
        f"{source.connections} connection(s), {source.samples:,} samples, {source.quarantined:,} quarantined"
        f"{clock}{waiting}{lost}"
    )


def _ago(instant: datetime, now: datetime) -> str:
    return f"{max(now - instant, timedelta(0)).total_seconds():.0f} s ago"
