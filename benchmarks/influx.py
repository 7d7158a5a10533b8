"""InfluxDB: how fast we serialise, write and read, compared with the client's own functions and the server's limit.

Prints a JSON line for each figure; `ratio` is our rate over theirs, turn by turn in one run. Starts its own InfluxDB
1.6 (and 2.x where PENSTOCK_TEST_INFLUXD2 names one) on loopback. Run it with `python -m benchmarks.influx`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import httpx
import numpy as np
import polars as pl
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.dataframe_serializer import data_frame_to_list_of_points
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import PointSettings

from historian.samples import SCHEMA, SampleBatch, normalise
from historian.stores.influx.address import parse_address
from historian.stores.influx.line_protocol import bodies
from historian.stores.influx.store import InfluxStore
from historian.stores.influx.wire import open_wire
from tests.servers import influx1, influx2, set_up2

_ROUNDS = 3
_point: Final[Any] = Point  # the client has no types
_frame_lines: Final[Any] = data_frame_to_list_of_points
_LINES = 20_000
_PLAIN_CSV = {"Accept": "application/csv", "Accept-Encoding": "identity"}
_EVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


def _batch(samples: int, *, tags: int = 100, start: int = 1_772_323_200_000_000) -> SampleBatch:
    """Numbers of several tags, a millisecond apart."""
    per_tag = samples // tags
    columns = {
        "tag": np.repeat([f"plant.line1.tag{number:03}" for number in range(tags)], per_tag),
        "timestamp": pl.Series(np.tile(np.arange(per_tag) * 1000 + start, tags)).cast(pl.Datetime("us", "UTC")),
        "value": np.random.default_rng(0).normal(size=per_tag * tags),
        "text": None,
        "quality": 0,
    }
    return normalise(pl.DataFrame(columns, schema_overrides=dict(SCHEMA))).batch


def compare(name: str, ours: Callable[[], int], theirs: Callable[[], int]) -> None:
    """Alternates the two sides; each returns how many samples it handled."""
    ratios, rates = [], []
    for _ in range(1 + _ROUNDS):
        our, their = _rate(ours), _rate(theirs)
        ratios.append(our / their)
        rates.append((our, their))
    medians = [round(median(side)) for side in zip(*rates[1:], strict=True)]
    print(
        json.dumps(
            {"name": name, "ratio": round(median(ratios[1:]), 2), "ours_per_s": medians[0], "other_per_s": medians[1]}
        )
    )


def _rate(work: Callable[[], int]) -> float:
    start = perf_counter()
    return work() / (perf_counter() - start)


def _serialise(batch: SampleBatch) -> int:
    return sum(body.count(b"\n") + 1 for body in bodies(batch, lines=_LINES))


def _with_dataframe(batch: SampleBatch) -> int:
    """The client's pandas path."""
    frame = batch.select("tag", "timestamp", "value", "quality").to_pandas().set_index("timestamp")
    lines = _frame_lines(frame, PointSettings(), data_frame_measurement_name="samples", data_frame_tag_columns=["tag"])
    return len(lines)


def _with_points(batch: SampleBatch) -> int:
    """The client's object path."""
    rows = batch.select("tag", "timestamp", "value", "quality").iter_rows()
    lines = [
        _point("samples").tag("tag", tag).field("value", value).field("quality", quality).time(at).to_line_protocol()
        for tag, at, value, quality in rows
    ]
    return len(lines)


def _serialising() -> None:
    batch, small = _batch(1_000_000), _batch(50_000)
    compare("serialise_vs_dataframe", lambda: _serialise(batch), lambda: _with_dataframe(batch))
    compare("serialise_vs_point", lambda: _serialise(batch), lambda: _with_points(small))


def _on_influx1(directory: Path) -> None:
    server = influx1(directory)
    server.start()
    httpx.post(f"{server.base}/query", params={"q": "CREATE DATABASE raw"}).raise_for_status()
    httpx.post(f"{server.base}/query", params={"q": "CREATE DATABASE ours"}).raise_for_status()
    store = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{server.port}/ours"), ""))
    batch = _batch(500_000)
    prepared = list(bodies(batch, lines=_LINES))
    with httpx.Client(base_url=server.base, timeout=60) as client:

        def raw() -> int:
            for body in prepared:
                client.post("/write", params={"db": "raw", "precision": "u"}, content=body).raise_for_status()
            return batch.height

        def ours() -> int:
            store.write(batch, source="bench", now=_EVER[0])
            return batch.height

        def csv() -> int:
            query = 'SELECT "value","text","quality" FROM samples GROUP BY "tag"'
            form = {"db": "raw", "q": query, "epoch": "ns", "chunked": "true"}
            response = client.post("/query", data=form, headers=_PLAIN_CSV)
            return response.content.count(b"\n") - 1

        compare("influx_write_vs_raw", ours, raw)
        tags = batch["tag"].unique().sort().to_list()
        compare("influx_read_vs_csv", lambda: sum(map(len, store.read(tags, *_EVER))), csv)
    store.close()
    server.stop()


def _on_influx2(directory: Path, program: str) -> None:
    server = influx2(directory, program)
    server.start()
    set_up2(server)
    store = InfluxStore(open_wire(parse_address(f"influxdb://127.0.0.1:{server.port}/north?bucket=first"), "secret"))
    batch = _batch(1_000_000, tags=10)
    store.write(batch, source="bench", now=_EVER[0])
    tags = batch["tag"].unique().sort().to_list()
    with InfluxDBClient(server.base, "secret", org="north", timeout=120_000) as client:
        flux = (
            'from(bucket: "first") |> range(start: 2026-01-01T00:00:00Z, stop: 2027-01-01T00:00:00Z) '
            '|> filter(fn: (r) => r._measurement == "samples") '
            '|> pivot(rowKey: ["_time", "tag"], columnKey: ["_field"], valueColumn: "_value")'
        )
        compare(
            "influx_read_vs_flux",
            lambda: sum(map(len, store.read(tags, *_EVER))),
            lambda: len(client.query_api().query_data_frame(flux)),
        )
    store.close()
    server.stop()


if __name__ == "__main__":
    _serialising()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        _on_influx1(Path(one))
        if program := os.environ.get("PENSTOCK_TEST_INFLUXD2"):
            _on_influx2(Path(two), program)
