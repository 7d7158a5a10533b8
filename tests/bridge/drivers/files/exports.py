"""Archives of exported files, read as the tests need them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from bridge.drivers.files.archive import FilesArchive
from bridge.drivers.protocols import Extent, Page
from bridge.edge.quarantine_rows import REJECTED
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
    """All pages for all tags, the archive's problems, and the lines of the error that follows the pages."""
    pages, problems, failures = list[Page](), list[str](), list[str]()

    async def collect() -> None:
        problems.extend(await archive.problems())
        async for page in archive.read([tag.name for tag in archive._connection.tags], start, end):
            pages.append(page)

    try:
        asyncio.run(collect())
    except SourceError as error:
        failures = str(error).splitlines()[1:]
    return pages, [problem.removeprefix("archive case: ") for problem in problems] + failures


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
    found = normalise(pl.concat([SCHEMA.to_frame(), *(samples_of(page) for page in pages)]))
    assert found.conflicts.is_empty()
    return found.batch


def samples_of(page: Page) -> pl.DataFrame:
    """The samples of a page, then those of its stretches."""
    return pl.concat([page.rows.samples, unpack(page.rows.waveforms)])


def rejected_of(pages: Sequence[Page]) -> pl.DataFrame:
    """The rejected rows of all pages, sorted."""
    frames = [page.rejected for page in pages if page.rejected is not None]
    return pl.concat([REJECTED.to_frame(), *frames], how="diagonal").sort("tag", "timestamp", "reason")


def plant_with(directory: Path, tags: Mapping[str, Any], options: str) -> Path:
    """A plant with an archive `case`.

    Args:
        directory: where to write it.
        tags: name -> address, or a table of address, and kind or sample rate.
        options: keys of the archive.
    """
    directory.mkdir(parents=True, exist_ok=True)
    described = {name: {"address": tag} if isinstance(tag, str) else tag for name, tag in tags.items()}
    points, rows = [], ["tag,asset,point,address"]
    for number, (name, tag) in enumerate(described.items()):
        kind = (
            f'kind = "vibration", sample_rate = {tag["rate"]}'
            if "rate" in tag
            else f'kind = "{tag.get("kind", "process")}"'
        )
        points.append(f"p{number} = {{ {kind} }}")
        quoted = tag["address"].replace('"', '""')
        rows.append(f'{name},a,p{number},"{quoted}"')
    classes = "\n".join(["[classes.c.points]", *points, "[assets.a]", "class = 'c'"])
    archive = f"[archives.case]\ndriver = 'files'\ntags = 'tags.csv'\n{options}\n"
    (directory / "plant.toml").write_text(f"[site]\nname = 'case'\n{classes}\n{archive}", encoding="utf-8")
    (directory / "tags.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    return directory


def plant_of(directory: Path, rates: Mapping[str, float], options: str, *, kind: str = "vibration") -> Path:
    """A plant whose archive `case` has a tag for each address of `rates`, of that sample rate, named as its address."""
    tags = {
        address: {"address": address, **({"rate": rate} if kind == "vibration" else {"kind": kind})}
        for address, rate in rates.items()
    }
    return plant_with(directory, tags, options)


def bursts_of(*starts: datetime, samples: Sequence[Sequence[float]], column: str = "de") -> pl.DataFrame:
    """A frame of bursts, a row each."""
    return pl.DataFrame({"timestamp": starts, column: samples}, schema_overrides={"timestamp": SCHEMA["timestamp"]})
