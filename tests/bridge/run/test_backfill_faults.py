"""Whatever disturbs a backfill, the store ends with exactly the samples of the archive; `python -m faults` runs all."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, sleep

import pytest

from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from faults.cases import CASES, Case, drawn
from faults.runs import run_case
from historian.plant.load import load_plant
from historian.stores.open import open_store
from tests.bridge.drivers.files.exports import plant_of
from tests.commands import record_of

PENSTOCK = Path(sys.executable).with_name("penstock")
T0 = datetime(2026, 3, 1, tzinfo=UTC)
FILES, ROWS = 40, 500
KILLS = 2


@pytest.mark.parametrize("case", drawn(), ids=str)
def test_a_disturbed_backfill_ends_with_exactly_the_samples_of_the_archive(case: Case, tmp_path: Path) -> None:
    """A tenth of the matrix."""
    run_case(case, tmp_path)


def test_the_drawn_cases_have_every_source_and_every_fault() -> None:
    """No axis is left to the whole matrix."""
    for axis in ("source", "fault", "order", "workers", "page", "slices"):
        assert {getattr(case, axis) for case in drawn()} == {getattr(case, axis) for case in CASES}


@pytest.mark.slow
def test_a_backfill_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Two kill -9, each once something more was covered; then every sample is there once."""
    plant_of(tmp_path, {"t": 1}, "path = 'old/*.csv'\nlayout = 'long'", kind="process")
    (tmp_path / "old").mkdir()
    for number in range(FILES):
        rows = [f"{(T0 + timedelta(seconds=number * ROWS + row)).isoformat()},t,{row}" for row in range(ROWS)]
        (tmp_path / "old" / f"{number:02}.csv").write_text("\n".join(["timestamp,tag,value", *rows, ""]))
    for _ in range(KILLS):
        before, until = covered(tmp_path), monotonic() + 60
        with subprocess.Popen([PENSTOCK, "backfill", "--rate", "2000", "--plant", tmp_path]) as running:
            while covered(tmp_path) == before and monotonic() < until:
                sleep(0.05)
            running.kill()
        assert timedelta(0) < covered(tmp_path) < FILES * ROWS * timedelta(seconds=1)
    assert record_of("backfill", "--plant", tmp_path)["samples_backfilled"] < FILES * ROWS
    pages = list(open_store(load_plant(tmp_path)).read(["t"], T0, T0 + timedelta(days=1)))
    assert sum(page.height for page in pages) == FILES * ROWS


def covered(plant: Path) -> timedelta:
    """How much time of the tag is covered."""
    edge = Edge(plant / ".penstock" / "edge.db")
    try:
        found = Coverage(edge).of(["t"], T0, T0 + timedelta(days=1))
    finally:
        edge.close()
    return sum((end - start for _, start, end in found.rows()), timedelta())
