"""A PLC that comes back from a power loss in the year 2000, until NTP sets its clock; a peer plays it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from bridge.edge.coverage import Coverage
from bridge.edge.database import Edge
from bridge.edge.quarantine import Quarantine
from bridge.run.backfill import Backfill
from bridge.run.stream import Bridge
from historian.plant.load import load_plant
from historian.status import StatusFile
from historian.stores.memory import MemoryStore

PORT = 43140
PLANT = f"""
[site]
name = "test"
[classes.c.points]
level = {{ kind = "process" }}
[assets.p1]
class = "c"
[sources.plc]
driver = "opcua"
endpoint = "opc.tcp://127.0.0.1:{PORT}"
publishing_interval = "50ms"
sampling_interval = "0s"
tags = "live.csv"
[archives.history]
driver = "files"
path = "history.csv"
layout = "long"
tags = "history_tags.csv"
"""
ROWS = 5_000


@pytest.fixture
def ntp(tmp_path: Path) -> Iterator[Path]:
    """The server, running; its clock is set once the file exists."""
    peers = Path(os.environ.get("PENSTOCK_TEST_PEERS", Path(__file__).parents[5] / "shared" / "peers"))
    script = peers / "awkward" / "opcua_clock_jump.py"
    if not script.exists():
        if os.environ.get("CI"):
            pytest.fail(f"there is no {script}; set PENSTOCK_TEST_PEERS")
        pytest.skip(f"there is no {script}; set PENSTOCK_TEST_PEERS")
    with subprocess.Popen([sys.executable, script, tmp_path / "ntp"], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"READY\n"
        yield tmp_path / "ntp"
        server.kill()


def test_the_years_between_are_backfilled(tmp_path: Path, ntp: Path) -> None:
    """A sample stamped 2000 is kept with its time of arrival and covers no year: every row of the archive is read."""
    (tmp_path / "plant.toml").write_text(PLANT)
    (tmp_path / "live.csv").write_text("tag,asset,point,address\np1.level,p1,level,ns=2;s=a\n")
    (tmp_path / "history_tags.csv").write_text("tag,asset,point,address\np1.level,p1,level,L\n")
    days = [datetime(2010, 1, 1, tzinfo=UTC) + timedelta(days=number) for number in range(ROWS)]
    pl.DataFrame({"timestamp": days, "tag": "L", "value": 1.5}).with_columns(
        pl.col("timestamp").dt.to_string("iso:strict")
    ).write_csv(tmp_path / "history.csv")
    plant, edge, store = load_plant(tmp_path), Edge(tmp_path / "edge.db"), MemoryStore()
    began = datetime.now(UTC)

    async def stream() -> None:
        stop = asyncio.Event()
        bridge = Bridge([plant.sources["plc"]], edge, store, StatusFile(tmp_path))
        async with asyncio.timeout(60):
            running = asyncio.create_task(bridge.run(stop))
            while not bridge.sources[0].ingest.samples:
                await asyncio.sleep(0.05)
            ntp.touch()
            while bridge.sources[0].ingest.samples < 5:
                await asyncio.sleep(0.05)
            stop.set()
            await running

    async def backfill() -> int:
        task = Backfill(plant.archives["history"], edge, store)
        await task.run(await task.plan(None, None), advance=lambda _: None)
        return task.link.written

    asyncio.run(stream())
    covered = Coverage(edge).of(["p1.level"], datetime(1960, 1, 1, tzinfo=UTC), datetime.now(UTC))
    assert covered.filter(pl.col("start") < began).is_empty()
    assert Quarantine(edge).counts().is_empty()
    assert asyncio.run(backfill()) == ROWS
    edge.close()
