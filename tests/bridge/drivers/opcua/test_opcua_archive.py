"""The history of an OPC UA server as an archive, from a real server of asyncua."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from asyncua import ua

from bridge.drivers.opcua.history_archive import OpcuaArchive
from bridge.drivers.protocols import open_archive
from historian.errors import NotConnected, SourceError
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from tests.bridge.drivers.opcua.historian import HistorianPlc
from tests.bridge.drivers.opcua.plc import free_port
from tests.bridge.drivers.opcua.relay import ALLOWED, Relay, service

T0 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POINTS = {"speed": 'kind = "speed"', "state": 'kind = "state"', "de_h": 'kind = "vibration", sample_rate = 1000'}
HISTORY_READ = service(ua.HistoryReadRequest)


@pytest.fixture(scope="module")
def historian() -> Iterator[HistorianPlc]:
    """A server that keeps a history of some of its nodes."""
    one = HistorianPlc()
    one.start()
    seconds = [T0 + timedelta(seconds=second) for second in range(30)]
    one.remember("speed", *((at, float(n), 0x40000000 if n % 10 == 9 else 0) for n, at in enumerate(seconds)))
    one.remember("state", (seconds[3], "RUN", 0), (seconds[4], None, ua.StatusCodes.BadSensorFailure))
    one.remember("de_h", (seconds[5], [1.0, 2.0, 3.0], 0))
    yield one
    one.stop()
    one.end()


def archive_of(directory: Path, port: int, *rows: str, **options: object) -> ConnectionConfig:
    """A plant with one archive; rows are `point,address`, by default one of each point with a history."""
    keys = "".join(f"{key} = {value!r}\n" for key, value in options.items())
    points = {**POINTS, **{row.split(",")[0]: 'kind = "process"' for row in rows if row[:1] == "x"}}
    (directory / "plant.toml").write_text(
        "[site]\nname = 'test'\n[classes.compressor.points]\n"
        + "".join(f"{name} = {{ {point} }}\n" for name, point in points.items())
        + "[assets.c101]\nclass = 'compressor'\n[archives.old]\ndriver = 'opcua'\ntags = 'old.csv'\n"
        + f"endpoint = 'opc.tcp://127.0.0.1:{port}'\n{keys}"
    )
    lines = rows or [f"{point},ns=2;s=c101.{point}" for point in POINTS]
    tags = [f"c101.{line.split(',')[0]},c101,{line}" for line in lines]
    (directory / "old.csv").write_text("\n".join(["tag,asset,point,address", *tags, ""]))
    return load_plant(directory).archives["old"]


@asynccontextmanager
async def opened(connection: ConnectionConfig) -> AsyncIterator[OpcuaArchive]:
    """The archive, open while the block runs."""
    archive = open_archive(connection)
    assert isinstance(archive, OpcuaArchive)
    try:
        await archive.open()
        yield archive
    finally:
        await archive.close()


async def read(archive: OpcuaArchive, start: float, end: float, *tags: str) -> pl.DataFrame:
    """Samples between two seconds, in order; of a stretch its first value."""
    frames = []
    async for page in archive.read(tags, T0 + timedelta(seconds=start), T0 + timedelta(seconds=end)):
        assert page.rejected is None
        heads = page.rows.waveforms.select("tag", "timestamp", value=pl.col("count").cast(pl.Float64))
        frames += [page.rows.samples, heads]
    return pl.concat(frames, how="diagonal").sort("tag", "timestamp")


def test_values_texts_bad_values_and_arrays_are_read(historian: HistorianPlc, tmp_path: Path) -> None:
    """With time and quality as the server has them; the end of a range does not belong to it."""

    async def contents() -> pl.DataFrame:
        async with opened(archive_of(tmp_path, historian.port)) as archive:
            return await read(archive, 3, 10, "c101.speed", "c101.state", "c101.de_h")

    found = asyncio.run(contents()).with_columns(pl.col("timestamp") - T0)
    assert found.rows() == [
        ("c101.de_h", timedelta(seconds=5), 3.0, None, None),
        *(("c101.speed", timedelta(seconds=s), float(s), None, 0x40000000 if s == 9 else 0) for s in range(3, 10)),
        ("c101.state", timedelta(seconds=3), None, "RUN", 0),
        ("c101.state", timedelta(seconds=4), None, None, ua.StatusCodes.BadSensorFailure),
    ]


def test_extents_are_the_oldest_and_newest_values(historian: HistorianPlc, tmp_path: Path) -> None:
    """Nodes without history are named, with what to do, and hold up nothing."""
    rows = ("speed,ns=2;s=c101.speed", "x1,ns=2;s=c101.running", "x2,ns=2;s=nothing")

    async def extents() -> tuple[object, object]:
        async with opened(archive_of(tmp_path, historian.port, *rows)) as archive:
            return await archive.extents(), await archive.problems()

    found, problems = asyncio.run(extents())
    assert found == {"c101.speed": (T0, T0 + timedelta(seconds=29, microseconds=1))}
    assert problems == [
        "archive old: old.csv row 3: c101.x1 (ns=2;s=c101.running): the server has no values of it",
        "archive old: old.csv row 4: c101.x2 (ns=2;s=nothing): the server has no values of it",
    ]


def test_slices_begin_at_days(historian: HistorianPlc, tmp_path: Path) -> None:
    """Or as the configuration says."""

    async def starts(**options: object) -> object:
        async with opened(archive_of(tmp_path, historian.port, **options)) as archive:
            return await archive.slice_starts(T0 + 0.5 * DAY, T0 + 3 * DAY)

    assert asyncio.run(starts()) == [T0 + DAY, T0 + 2 * DAY]
    assert asyncio.run(starts(history_slice="2d")) == [T0 + DAY]


def test_nothing_but_reading_is_requested(historian: HistorianPlc, tmp_path: Path) -> None:
    """Seen from between: no Write, no Call, no HistoryUpdate."""
    relay, port = Relay(), free_port()

    async def services() -> None:
        async with relay.between(port, historian.port), opened(archive_of(tmp_path, port)) as archive:
            await archive.extents()
            await read(archive, 0, 60, "c101.speed")

    asyncio.run(services())
    assert relay.services[HISTORY_READ] >= 3
    assert set(relay.services) <= ALLOWED | {HISTORY_READ}


def test_a_server_that_is_lost_is_not_connected(historian: HistorianPlc, tmp_path: Path) -> None:
    """So that a backfill connects again; an archive that was never opened is the same."""

    async def attempt() -> None:
        archive = open_archive(archive_of(tmp_path, free_port()))
        with pytest.raises(NotConnected, match=r"cannot connect to opc.tcp://127.0.0.1"):
            await archive.open()
        await archive.close()
        with pytest.raises(NotConnected, match="the archive is not open"):
            await archive.extents()

    asyncio.run(attempt())


def test_a_server_without_a_node_fails_that_node(historian: HistorianPlc, tmp_path: Path) -> None:
    """The others are read first."""
    historian.fail("state", ua.StatusCodes.BadUserAccessDenied)

    found: list[int] = []

    async def attempt() -> None:
        async with opened(archive_of(tmp_path, historian.port)) as archive:
            async for page in archive.read(["c101.speed", "c101.state"], T0, T0 + DAY):
                found.append(page.rows.samples.height)

    try:
        with pytest.raises(SourceError, match=r"c101.state.*BadUserAccessDenied; give the user the right"):
            asyncio.run(attempt())
        assert sum(found) == 30
    finally:
        historian.fail("state", 0)
