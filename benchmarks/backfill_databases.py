"""Backfills from databases, end to end into the lake and into InfluxDB, compared with reading and writing alone.

Each source has the same samples: 20 tags, one a second, in Ignition's tables of PostgreSQL and MariaDB, and as fields
of another program's points in InfluxDB 1.6. `backfill` is the command, in this process, with its planning and its
coverage. Prints a line for each source and store, `backfill_postgresql`, `backfill_mariadb` and `backfill_influx1`;
`ratio` is the rate of the backfill over that of the slower of both alone, turn by turn in one run.

    python -m benchmarks.backfill_databases [--hours 24] [--source postgresql]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

import httpx
import polars as pl

from bridge.drivers.protocols import ProposesSlices, open_archive
from historian.plant.load import load_plant
from historian.samples import SampleBatch, normalise
from historian.stores.open import open_store
from tests.commands import record_of
from tests.servers import Server, influx1
from tests.sql_servers import PASSWORD, SqlServer, mariadb, postgresql

_T0: Final = datetime(2026, 10, 2, tzinfo=UTC)
_MS: Final = int(_T0.timestamp() * 1000)
_TAGS: Final = 20
_ROUNDS: Final = 3
_WRITE_ROWS: Final = 1_000_000
SOURCES: Final = ("postgresql", "mariadb", "influx1")
_TABLES: Final = f"""
CREATE TABLE sqlth_drv (id INTEGER PRIMARY KEY, name VARCHAR(255), provider VARCHAR(255));
CREATE TABLE sqlth_scinfo (id INTEGER PRIMARY KEY, scname VARCHAR(255), drvid INTEGER);
CREATE TABLE sqlth_te (id INTEGER PRIMARY KEY, tagpath VARCHAR(255), scid INTEGER, datatype INTEGER);
CREATE TABLE sqlth_partitions (pname VARCHAR(64), start_time BIGINT, end_time BIGINT, blocksize INTEGER);
CREATE TABLE sqlt_data_1_2026_10 (tagid INTEGER NOT NULL, intvalue BIGINT, floatvalue DOUBLE PRECISION,
    stringvalue VARCHAR(255), dataintegrity INTEGER, t_stamp BIGINT NOT NULL, PRIMARY KEY (tagid, t_stamp));
CREATE INDEX by_time ON sqlt_data_1_2026_10 (t_stamp);
INSERT INTO sqlth_drv VALUES (1, 'gw', 'north');
INSERT INTO sqlth_scinfo VALUES (1, 'default', 1);
INSERT INTO sqlth_partitions VALUES ('sqlt_data_1_2026_10', {_MS - 86_400_000}, {_MS + 29 * 86_400_000}, 0);
INSERT INTO sqlth_te VALUES {", ".join(f"({n}, 'line/t{n}', 1, 1)" for n in range(_TAGS))};
"""


@dataclass(frozen=True)
class Source:
    """A filled database."""

    keys: str
    """Keys of the archive in plant.toml."""
    address: Callable[[int], str]


def write_plant(directory: Path, source: Source, store: str) -> None:
    """Describe one asset with a point a tag."""
    points = "\n".join(f'p{number} = {{ kind = "process" }}' for number in range(_TAGS))
    head = f'[site]\nname = "north"\n[historian]\nurl = "{store}"\n[classes.line.points]\n{points}\n'
    tail = f'[assets.l1]\nclass = "line"\n[archives.old]\n{source.keys}tags = "old.csv"\n'
    (directory / "plant.toml").write_text(head + tail, encoding="utf-8")
    rows = [f'l1.p{number},l1,p{number},"{source.address(number)}"' for number in range(_TAGS)]
    (directory / "old.csv").write_text("\n".join(["tag,asset,point,address", *rows]) + "\n", encoding="utf-8")


def fill_sql(server: SqlServer, seconds: int) -> Source:
    """Fill Ignition's tables, within the server."""
    name = server.new_database()
    server.run(_TABLES, name)
    is_postgresql = server.engine == "postgresql"
    series = (
        f"generate_series(0, {_TAGS - 1}) AS t(n), generate_series(0, {seconds - 1}) AS s(n)"
        if is_postgresql
        else f"(SELECT seq AS n FROM seq_0_to_{_TAGS - 1}) t, (SELECT seq AS n FROM seq_0_to_{seconds - 1}) s"
    )
    server.run(
        "INSERT INTO sqlt_data_1_2026_10 (tagid, floatvalue, dataintegrity, t_stamp) "
        f"SELECT t.n, SIN(s.n + t.n), 192, {_MS} + s.n * 1000 FROM {series} ORDER BY s.n;",
        name,
    )
    server.run(f"ANALYZE{'' if is_postgresql else ' TABLE'} sqlt_data_1_2026_10;", name)
    url = f"{server.engine}://reader@127.0.0.1:{server.port}/{name}"
    keys = f'driver = "sql"\nurl = "{url}"\npassword = "{PASSWORD}"\nprofile = "ignition"\n'
    return Source(keys, lambda number: f"line/t{number}")


