"""How fast historical retrieval is: against Feast's own stores, and against the bare join, which is its ceiling.

Everything goes through `FeatureStore.get_historical_features(...).to_arrow()`, over the same files and labels, side by
side in one run. Prints JSON lines; `ratio` is ours to theirs: labels a second, or peak memory of a process of its own.
Run it with `python -m benchmarks.point_in_time`; `--huge` measures 100 M feature rows x 1 M labels instead, in about
20 GB of disk. Feast's DuckDB store needs `pip install duckdb ibis-framework[duckdb]`; without it its lines say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import polars as pl
import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, String

from benchmarks.memory import peak_bytes

_OURS = "features.feast.offline.store.PolarsOfflineStore"
_START = 1_767_225_600_000_000  # 2026-01-01 in us
_TTL = timedelta(hours=2)
_FEATURES = [f"f{number}" for number in range(10)]
_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Case:
    """The size of a comparison: assets, feature rows of each asset, and labels."""

    assets: int
    rows: int
    labels: int
    hop_s: int = 60
    """Between the rows of an asset. How many are within a label's ttl decides what DuckDB has to do, not what we do."""


_SMALL = Case(50, 2_000, 5_000, hop_s=10)
_MEDIUM = Case(50, 8_640, 20_000, hop_s=10)  # a day
_MINUTES = Case(50, 8_640, 20_000)
_LARGE = Case(1_000, 10_000, 1_000_000)
_HUGE = Case(10_000, 10_000, 1_000_000)


def write(case: Case, directory: Path, *, files: int = 1) -> None:
    """Feature rows in order of time, as a job appends them, and labels at random times."""
    random, hop = np.random.default_rng(0), case.hop_s * 1_000_000
    names = pl.Series([f"asset-{number:05d}" for number in range(case.assets)])
    (directory / "rows").mkdir()
    for number, instants in enumerate(np.array_split(np.arange(case.rows), files)):
        event = np.repeat(instants * hop + _START, case.assets)
        columns = {
            "asset": names.gather(np.tile(np.arange(case.assets), len(instants))),
            "event_timestamp": pl.Series(event).cast(_TIME),
            "created_timestamp": pl.Series(event + random.integers(1, hop, len(event))).cast(_TIME),
            **{name: random.normal(size=len(event)) for name in _FEATURES},
        }
        pl.DataFrame(columns).write_parquet(directory / "rows" / f"{number:04d}.parquet")
    labels = {
        "asset": names.gather(random.integers(0, case.assets, case.labels)),
        "event_timestamp": pl.Series(_START + random.integers(0, case.rows * hop, case.labels)).cast(_TIME),
        "target": random.integers(0, 2, case.labels),
    }
    pl.DataFrame(labels).write_parquet(directory / "labels.parquet")


