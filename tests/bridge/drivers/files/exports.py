"""Archives of exported files, read as the tests need them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from bridge.drivers.files.archive import FilesArchive
from bridge.drivers.protocols import Extent, Page
from historian.errors import SourceError
from historian.plant.load import load_plant
from historian.samples import SCHEMA, SampleBatch, normalise
from historian.waveforms.packing import unpack

CASES: Final = Path(__file__).parents[3] / "cases" / "files"
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
END: Final = datetime(2100, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


def archive_of(plant: Path) -> FilesArchive:
    """The archive `case` of a plant."""
    return FilesArchive(load_plant(plant).archives["case"])


def read_all(archive: FilesArchive, start: datetime = BEGINNING, end: datetime = END) -> tuple[list[Page], list[str]]:
    """All pages for all tags, and the lines of the error that follows them."""
    pages, failures = [], []

    async def collect() -> None:
        async for page in archive.read([tag.name for tag in archive._connection.tags], start, end):
            pages.append(page)

    try:
        asyncio.run(collect())
    except SourceError as error:
        failures = str(error).splitlines()[1:]
    return pages, failures


def pages_of(archive: FilesArchive, tags: Sequence[str], start: datetime, end: datetime) -> list[Page]:
    """The pages of some tags and a range."""

    async def collect() -> list[Page]:
        return [page async for page in archive.read(tags, start, end)]

    return asyncio.run(collect())


def extent_of(archive: FilesArchive) -> Extent:
    """The one extent that all tags have."""
    [extent] = set(asyncio.run(archive.extents()).values())
    return extent


def batch_of(pages: Sequence[Page]) -> SampleBatch:
    """The samples of all pages as one batch, without conflicts, those of stretches included."""
    found = normalise(pl.concat([samples_of(page) for page in pages]))
    assert found.conflicts.is_empty()
    return found.batch


def samples_of(page: Page) -> pl.DataFrame:
    """The samples of a page, then those of its stretches."""
    return pl.concat([page.rows.samples, unpack(page.rows.waveforms)])


def rejected_of(pages: Sequence[Page]) -> pl.DataFrame:
    """The rejected rows of all pages, sorted."""
    frames = [page.rejected for page in pages if page.rejected is not None]
    return pl.concat(frames, how="diagonal").sort("tag", "timestamp", "reason")


def expected_of(path: Path) -> pl.DataFrame:
    """The rows a case's CSV file expects."""
    times = pl.col("timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us")
    return pl.read_csv(path, infer_schema=False).with_columns(times)


def plant_of(directory: Path, rates: dict[str, float], options: str, *, kind: str = "vibration") -> Path:
    """A plant whose archive `case` has a tag for each address of `rates`, of that sample rate, named as its address."""
    directory.mkdir(parents=True, exist_ok=True)
    rate = {address: f", sample_rate = {rate}" if kind == "vibration" else "" for address, rate in rates.items()}
    points = "\n".join(f'p{n} = {{ kind = "{kind}"{rate[address]} }}' for n, address in enumerate(rates))
    (directory / "plant.toml").write_text(
        f"[site]\nname = 'case'\n[classes.c.points]\n{points}\n[assets.a]\nclass = 'c'\n"
        f"[archives.case]\ndriver = 'files'\ntags = 'tags.csv'\n{options}\n"
    )
    rows = [f"{address},a,p{n},{address}" for n, address in enumerate(rates)]
    (directory / "tags.csv").write_text("\n".join(["tag,asset,point,address", *rows, ""]))
    return directory


def bursts_of(*starts: datetime, samples: Sequence[Sequence[float]], column: str = "de") -> pl.DataFrame:
    """A frame of bursts, a row each."""
    return pl.DataFrame({"timestamp": starts, column: samples}, schema_overrides={"timestamp": SCHEMA["timestamp"]})


# Made-up bursts
