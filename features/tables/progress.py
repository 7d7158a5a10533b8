"""How far the job has read the store's ledger for a view, kept as application transactions of its feature table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import Transaction

from historian.times import from_micros, micros

CURSOR: Final = "ledger"
"""The application whose number is the cursor."""
_NEWEST: Final = "newest:"
_TRANSACTION: Final = pl.Schema({"txn": pl.Struct({"appId": pl.String(), "version": pl.Int64()})})


@dataclass(frozen=True)
class Progress:
    """How far the job has read the ledger for a view; written together with the last rows of a run."""

    cursor: datetime
    """`ingested_at` of the newest ledger row taken in."""
    newest: Mapping[str, datetime]
    """The newest sample of each tag at that time, the run itself at the latest: later windows may still be pending."""

    def transactions(self) -> list[Transaction]:
        """Return the form in which Delta Lake keeps it."""
        newest = [Transaction(_NEWEST + tag, micros(instant)) for tag, instant in self.newest.items()]
        return [Transaction(CURSOR, micros(self.cursor)), *newest]


def newest_samples(path: Path, version: int) -> dict[str, datetime]:
    """Return the time of each tag's newest sample as of the last run, from the table's log.

    The library finds one transaction at a time, each in the time of all.

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
    found |= _last(pl.scan_ndjson(commits, schema=_TRANSACTION)) if commits else {}
    return {name.removeprefix(_NEWEST): from_micros(at) for name, at in found.items() if name.startswith(_NEWEST)}


def _last(actions: pl.LazyFrame) -> dict[str, int]:
    """Return the last number of each application among actions in the order of their commits."""
    numbers = actions.select(pl.col("txn").struct.field("appId", "version")).drop_nulls("appId").collect()
    return dict(numbers.iter_rows())
