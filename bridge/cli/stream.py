"""`penstock stream`: live samples from the plant's sources into the store."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bridge.cli.options import chosen
from bridge.edge.database import open_edge
from bridge.run.stream import Bridge, StreamReport
from historian.cli.console import JsonOption, PlantOption, answer, progress
from historian.cli.options import parse_duration_option
from historian.logs import configure_logging
from historian.plant.load import load_plant
from historian.status import StatusFile
from historian.stores.open import open_store

TICK_S: Final = 0.2


def stream(
    plant: PlantOption = Path("plant.toml"),
    *,
    span: Annotated[str | None, typer.Option("--for", help="Stop after this long, such as 10s.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be given several times.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Stream live samples from the plant's sources into the store, until interrupted.

    The exit code is 1 if no source was ever connected. The log goes to standard error; PENSTOCK_LOG=json makes it
    one JSON object a line.
    """
    configure_logging()
    loaded = load_plant(plant)
    seconds = parse_duration_option(span, "--for").total_seconds() if span else None
    connections = chosen(loaded.sources, source, "sources")
    started = time.monotonic()
    with open_edge(loaded) as edge, progress("streaming", unit="samples", quiet=as_json) as advance:
        bridge = Bridge(connections, edge, open_store(loaded), StatusFile(loaded.state), bounds=loaded.spool)
        report = asyncio.run(_until_stopped(bridge, seconds, advance))
    record = {**asdict(report), "seconds": round(time.monotonic() - started, 3)}
    answer(record, _text(record), as_json=as_json)
    if not report.connected:
        raise typer.Exit(1)


async def _until_stopped(bridge: Bridge, seconds: float | None, advance: Callable[[int], None]) -> StreamReport:
    """Stream until the time has passed or a signal arrives."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    ticking = asyncio.create_task(_tick(bridge, advance))
    try:
        return await bridge.run(stop)
    finally:
        ticking.cancel()


async def _tick(bridge: Bridge, advance: Callable[[int], None]) -> None:
    shown = 0
    while True:
        stored = bridge.store.written.total()
        advance(stored - shown)
        shown = stored
        await asyncio.sleep(TICK_S)


def _text(record: dict[str, Any]) -> str:
    lines = [
        f"streamed {record['samples_streamed']:,} samples, stored {record['samples_stored']:,}, "
        f"quarantined {record['quarantined']:,} in {record['seconds']:.1f} s"
    ]
    for name, source in record["sources"].items():
        error = source["last_error"]
        state = f"not connected: {error}" if error else f"{source['connections']} connection(s)"
        waiting = f", {source['waiting']:,} wait in the spool" if source["waiting"] else ""
        lines.append(f"  {name}: {source['streamed']:,} samples, {state}{waiting}")
    if record["store_error"]:
        lines.append(f"  the store takes no samples: {record['store_error']}")
    return "\n".join(lines)
