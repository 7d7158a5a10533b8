"""`penstock verify` where nothing differs: samples a second a side, from an archive and from the lake to the manifest.

Prints JSON lines. The archive returns frames, so that it is verification that is measured and not a parser; reading the
lake counts. CPU time of all threads, median of some rounds, and the peak of memory. Run it with
`python -m benchmarks.verify`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Final

import numpy as np
import polars as pl
from pydantic import BaseModel

from benchmarks.memory import peak_bytes
from bridge.drivers.protocols import Driver, Extent, Page
from bridge.drivers.raw_rows import RawRows
from bridge.edge.database import Edge
from bridge.run.verify.verification import Order, verify_archive
from historian.plant.connections import ConnectionConfig, Tag
from historian.samples import SCHEMA, sample_batch
from historian.stores.lake.store import LakeStore
from historian.times import micros

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_TAGS: Final = [f"c101.t{number:02}" for number in range(20)]
_SECONDS: Final = 86_400
_DAYS, _ROUNDS = 6, 5


class _Frames:
    """An archive of a frame a day: 20 tags at 1 Hz."""

    def __init__(self, days: Sequence[pl.DataFrame]) -> None:
        self.days = days

    async def open(self) -> None:
        """See `Archive.open`."""

    async def close(self) -> None:
        """See `Archive.close`."""

    async def extents(self) -> Mapping[str, Extent]:
        """See `Archive.extents`."""
        return dict.fromkeys(_TAGS, (_START, _START + len(self.days) * _DAY))

    async def read(self, tags: Sequence[str], start: datetime, end: datetime) -> AsyncGenerator[Page]:
        """See `Archive.read`; verification reads day by day."""
        assert list(tags) == _TAGS
        assert end - start == _DAY
        yield Page(RawRows(self.days[(start - _START) // _DAY]), "a frame")


class _NoKeys(BaseModel):
    """A driver without keys."""


def main() -> None:
    """Verify the same days several times."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        days, store = [_day(number) for number in range(_DAYS)], LakeStore(root / "lake")
        for number, day in enumerate(days):
            store.write(sample_batch(day), source="old", now=_START + number * _DAY)
        archive, edge = _Frames(days), Edge(root / "edge.db")
        driver = Driver(options=_NoKeys, address=_NoKeys, archive=lambda _: archive)
        connection = ConnectionConfig("old", driver, _NoKeys(), tuple(map(_tag, _TAGS)), root)
        rates = [_rate(connection, edge, store, root) for _ in range(1 + _ROUNDS)][1:]
        edge.close()
    record = {"name": "verify_rows_per_second", "rows_per_second": median(rates), "peak_mib": peak_bytes() >> 20}
    print(json.dumps(record), flush=True)


def _rate(connection: ConnectionConfig, edge: Edge, store: LakeStore, root: Path) -> float:
    begin = process_time()
    work = verify_archive(
        connection, edge, store, order=Order(), report=root / "report", clock=lambda: _START + 99 * _DAY
    )
    found = asyncio.run(work)
    seconds = process_time() - begin
    assert found.manifest.equal
    assert found.manifest.samples == _DAYS * _SECONDS * len(_TAGS)
    return found.manifest.samples / seconds


def _day(number: int) -> pl.DataFrame:
    """The samples of a day, sorted as in a batch."""
    first = micros(_START + number * _DAY)
    times = pl.Series(first + 1_000_000 * np.arange(_SECONDS)).cast(SCHEMA["timestamp"])
    noise = np.random.default_rng(number)
    parts = [
        pl.DataFrame({"tag": tag, "timestamp": times, "value": noise.normal(size=_SECONDS).round(3)}) for tag in _TAGS
    ]
    columns = {"text": pl.lit(None), "quality": pl.lit(0)}
    return pl.concat(parts).with_columns(**columns).select(SCHEMA.names()).cast(SCHEMA)


def _tag(name: str) -> Tag:
    return Tag(
        name=name,
        asset="c101",
        point=name.removeprefix("c101."),
        kind="process",
        unit="degC",
        sample_rate=None,
        range=(-100.0, 100.0),
        max_staleness=timedelta(minutes=10),
        address=name,
        scale=1.0,
        offset=0.0,
        options=_NoKeys(),
    )


if __name__ == "__main__":
    main()