def through_feast(offline: str, directory: Path) -> Callable[[], pa.Table]:
    """A retrieval of all features with one of Feast's offline stores."""
    (directory / offline).mkdir(exist_ok=True)
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            registry=str(directory / offline / "registry.db"),
            provider="local",
            offline_store={"type": offline},
            online_store={"type": "sqlite", "path": str(directory / offline / "online.db")},
            entity_key_serialization_version=3,
            repo_path=directory,
        )
    )
    files = list((directory / "rows").iterdir())
    source = FileSource(
        path=str(files[0] if len(files) == 1 else directory / "rows"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    asset = Entity(name="asset", join_keys=["asset"], value_type=ValueType.STRING)
    schema = [Field(name="asset", dtype=String), *(Field(name=name, dtype=Float64) for name in _FEATURES)]
    store.apply([asset, FeatureView(name="view", entities=[asset], ttl=_TTL, schema=schema, source=source)])
    labels, refs = pl.read_parquet(directory / "labels.parquet").to_pandas(), [f"view:{name}" for name in _FEATURES]
    return lambda: store.get_historical_features(labels, refs).to_arrow()


def bare(directory: Path) -> Callable[[], pa.Table]:
    """What one would write by hand, without ties, late corrections, or labels kept in order."""
    requested = pl.read_parquet(directory / "labels.parquet")

    def joined() -> pa.Table:
        rows = pl.read_parquet(directory / "rows", columns=["asset", "event_timestamp", *_FEATURES])
        times = rows.select("asset", "event_timestamp").with_row_index("row").sort("event_timestamp")
        labels = requested.sort("event_timestamp")
        found = labels.join_asof(times, on="event_timestamp", by="asset", tolerance=_TTL, check_sortedness=False)
        return found.hstack(rows.select(pl.col(_FEATURES).gather(found["row"]))).drop("row").to_arrow()

    return joined


def compare(name: str, case: Case, ours: Callable[[], pa.Table], other: Callable[[], pa.Table], rounds: int) -> None:
    """Turn by turn, so that a busy machine slows both; the median of the rounds' ratios counts."""
    ours()
    turns = [(_seconds(ours), _seconds(other)) for _ in range(rounds)]
    ours_s, other_s = (float(np.median(side)) for side in zip(*turns, strict=True))
    ratio = float(np.median([theirs / mine for mine, theirs in turns]))
    _print(name=name, ratio=ratio, labels_per_second=case.labels / ours_s, other=case.labels / other_s)


def compare_memory(name: str, directory: Path, offline: str) -> None:
    """Peak resident memory of one retrieval in a process of its own; `added` is what came after Feast was ready."""
    (ours, ours_idle), (theirs, their_idle) = (_peak(store, directory) for store in (_OURS, offline))
    added = (ours - ours_idle) / (theirs - their_idle)
    _print(name=name, ratio=ours / theirs, ours_mib=ours, other_mib=theirs, idle_mib=ours_idle, added=added)


def compare_duckdb(name: str, case: Case, directory: Path, rounds: int) -> None:
    """Compare speed and memory with Feast's DuckDB store, where that is installed."""
    if find_spec("ibis"):
        ours, duckdb = through_feast(_OURS, directory), through_feast("duckdb", directory)
        compare(f"{name}_vs_duckdb", case, ours, duckdb, rounds=rounds)
        compare_memory(f"{name}_memory_vs_duckdb", directory, "duckdb")
    else:
        _print(name=f"{name}_vs_duckdb", skipped="Feast's DuckDB store needs ibis-framework[duckdb]")


def _peak(offline: str, directory: Path) -> tuple[float, float]:
    """Peak memory of one retrieval in a process of its own, and of that process before it, in MiB."""
    command = [sys.executable, "-m", "benchmarks.point_in_time", "--once", offline, str(directory)]
    last = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    record = json.loads(last)
    return float(record["peak_mib"]), float(record["idle_mib"])


def _seconds(work: Callable[[], pa.Table]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _print(**record: str | float) -> None:
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in record.items()}
    print(json.dumps(rounded), flush=True)


def once(offline: str, directory: Path) -> None:
    """One retrieval; prints its time and the peak of this process, and what that was before."""
    retrieval = through_feast(offline, directory)
    idle = peak_bytes()
    _print(seconds=_seconds(retrieval), peak_mib=peak_bytes() / 2**20, idle_mib=idle / 2**20)


def huge() -> None:
    """More feature rows than a join in one go could hold."""
    with TemporaryDirectory() as directory:
        write(_HUGE, Path(directory), files=50)
        _print(name="pit_huge_peak_gib", ratio=_peak(_OURS, Path(directory))[0] / 1024)


def main() -> None:
    """All comparisons."""
    with TemporaryDirectory() as directory:
        small, medium, minutes, large = (Path(directory) / name for name in ("small", "medium", "minutes", "large"))
        for case, path in ((_SMALL, small), (_MEDIUM, medium), (_MINUTES, minutes), (_LARGE, large)):
            path.mkdir()
            write(case, path)
        os.sync()  # else what is measured first shares the disk with what was written last
        compare("pit_small_vs_dask", _SMALL, through_feast(_OURS, small), through_feast("dask", small), rounds=1)
        compare_duckdb("pit_medium", _MEDIUM, medium, rounds=5)
        compare_duckdb("pit_minutes", _MINUTES, minutes, rounds=15)
        compare("pit_large_vs_bare", _LARGE, through_feast(_OURS, large), bare(large), rounds=5)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--once", store, place]:
            once(store, Path(place))
        case ["--huge"]:
            huge()
        case _:
            main()
