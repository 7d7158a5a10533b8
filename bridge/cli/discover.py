"""`penstock probe` and `penstock browse`: what is on the other side of a source."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import chosen
from bridge.drivers.discovery import BrowseLimits, Fact
from bridge.run.discover import browse_source, probe_source
from historian.cli.console import JsonOption, PlantOption, answer
from historian.logs import configure_logging
from historian.plant.load import load_connection, load_plant

SourceArgument = Annotated[str, typer.Argument(help="Name of the source in plant.toml.")]


def probe(source: SourceArgument, plant: PlantOption = Path("plant.toml"), *, as_json: JsonOption = False) -> None:
    """Connect to a source and show what its device or server says of itself; nothing is written to it.

    The exit code is 1 if the source could not be read as it is configured.
    """
    configure_logging()
    [connection] = chosen(load_plant(plant).sources, [source], "sources")
    report = asyncio.run(probe_source(connection))
    facts = [f"{name}: {_word(value)}" for name, value in report.facts.items() if value is not None]
    tables = [[f"{name}:", *_table(rows)] for name, rows in report.tables.items() if rows]
    lines = [*facts, *(line for table in tables for line in table)]
    record = {"source": source, "ok": report.ok, **report.facts, **report.tables}
    answer(record, "\n".join(lines), as_json=as_json)
    if not report.ok:
        raise typer.Exit(1)


def browse(
    source: SourceArgument,
    plant: PlantOption = Path("plant.toml"),
    *,
    csv: Annotated[
        Path | None, typer.Option(help="Write the variables to this file, from which a tag list can be made.")
    ] = None,
    depth: Annotated[int, typer.Option(min=1, help="Largest number of levels below the root.")] = BrowseLimits.depth,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of variables.")] = BrowseLimits.variables,
    as_json: JsonOption = False,
) -> None:
    """List the variables that the server of a source offers; its tag list need not exist yet.

    Each has the address that a tag list takes, and type, unit and range as far as the server says.
    """
    configure_logging()
    report = asyncio.run(browse_source(load_connection(plant, "sources", source), BrowseLimits(depth, limit)))
    rows = report.variables.to_dicts()
    if csv is not None:
        report.variables.write_csv(csv)
    listed = _table(rows) if csv is None else [f"{len(rows):,} variables written to {csv}"]
    lines = [*(listed or ["there are no variables"]), *(f"incomplete: {each}" for each in report.missing)]
    record = {"source": source, "variables": rows, "missing": list(report.missing), "file": csv}
    answer(record, "\n".join(lines), as_json=as_json)


def _table(rows: Sequence[Mapping[str, Fact]]) -> list[str]:
    """Return the rows as lines of aligned columns below a line of their names."""
    cells = [list(rows[0]), *([_word(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [("  " + "  ".join(map(str.ljust, line, widths))).rstrip() for line in cells]


def _word(value: Fact) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
