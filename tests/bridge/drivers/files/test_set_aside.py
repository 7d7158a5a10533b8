"""What cannot be read is set aside: it is named by every backfill, and holds up nothing else."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.run.backfills import ArchiveReport, Wanted, run_backfills
from historian.plant.load import load_plant
from historian.stores.memory import MemoryStore
from tests.bridge.drivers.files.exports import BEGINNING, END, plant_of

LONG = "path = 'old/*'\nlayout = 'long'"


def backfill(plant: Path, edge: Edge, store: MemoryStore) -> ArchiveReport:
    """The report of `penstock backfill` for the archive."""
    progress = run_backfills(
        list(load_plant(plant).archives.values()),
        edge,
        store,
        wanted=Wanted(),
        dry_run=False,
        progress=lambda _, __: nullcontext(lambda _: None),
    )
    return asyncio.run(progress)["case"]


def exported(directory: Path, addresses: dict[str, float], **files: str) -> Path:
    """A plant with files in `old`."""
    plant_of(directory, addresses, LONG, kind="process")
    (directory / "old").mkdir()
    for name, rows in files.items():
        (directory / "old" / name.replace("_", ".")).write_text("timestamp,tag,value\n" + rows if rows else "")
    return directory


def test_an_unreadable_file_is_named_each_time_and_the_others_are_read_once(edge: Edge, tmp_path: Path) -> None:
    """The second run has nothing to read, and says again what is broken."""
    day = "2023-07-0{}T00:00:00Z,T,{}\n"
    plant = exported(tmp_path, {"T": 0}, a_csv=day.format(1, 1), b_csv=day.format(2, 2), c_csv="", d_log="x")
    store = MemoryStore()
    problems = (
        "archive case: old/c.csv: it is empty",
        'archive case: old/d.log: its suffix says no format; say format = "text" or another',
    )

    first, second = backfill(plant, edge, store), backfill(plant, edge, store)

    assert (first.samples, first.slices, first.failure, first.problems) == (2, 2, "", problems)
    assert (second.samples, second.slices, second.failure, second.problems) == (0, 0, "", problems)


def test_a_tag_that_is_nowhere_is_named_and_its_time_is_not_covered(edge: Edge, tmp_path: Path) -> None:
    """Once its address is right, the next backfill reads it."""
    plant = exported(tmp_path, {"T": 0, "U1": 0}, a_csv="2023-07-01T00:00:00Z,T,1\n2023-07-01T00:00:00Z,U-1,2\n")
    store = MemoryStore()

    report = backfill(plant, edge, store)

    assert report.problems == ("archive case: tags.csv row 3: no file has U1, the address of U1; the nearest is U-1",)
    covered = Coverage(edge).of(["T", "U1"], BEGINNING, END)
    start = datetime(2023, 7, 1, tzinfo=UTC)
    assert covered.rows() == [("T", start, start + timedelta(microseconds=1))]
    (plant / "tags.csv").write_text(
        (plant / "tags.csv").read_text().replace(",U1\n", ",U-1\n").replace('"U1"', '"U-1"')
    )
    again = backfill(plant, edge, store)
    assert (again.samples, again.problems) == (1, ())


def test_rows_that_are_none_go_to_quarantine_with_file_row_and_text(edge: Edge, tmp_path: Path) -> None:
    """They belong to no tag, and the slice they are in is covered."""
    plant = exported(tmp_path, {"T": 0}, a_csv="2023-07-01T00:00:00Z,T,1\n2023-07-01T00:00:01Z,T,1,5\n")
    store = MemoryStore()
    report = backfill(plant, edge, store)
    assert (report.samples, report.quarantined, report.problems) == (1, 1, ())
    assert backfill(plant, edge, store).slices == 0
