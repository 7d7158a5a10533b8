"""`penstock status`: the state of the bridge, and any problems; once, again and again, or as metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.live import Live
from rich.text import Text

from historian.cli.console import JsonOption, PlantOption, answer
from historian.errors import InvalidInput
from historian.metrics import openmetrics
from historian.plant.load import load_plant
from historian.plant.plant import Plant
from historian.status import BridgeStatus, SourceStatus, StatusFile, StatusReader, problems_of
from historian.times import utc_now

WATCH_S: Final = 1.0


def status(
    plant: PlantOption = Path("plant.toml"),
    *,
    as_json: JsonOption = False,
    as_metrics: Annotated[
        bool, typer.Option("--openmetrics", help="Print OpenMetrics, for a collector of text files.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it every second until Ctrl-C.")] = False,
) -> None:
    """Show the state of sources and store as last reported by the bridge. The exit code is 1 if there is a problem."""
    if as_json + as_metrics + watch > 1:
        raise InvalidInput("--json, --openmetrics and --watch exclude one another")
    loaded = load_plant(plant)
    reader: StatusReader = StatusFile(loaded.state)
    if watch:
        watched(lambda: _text(*_state(loaded, reader, now := utc_now()), now))
    elif as_metrics:
        print(openmetrics(loaded, reader, now=utc_now()), end="")
    else:
        _once(loaded, reader, as_json=as_json)


def watched(text: Callable[[], str], *, wait: Callable[[float], None] = time.sleep) -> None:
    """Show a text that changes on the terminal, until Ctrl-C.

    Args:
        text: returns it as of now.
        wait: waits some seconds.
    """
    with suppress(KeyboardInterrupt), Live(auto_refresh=False) as live:
        while True:
            live.update(Text(text()), refresh=True)
            wait(WATCH_S)


def _once(plant: Plant, reader: StatusReader, *, as_json: bool) -> None:
    now = utc_now()
    bridge, problems = _state(plant, reader, now)
    record = {
        "well": not problems,
        "problems": problems,
        "sources": [asdict(source) for source in bridge.sources],
        "sinks": [asdict(sink) for sink in bridge.sinks],
        "tags": reader.tags().to_dicts(),
    }
    answer(record, _text(bridge, problems, now), as_json=as_json)
    if problems:
        raise typer.Exit(1)


def _state(plant: Plant, reader: StatusReader, now: datetime) -> tuple[BridgeStatus, list[str]]:
    bridge = reader.bridge()
    return bridge, problems_of(bridge, plant.sources, now=now)


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
