"""Materialising: peak memory of a process that looks at ever longer feature tables of few assets.

Prints a JSON line for each table: its rows, the table's size as columns, its peak resident memory before and after.
Run it with `python -m benchmarks.materialize_memory`; `--rows` sets the longest table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from deltalake import DeltaTable, write_deltalake
from feast import FileSource
from feast.data_format import DeltaFormat

from benchmarks.materialize import END, START, empty_store
from benchmarks.memory import peak_bytes
from features.feast.online.materialize import materialize_view

_ASSETS: Final = 50
_FEATURES: Final = 10
_PART: Final = 500_000
_MIB: Final = 2**20


def _fill(path: Path, rows: int) -> None:
    """Feature rows in order of time, half a million a file, as jobs append them."""
    random = np.random.default_rng(0)
    for first in range(0, rows, _PART):
        number = np.arange(first, first + _PART)
        event = pl.Series(number // _ASSETS).cast(pl.Duration("us")) * 1_000 + START
        columns = {
            "asset": pl.Series([f"asset{asset:06}" for asset in range(_ASSETS)]).gather(number % _ASSETS),
            "event_timestamp": event,
            "created_timestamp": event + timedelta(seconds=1),
            **{f"x{feature}": random.normal(size=_PART) for feature in range(_FEATURES)},
        }
        write_deltalake(path, pl.DataFrame(columns), mode="append")


def _materialize(path: Path, scratch: Path) -> None:
    """Materialise the table and print the peak memory of this process."""
    times = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created_timestamp"}
    source = FileSource(name="view", path=str(path), file_format=DeltaFormat(), **times)
    online = {"type": "features.feast.online.sqlite_store.UtcSqliteOnlineStore", "path": "online.db"}
    store = empty_store(scratch / "store", source, online)
    before = peak_bytes()
    written = materialize_view(store, store.get_feature_view("view"), end=END)
    rows = int(pl.DataFrame(DeltaTable(path).get_add_actions(flatten=True))["num_records"].sum())
    record = {
        "name": "materialize_memory",
        "rows": rows,
        "columns_mib": rows * (_FEATURES + 3) * 8 // _MIB,
        "written": written,
        "before_mib": before // _MIB,
        "peak_mib": peak_bytes() // _MIB,
    }
    print(json.dumps(record), flush=True)


def _main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--compact", action="store_true", help="measure the tables compacted")
    arguments.add_argument("--table", type=Path, help="for the measured process: where the table is")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        if given.table:
            _materialize(given.table, Path(directory))
            return
        for part in (10, 2, 1):
            path = Path(directory) / f"rows{part}"
            _fill(path, given.rows // part)
            if given.compact:
                DeltaTable(path).optimize.compact()
            command = [sys.executable, "-m", "benchmarks.materialize_memory", "--table", str(path)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    _main()
