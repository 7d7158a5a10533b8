"""What the spool and the quarantine force to the disk: seen from outside, in the system calls of a writer process."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

import pytest

from tests.servers import needed

WRITER: Final = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import polars as pl
from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.edge.quarantine_rows import rejected
from bridge.edge.batches import Batches
from bridge.edge.spool import Spool
from historian.intervals import intervals
from historian.samples import SCHEMA, sample_batch
from historian.waveforms.batch import WAVEFORM_SCHEMA, waveform_batch

t0 = datetime(2026, 3, 1, tzinfo=UTC)
batch = sample_batch(pl.DataFrame([("a", t0, 1.0, None, 0)], schema=SCHEMA, orient="row"))
second = (8_192.0, 8_192, "float32", 1.0, 1.0, bytes(32_768), 0.0, 0.0, 0.0, 0, 0)
stretches = [("a", t0 + number * timedelta(seconds=1), *second) for number in range(3)]
waveforms = waveform_batch(pl.DataFrame(stretches, schema=WAVEFORM_SCHEMA, orient="row"))
edge = Edge(Path(sys.argv[1]) / "edge.db")
spool = Spool(edge)
for number, work in enumerate(
    [
        lambda: spool.append(Batches(batch), source="s", now=t0),
        lambda: Quarantine(edge).add(rejected(batch, "why"), source="s", origin="s", now=t0),
        lambda: Coverage(edge).add(intervals(["a"], t0, t0 + timedelta(days=1))),
        lambda: spool.delivered(spool.oldest("s", now=t0)),
        lambda: spool.append(Batches(waveforms=waveforms), source="s", now=t0),
    ]
):
    (Path(sys.argv[1]) / f"begins{number}").touch()
    work()
    (Path(sys.argv[1]) / f"ended{number}").touch()
"""


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The calls of a process that writes each kind of row."""
    directory = tmp_path_factory.mktemp("durability")
    options = ["-f", "-y", "-e", "trace=fsync,fdatasync,openat", "-o", str(directory / "trace")]
    command = [needed("strace"), *options, sys.executable, "-c", WRITER, str(directory)]
    subprocess.run(command, check=True, timeout=100)
    return (directory / "trace").read_text()


@pytest.mark.parametrize("number", range(5), ids=["spool", "quarantine", "coverage", "delivered", "segment"])
def test_what_has_returned_has_reached_the_disk(trace: str, number: int) -> None:
    """Between call and return the database's log is forced to the disk: a power cut after that loses nothing."""
    during = trace[trace.index(f"/begins{number}") : trace.index(f"/ended{number}")]
    assert re.search(r"f(?:data)?sync\(\d+<[^>]*/edge\.db-wal>", during)


def test_a_frame_has_reached_the_disk_before_its_row(trace: str) -> None:
    """The segment and the directory that names it: a power cut in between leaves no row without its frame."""
    during = trace[trace.index("/begins4") : trace.index("/ended4")]
    synced = re.findall(r"f(?:data)?sync\(\d+<[^>]*/(\w+)(?:\.(seg|db-wal))?>", during)
    order = [suffix or name for name, suffix in synced]
    assert order[-2:] == ["seg", "db-wal"]
    assert "spool" in order[:-2]
