"""All application transactions of a Delta table at once: the library finds one at a time, each in the time of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import polars as pl

_TRANSACTION: Final = pl.Schema({"txn": pl.Struct({"appId": pl.String(), "version": pl.Int64()})})


def transactions(path: Path, version: int) -> dict[str, int]:
    """Return the number of the last transaction of each application, from the table's log.

    Args:
        path: directory of the table.
        version: of the table; a later commit may count already, if another process has just made a checkpoint of it.

    Raises:
        OSError: the log cannot be read, for example because it was cleaned up meanwhile.
    """
    log = path / "_delta_log"
    begun, found = -1, dict[str, int]()
    if (pointer := log / "_last_checkpoint").exists():
        begun = json.loads(pointer.read_text(encoding="utf-8"))["version"]
        found = _last(pl.scan_parquet(log / f"{begun:020d}.checkpoint.parquet", glob=False))
    commits = [log / f"{number:020d}.json" for number in range(begun + 1, version + 1)]
    return found | (_last(pl.scan_ndjson(commits, schema=_TRANSACTION)) if commits else {})


def _last(actions: pl.LazyFrame) -> dict[str, int]:
    """Return the last number of each application among actions in the order of their commits."""
    numbers = actions.select(pl.col("txn").struct.field("appId", "version")).drop_nulls("appId").collect()
    return dict(numbers.iter_rows())
