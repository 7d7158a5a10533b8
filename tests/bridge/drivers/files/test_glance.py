"""Large files of text are planned by a glance at their ends, and known exactly once they have been read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pytest

from bridge.drivers.files.archive import FilesArchive
from bridge.drivers.files.formats.plain_text import shape_of, split
from bridge.drivers.files.formats.text import TextTable
from bridge.drivers.files.lines import END_BYTES, ends_of, texts
from bridge.drivers.files.opening import ArchiveFile
from bridge.drivers.files.options import Options
from bridge.drivers.files.times import ROW
from bridge.drivers.protocols import Driver
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.run.backfill import Backfill
from bridge.run.slices import Order
from historian.errors import SourceError
from historian.stores.memory import MemoryStore
from tests.bridge.drivers.files.exports import BEGINNING, END, archive_of, plant_of

T0 = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ROWS = 40_000
"""Rows of a file of more than a megabyte."""


def lines(first: int, *, count: int = ROWS, tag: str = "a") -> list[str]:
    """A row a second: its number."""
    numbers = np.arange(first, first + count)
    times = (pl.Series(numbers * 1_000_000).cast(pl.Duration("us")) + T0).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    frame = pl.DataFrame({"t": times, "n": numbers})
    return frame.select(pl.format("{},{},{}", "t", pl.lit(tag), "n")).to_series().to_list()


def plant_with_files(directory: Path, tags: Sequence[str], *files: list[str]) -> Path:
    """A plant with an archive of long files."""
    plant_of(directory, dict.fromkeys(tags, 1), "path = 'old/*.csv'\nlayout = 'long'", kind="process")
    (directory / "old").mkdir()
    for number, rows in enumerate(files):
        (directory / "old" / f"{number}.csv").write_text("\n".join(["timestamp,tag,value", *rows, ""]))
    return directory


def backfill(
    archive: FilesArchive, edge: Edge, store: MemoryStore, order: Order = "oldest", start: datetime | None = None
) -> tuple[int, Sequence[str]]:
    """Run a backfill of the archive; its number of slices, and the problems it has found."""
    connection = archive._connection
    driver = replace(cast(Driver, connection.driver), archive=lambda _: archive)
    task = Backfill(replace(connection, driver=driver), edge, store)

    async def main() -> tuple[int, Sequence[str]]:
        plan = await task.plan(start, None, order=order)
        await task.run(plan, advance=lambda _: None)
        return len(plan), await task.problems()

    return asyncio.run(main())


def stored(store: MemoryStore, tag: str = "a") -> list[float]:
    """The values of a tag in the store, in order of time."""
    pages = [page["value"] for page in store.read([tag], BEGINNING, END)]
    return pl.concat(pages).to_list() if pages else []


def test_a_glance_gives_the_extent_of_a_file_in_order(tmp_path: Path) -> None:
    """It is the one that reading all times gives."""
    plant = plant_with_files(tmp_path, ["a"], lines(0))
    glanced = asyncio.run(archive_of(plant).outlook())
    assert glanced == asyncio.run(archive_of(plant).extents()) == {"a": (T0, T0 + (ROWS - 1) * SECOND + SECOND / 1e6)}


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_row_that_the_ends_do_not_show_is_read_with_its_file(tmp_path: Path, edge: Edge, order: Order) -> None:
    """It lies in the time of the other file, which is read before it or after it; both times it is stored."""
    first, second = lines(0), lines(ROWS + 100)
    first[ROWS // 2] = f"{(T0 + (ROWS + 200.5) * SECOND).isoformat()},a,-1"
    store, archive = MemoryStore(), archive_of(plant_with_files(tmp_path, ["a"], first, second))
    slices, _ = backfill(archive, edge, store, order)
    expected = [*range(ROWS), *range(ROWS + 100, ROWS + 201), -1, *range(ROWS + 201, 2 * ROWS + 100)]
    expected.remove(ROWS // 2)
    assert (slices, stored(store)) == (2, expected)
    assert backfill(archive_of(tmp_path), edge, store)[0] == 0


def test_a_restricted_range_looks_at_all_times(tmp_path: Path, edge: Edge) -> None:
    """A row in the middle is in the range, though neither end is."""
    rows = lines(0)
    rows[ROWS // 2] = lines(5 * ROWS, count=1)[0]
    store = MemoryStore()
    backfill(archive_of(plant_with_files(tmp_path, ["a"], rows)), edge, store, start=T0 + 2 * ROWS * SECOND)
    assert stored(store) == [5 * ROWS]


def test_a_tag_in_the_middle_is_covered_and_one_that_is_nowhere_is_named(tmp_path: Path, edge: Edge) -> None:
    """Neither is at an end of a file; only reading tells them apart, also for the file that was read first."""
    first, second = lines(0), lines(ROWS)
    second[ROWS // 2] = second[ROWS // 2].replace(",a,", ",b,")
    store, plant = MemoryStore(), plant_with_files(tmp_path, ["a", "b", "c"], first, second)
    _, problems = backfill(archive_of(plant), edge, store)
    assert [problem for problem in problems if "no file has c" in problem] == list(problems)
    assert stored(store, "b") == [ROWS + ROWS // 2]
    covered = Coverage(edge).of(["a", "b", "c"], BEGINNING, END)
    end = T0 + (2 * ROWS - 1) * SECOND + SECOND / 1e6
    assert covered.rows() == [("a", T0, end), ("b", T0, end)]


def test_small_and_packed_files_have_no_ends(tmp_path: Path) -> None:
    """They are read as a whole."""
    file = tmp_path / "a.csv"
    file.write_bytes(b"x\n" * (2 * END_BYTES))
    assert ends_of(ArchiveFile(file, "a.csv"), None) is not None
    assert ends_of(ArchiveFile(file, "a.csv"), "utf-16") is None
    assert ends_of(ArchiveFile(file, "a.csv", member="b.csv"), None) is None
    file.write_bytes(b"x\n" * END_BYTES)
    assert ends_of(ArchiveFile(file, "a.csv"), None) is None


CELLS = ["1", "1.5", " 2", "+3", "1e5", "", "Bad Input", "0x1", "nan", "inf", "-0.25", "é", "1e400"]


@pytest.mark.parametrize("seed", range(20))
def test_plain_text_is_split_as_text_with_quotes_is(tmp_path: Path, seed: int) -> None:
    """A quoted field in the last line makes all lines be looked at one by one."""
    random = np.random.default_rng(seed)
    cells = CELLS if seed % 2 else CELLS[:2]
    rows = [",".join(random.choice(cells, 3)) for _ in range(30)]
    (tmp_path / "plain.csv").write_text("\n".join(["a,b,c", *rows, "9,9,9", ""]))
    (tmp_path / "quoted.csv").write_text("\n".join(["a,b,c", *rows, '"9","9","9"', ""]))
    options = Options(path="*.csv", layout="wide", timestamp="a")
    plain, quoted = (
        pl.concat(
            [
                piece.rows.with_columns(pl.exclude(ROW).cast(pl.String))
                for piece in TextTable(ArchiveFile(tmp_path / name, name), options).pieces({"b": 1, "c": 2})
            ]
        )
        for name in ("plain.csv", "quoted.csv")
    )
    assert plain.to_dicts() == quoted.to_dicts()


@pytest.mark.parametrize(
    "text", [b"1,2\n3\n", b"1,2,3\n4\n", b"1,2\n\n", b'1,"2"\n', b"\n1,2\n", b"a,b\n", b" a ,9\n", b"1,\xff\n"]
)
def test_text_that_is_not_plain_is_left_to_a_look_at_each_line(text: bytes) -> None:
    """Another number of fields, even if the sum is right, an empty line, a quote, a header, bytes that are no text."""
    shape = shape_of(Options(path="*", layout="wide", timestamp="a"), ["a", "b"], "a,b", ["a"])
    assert shape is not None
    assert split(b"1,2\n3,4\n", shape, {"b": 1}, {"b"}, 2) is not None
    assert split(text, shape, {"b": 1}, {"b"}, 2) is None


def test_a_file_without_a_line_end_is_whole(tmp_path: Path) -> None:
    """Its last line gets one."""
    (tmp_path / "a.csv").write_bytes(b"a,b\r\n1,2\r3,4")
    assert list(texts(ArchiveFile(tmp_path / "a.csv", "a.csv"), None)) == [b"a,b\n1,2\n3,4\n"]


def test_a_file_that_breaks_off_is_named_and_stays_uncovered(tmp_path: Path, edge: Edge) -> None:
    """Another header in the middle ends it; what is before it is stored, and the other file is covered."""
    first, second = lines(0), lines(ROWS)
    first[ROWS // 2] = "timestamp,tag,value,more"
    store, archive = MemoryStore(), archive_of(plant_with_files(tmp_path, ["a"], first, second))
    with pytest.raises(SourceError, match=rf"old/0.csv: row {ROWS // 2 + 2} is another header"):
        backfill(archive, edge, store)
    assert stored(store) == [*range(ROWS // 2), *range(ROWS, 2 * ROWS)]
    [covered] = Coverage(edge).of(["a"], BEGINNING, END).rows()
    assert covered[1] == T0 + ROWS * SECOND
