"""Which archives the contract suite holds to the promises of `bridge.drivers.protocols`, and how it fills each.

To add one, write a class with what `ArchiveHarness` lists, in a module of its own, and a line in `HARNESSES`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

import polars as pl
import pytest

from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from historian.quality import GOOD
from historian.samples import SCHEMA

T0: Final = datetime(2026, 3, 1, 23, 59, 50, tzinfo=UTC)
NIGHT: Final = datetime(2025, 10, 25, 23, 30, tzinfo=UTC)
"""Half an hour before an hour that occurs twice in Berlin, 02:00 to 03:00 local time."""
SECOND: Final = timedelta(seconds=1)
NUMBERS: Final = ("c.a", "c.b", "c.c")
"""Tags that have samples at the same times."""
TEXT, GRADED, REPEATED, CHANGED, OLD, ABSENT = "c.text", "c.graded", "c.repeated", "c.night", "c.old", "c.nowhere"
"""Tags of states, of every quality, of several samples at a time, of a clock-change night, of 2019, and of nothing."""


class ArchiveHarness(Protocol):
    """A historian of one kind, a real one where there is one, as the suite fills and reads it."""

    resolution: timedelta
    """Finest difference between two timestamps that it keeps."""
    qualities: Collection[int]
    """StatusCodes that it can hold, other than Good."""
    has_texts: bool
    """Whether it holds texts as well as numbers."""
    has_repeats: bool
    """Whether it can hold several different samples of a tag at one time."""

    def fill(self, history: pl.DataFrame) -> None:
        """Store samples as the historian does. Called once; columns of `SCHEMA`, in no order."""

    def connection(self, tags: Collection[str], page_rows: int) -> ConnectionConfig:
        """Return a connection whose tag list has these tags, and that requests pages of about so many rows.

        The address of `ABSENT` is one that the historian does not have.
        """
        ...

    def most_rows(self, page_rows: int) -> int:
        """Return how many rows a page may have."""
        ...


class ServerHarness(ArchiveHarness, Protocol):
    """A historian behind a server, which can be stopped."""

    def stop(self) -> None:
        """Make the server unreachable."""

    def start(self) -> None:
        """Make it reachable again."""


class FilesHarness:
    """A folder of CSV files."""

    resolution = timedelta(microseconds=1)
    qualities: Collection[int] = (0x40000000, 0x80000000, 0x808C0000)
    has_texts, has_repeats = True, True

    def __init__(self, _: pytest.FixtureRequest, directory: Path) -> None:
        self._directory = directory

    def fill(self, history: pl.DataFrame) -> None:
        """A file a tag; times of local time with its offset."""
        for (tag,), rows in history.partition_by("tag", as_dict=True).items():
            local = pl.col("timestamp").dt.convert_time_zone("Europe/Berlin").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z")
            cells = rows.select("tag", local, pl.coalesce("text", pl.col("value").cast(pl.String)), "quality")
            cells.rename({"text": "value"}).write_csv(self._directory / f"{tag}.csv")

    def connection(self, tags: Collection[str], page_rows: int) -> ConnectionConfig:
        """The page size is the driver's own."""
        table = 'driver = "files"\nlayout = "long"\npath = "*.csv"\nquality = { column = "quality", kind = "opc-ua" }'
        return connection_of(self._directory, table, {tag: {"address": tag} for tag in tags})

    def most_rows(self, page_rows: int) -> int:
        """Of a page of the driver's own size."""
        return max(page_rows, 1_000_000)


def connection_of(directory: Path, table: str, tags: Mapping[str, Mapping[str, str]]) -> ConnectionConfig:
    """Write a plant of one archive, and return its connection as every command does.

    Args:
        directory: where to write it; a directory `plant` within it is used.
        table: keys of `[archives.old]`, without `tags`.
        tags: tag -> the columns of its row: `address` and those of the driver.
    """
    plant = directory / "plant"
    plant.mkdir(exist_ok=True)
    columns = sorted({column for cells in tags.values() for column in cells})
    rows = [
        [tag, "m1", f"p{number}", *(cells.get(column, "") for column in columns)]
        for number, (tag, cells) in enumerate(tags.items())
    ]
    header = ["tag", "asset", "point", *columns]
    pl.DataFrame(rows, schema=header, orient="row").write_csv(plant / "old.csv")
    points = "\n".join(
        f'p{number} = {{ kind = "{"state" if tag == TEXT else "process"}" }}' for number, tag in enumerate(tags)
    )
    text = (
        f'[site]\nname = "north"\n[classes.machine.points]\n{points}\n[assets.m1]\nclass = "machine"\n'
        f'[archives.old]\n{table.replace("*.csv", "../*.csv")}\ntags = "old.csv"\n'
    )
    (plant / "plant.toml").write_text(text)
    return load_plant(plant).archives["old"]


def history_of(harness: ArchiveHarness) -> pl.DataFrame:
    """The samples with which the suite fills an archive: columns of `SCHEMA`, in no order."""
    rows: list[tuple[str, datetime, float | None, str | None, int]] = [
        (tag, T0 + number * SECOND, number + place / 4, None, GOOD)
        for number in range(20)
        for place, tag in enumerate(NUMBERS)
    ]
    rows += [(CHANGED, NIGHT + number * timedelta(minutes=10), float(number), None, GOOD) for number in range(18)]
    rows += [
        (OLD, datetime(2019, 1, 2, tzinfo=UTC) + number * harness.resolution, -1.5, None, GOOD) for number in (0, 1)
    ]
    rows += [
        (GRADED, T0 + number * SECOND, 1.0 if quality < 0x80000000 else None, None, quality)
        for number, quality in enumerate((GOOD, *harness.qualities))
    ]
    if harness.has_texts:
        rows += [
            (TEXT, T0 + number * SECOND, None, ("RUN", "l\"äuft, \\nicht'", "7")[number % 3], GOOD)
            for number in range(6)
        ]
    if harness.has_repeats:
        rows += [(REPEATED, T0 + SECOND, float(number), None, GOOD) for number in range(9)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sample(fraction=1, shuffle=True, seed=7)