def fill_influx(server: Server, seconds: int) -> Source:
    """Fill a measurement of which each point has all tags as fields."""
    httpx.post(f"{server.base}/query", params={"q": "CREATE DATABASE old"}).raise_for_status()
    fields = [pl.format("f{}={}", pl.lit(number), (pl.col("n") + number).sin()) for number in range(_TAGS)]
    for first in range(0, seconds, 5_000):
        numbers = pl.DataFrame({"n": range(first, min(first + 5_000, seconds))})
        line = pl.concat_str([pl.concat_str(fields, separator=","), pl.col("n") * 1000 + _MS], separator=" ")
        body = numbers.select(pl.format("line,machine=a {}", line)).to_series().str.join("\n").item()
        httpx.post(f"{server.base}/write", params={"db": "old", "precision": "ms"}, content=body).raise_for_status()
    keys = f'driver = "influxdb"\nurl = "influxdb://127.0.0.1:{server.port}/old"\n'
    return Source(keys, lambda number: f"line,machine=a f{number}")


def read_alone(plant: Path) -> list[SampleBatch]:
    """Read everything as a backfill does, slice by slice, and return it in batches."""

    async def main() -> list[SampleBatch]:
        connection = load_plant(plant).archives["old"]
        archive = open_archive(connection)
        await archive.open()
        extents = await archive.extents()
        first, last = min(each[0] for each in extents.values()), max(each[1] for each in extents.values())
        inner = await archive.slice_starts(first, last) if isinstance(archive, ProposesSlices) else ()
        cuts = [first, *(each for each in inner if first < each < last), last]
        found = []
        for start, end in pairwise(cuts):
            found += [page.rows.samples async for page in archive.read(list(extents), start, end)]
        await archive.close()
        return [normalise(found[0]).batch, *(normalise(each).batch for each in found[1:])]

    return asyncio.run(main())


def write_alone(plant: Path, batches: list[SampleBatch]) -> None:
    """Write the same samples, a million at a time."""
    store, held, now = open_store(load_plant(plant)), list[SampleBatch](), datetime.now(UTC)
    for number, batch in enumerate(batches, 1):
        held.append(batch)
        if number == len(batches) or sum(each.height for each in held) >= _WRITE_ROWS:
            store.write(normalise(pl.concat(held)).batch, source="old", now=now)
            held = []


def compare(name: str, source: Source, influx: Server, into: str, seconds: int) -> None:
    """Measure reading, writing and the backfill in turn."""
    rates: list[tuple[float, float, float]] = []
    samples = seconds * _TAGS
    for _ in range(_ROUNDS):
        with fresh_plant(source, influx, into) as plant:
            began = perf_counter()
            batches = read_alone(plant)
            read = samples / (perf_counter() - began)
            assert sum(batch.height for batch in batches) == samples
            began = perf_counter()
            write_alone(plant, batches)
            written = samples / (perf_counter() - began)
        with fresh_plant(source, influx, into) as plant:
            began = perf_counter()
            done = record_of("backfill", "--plant", plant)
            rates.append((samples / (perf_counter() - began), read, written))
            assert done["samples_backfilled"] == samples, done
    ratio = median(whole / min(read, written) for whole, read, written in rates)
    backfill, read, written = (round(median(each)) for each in zip(*rates, strict=True))
    sides = {"backfill_per_s": backfill, "read_per_s": read, "write_per_s": written}
    print(json.dumps({"name": name, "into": into, "samples": samples, "ratio": round(ratio, 2), **sides}), flush=True)


@contextmanager
def fresh_plant(source: Source, influx: Server, into: str) -> Iterator[Path]:
    """A plant with an empty store."""
    with tempfile.TemporaryDirectory() as directory:
        store = ""
        if into == "influx1":
            for verb in ("DROP", "CREATE"):
                httpx.post(f"{influx.base}/query", params={"q": f"{verb} DATABASE new"}).raise_for_status()
            store = f"influxdb://127.0.0.1:{influx.port}/new"
        write_plant(Path(directory), source, store)
        yield Path(directory)


def main() -> None:
    """Measure every source and store, or those of one source."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hours", type=float, default=24)
    options.add_argument("--source", choices=SOURCES)
    chosen = options.parse_args()
    seconds = timedelta(hours=chosen.hours) // timedelta(seconds=1)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        influx = influx1(directory)
        influx.start()
        stack.callback(influx.stop)
        for name in [chosen.source] if chosen.source else SOURCES:
            if name == "influx1":
                source = fill_influx(influx, seconds)
            else:
                manager = postgresql() if name == "postgresql" else mariadb(directory)
                source = fill_sql(stack.enter_context(manager), seconds)
            for into in ("lake", "influx1"):
                compare(f"backfill_{name}", source, influx, into, seconds)


if __name__ == "__main__":
    main()
