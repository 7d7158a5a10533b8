"""The lake's directory: its Delta tables, and the lock that serialises writers.

Opening it for reading writes nothing and takes no lock; a directory that does not exist yet is an empty lake.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake.exceptions import DeltaError

from historian.errors import StoreUnavailable
from historian.stores.lake.layout import NEWEST, STORED, STORED_WAVEFORMS, FileLayout
from historian.stores.lake.parquet import sync
from historian.stores.lake.table import LakeTable
from historian.stores.protocols import LEDGER


class LakeDirectory:
    """The tables `samples`, `waveforms`, `ledger` and `newest` under one path."""

    def __init__(self, path: Path, layout: FileLayout) -> None:
        self.path = path
        self.layout = layout
        self.samples = LakeTable(path / "samples", STORED, layout, by_day=True)
        stretches = replace(layout, group_rows=layout.group_stretches)
        self.waveforms = LakeTable(path / "waveforms", STORED_WAVEFORMS, stretches, by_day=True)
        self.ledger = LakeTable(path / "ledger", LEDGER, layout)
        self.newest = LakeTable(path / "newest", NEWEST, layout)

    @contextmanager
    def writing(self, what: str, *, table: LakeTable | None = None) -> Iterator[None]:
        """Create tables if needed, and hold the writers' lock. The kernel releases it if the process dies.

        Args:
            what: participle for error messages, such as `written`.
            table: the table that is written, next to the ledger; that of the samples if None.

        Raises:
            StoreUnavailable: as `reporting` does.
        """
        with self.reporting(what):
            self._make_directories()
            with (self.path / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for each in (table or self.samples, self.ledger):
                    each.create()
                yield

    @contextmanager
    def reporting(self, what: str) -> Iterator[None]:
        """Turn errors of the libraries into `StoreUnavailable`, which names this lake and `what` failed."""
        try:
            yield
        except (DeltaError, OSError, pa.ArrowException, pl.exceptions.ComputeError) as error:
            raise StoreUnavailable(f"the lake at {self.path} cannot be {what}: {error}") from error

    def _make_directories(self) -> None:
        missing = [each for each in (self.path, *self.path.parents) if not each.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        for each in missing:
            sync(each.parent)
