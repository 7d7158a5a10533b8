"""A state is the same state as number, Boolean, text and enumeration, from a file as well as live."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from asyncua import ua
from polars.testing import assert_frame_equal

from bridge.drivers.opcua.values import Channel
from bridge.drivers.protocols import open_archive
from bridge.drivers.raw_rows import RawRows
from bridge.ingest.contracts.limits import contract_of
from bridge.ingest.transforms import pipeline
from bridge.ingest.validation import Validated, validated
from features.compute.run import compute
from features.tables.feature_table import FeatureTable
from historian.plant.connections import ConnectionConfig
from historian.plant.load import load_plant
from historian.stores.memory import MemoryStore
from tests.bridge.drivers.opcua.encoded import rows_of_values

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = START + timedelta(hours=1)
COLUMNS: dict[str, pl.DataType] = {
    "f": pl.Float64(),
    "i": pl.Int64(),
    "b": pl.Boolean(),
    "e": pl.Enum(["off", "on"]),
    "p": pl.Float64(),
    "t": pl.Int64(),
}
PLANT = """
[site]
name = "s"
[classes.m.points]
f = { kind = "state", states = { off = 0, on = 1 } }
i = { kind = "state", states = { off = 0, on = 1 } }
b = { kind = "state", states = { off = 0, on = 1 } }
c = { kind = "state", states = { off = 0, on = 1 } }
d = { kind = "state", states = { off = 0, on = 1 } }
e = { kind = "state", states = { off = "off", on = "on" } }
p = { kind = "process", states = { off = 0, on = 1 } }
t = { kind = "state", states = { off = "0", on = "1" } }
[classes.m.features]
st = { window = "10m", points = ["f", "i", "b", "c", "d", "e", "p", "t"] }
[assets.x1]
class = "m"
"""
ARCHIVE = '[archives.{0}]\ndriver = "files"\npath = "{0}.{1}"\nlayout = "long"\ntags = "{0}_tags.csv"\n'


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A file for each type of column: 5 minutes off, 5 minutes on, for 40 minutes."""
    states = [minute % 10 >= 5 for minute in range(40)]
    times = [START + timedelta(minutes=minute) for minute in range(40)]
    text = PLANT
    for name, dtype in COLUMNS.items():
        values = pl.Series(["on" if on else "off" for on in states] if name == "e" else states).cast(dtype)
        pl.DataFrame({"timestamp": times, "tag": name, "value": values}).write_parquet(tmp_path / f"{name}.parquet")
        text += ARCHIVE.format(name, "parquet")
    for name, words in {"c": ("0", "1.0"), "d": ("False", "true")}.items():
        rows = "".join(f"{time:%FT%TZ},{name},{words[on]}\n" for time, on in zip(times, states, strict=True))
        (tmp_path / f"{name}.csv").write_text(f"timestamp,tag,value\n{rows}")
        text += ARCHIVE.format(name, "csv")
    for name in (*COLUMNS, "c", "d"):
        (tmp_path / f"{name}_tags.csv").write_text(f"tag,asset,point,address\nx1.{name},x1,{name},{name}\n")
    (tmp_path / "plant.toml").write_text(text)
    return tmp_path


def ingested(connection: ConnectionConfig, rows: RawRows, *, live: bool) -> Validated:
    """What the bridge makes of a driver's rows."""
    for transform in pipeline(connection.tags):
        rows = transform(rows)
    return validated(rows, contract_of(connection.tags, live=live), now=NOW)


async def archived(connection: ConnectionConfig) -> list[Validated]:
    """All of an archive."""
    archive, tags = open_archive(connection), [tag.name for tag in connection.tags]
    await archive.open()
    return [
        ingested(connection, page.rows, live=False)
        async for page in archive.read(tags, START, START + timedelta(days=1))
    ]


def test_a_state_is_the_same_whatever_it_is_written_as(directory: Path) -> None:
    """Of a file with numbers, Booleans, texts or an enumeration, half of each window is off and half is on."""
    plant, store = load_plant(directory), MemoryStore()
    for connection in plant.archives.values():
        for found in asyncio.run(archived(connection)):
            assert found.rejected.is_empty()
            store.write(found.batches.samples, source="h", now=NOW)
    compute(plant, store, lambda: NOW)
    rows = FeatureTable(plant, plant.views["m_st"]).scan().sort("event_timestamp").collect()[:3]
    points = plant.views["m_st"].points
    shares = {point: rows[f"{point}_share_off"].to_list() + rows[f"{point}_share_on"].to_list() for point in points}
    assert shares == dict.fromkeys(points, [0.5] * 6)
    assert {point: rows[f"{point}_last_state"].to_list() for point in points} == dict.fromkeys(points, ["on"] * 3)


@pytest.mark.parametrize(
    ("name", "off", "on"),
    [("f", 0.0, 1.0), ("i", 0, 1), ("b", False, True), ("e", "off", "on")],
)
def test_the_live_path_stores_what_the_archive_does(directory: Path, name: str, off: Any, on: Any) -> None:
    """No number of a state point is quarantined, and both samples are the same."""
    connection = load_plant(directory).archives[name]
    (archive,) = asyncio.run(archived(connection))
    values = [on if minute % 10 >= 5 else off for minute in range(40)]
    given = [
        (Channel(f"x1.{name}"), ua.DataValue(ua.Variant(value), SourceTimestamp=START + timedelta(minutes=minute)))
        for minute, value in enumerate(values)
    ]
    live = ingested(connection, rows_of_values(given), live=True)
    assert live.rejected.is_empty()
    assert_frame_equal(live.batches.samples, archive.batches.samples)
