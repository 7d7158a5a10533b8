"""One Delta table of the lake: the snapshot for readers, and commits that survive a power cut.

Reading opens files and writes nothing. Whoever commits must hold the lake's lock (`historian.stores.lake.directory`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable, Schema

from historian.stores.lake.layout import FileLayout
from historian.stores.lake.parquet import Action, sync, write_files

_CHECKPOINT_EVERY: Final = 100
"""Number of commits between two checkpoints, the same as in Delta's own writers."""
_NO_FILES: Final = pl.DataFrame(
    schema={"path": pl.String(), "logged_as": pl.String(), "size_bytes": pl.Int64(), "num_records": pl.Int64()}
)


class LakeTable:
    """A Delta table in a directory that may not exist yet."""

    def __init__(self, root: Path, schema: pl.Schema, layout: FileLayout, *, by_day: bool = False) -> None:
        self.root = root
        self._schema = schema
        self._layout = layout
        self._by_day = by_day
        self._table: DeltaTable | None = None
        self._is_behind = False
        self._version = -1
        """The newest version that this process knows of, which `_table` may be behind."""
        self._transactions: dict[str, int] = {}
        """Versions of transactions in commits that `_table` is behind."""
        self._listing = (-1, _NO_FILES)

    def snapshot(self) -> DeltaTable | None:
        """Return the newest version, or None while nothing has been written."""
        if self._table is not None:
            if self._is_behind or self._others_have_committed():
                self._read_commits(self._table)
        elif (self.root / "_delta_log").is_dir():
            self._table = DeltaTable(self.root)
            self._version = self._table.version()
        return self._table

    def _others_have_committed(self) -> bool:
        """Return whether there is a version after the newest known one; versions are numbered without gaps.

        Looking for its file takes a hundredth of the time of asking delta-rs.
        """
        log, after = self.root / "_delta_log", self._version + 1
        return (log / f"{after:020d}.json").exists() or not (log / f"{after - 1:020d}.json").exists()

    def _read_commits(self, table: DeltaTable) -> None:
        table.update_incremental()
        self._version, self._is_behind = table.version(), False
        self._transactions.clear()

    @property
    def current(self) -> DeltaTable:
        """The version after `create` or the last commit. Only the holder of the lock may use it."""
        if self._table is None:
            raise RuntimeError(f"{self.root.name} was not opened by create()")
        if self._is_behind:  # reading a commit takes longer than writing it, so it is done only when needed
            self._read_commits(self._table)
        return self._table

    def transaction_version(self, application: str) -> int | None:
        """Return the version of an application's last transaction. Only the holder of the lock may ask."""
        if application in self._transactions:
            return self._transactions[application]
        return self.current.transaction_version(application)

    def listing(self) -> pl.DataFrame:
        """Return the files of the newest version with Delta's statistics.

        `path` is absolute, `logged_as` is the path in the table's log.


        Listing them again takes longer than reading some of them, so the list is kept until the version changes.
        """
        table = self.snapshot()
        if table is None:
            return _NO_FILES
        version, files = self._listing
        if version != table.version():
            version, actions = table.version(), pl.DataFrame(table.get_add_actions(flatten=True))
            paths = [str(self.root / unquote(path)) for path in actions["path"]]
            named = actions.rename({"path": "logged_as"}).with_columns(path=pl.Series(paths, dtype=pl.String))
            files = named if paths else _NO_FILES
            self._listing = version, files
        return files

    def create(self) -> None:
        """Open the newest version for commits; the caller holds the lock.

        A table that does not exist is created, under another name first, so that no reader sees an incomplete one.
        """
        if self._table is not None and not self._others_have_committed():
            return
        if self.snapshot() is not None:
            return
        draft = self.root.with_name(f".{self.root.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        fields = Schema.from_arrow(self._schema.to_frame().to_arrow().schema)
        DeltaTable.create(draft, fields, partition_by=["day"] if self._by_day else None)
        for path in (*(draft / "_delta_log").iterdir(), draft / "_delta_log", draft):
            sync(path)
        draft.rename(self.root)
        sync(self.root.parent)
        self._table = DeltaTable(self.root)
        self._version = self._table.version()

    def append(self, rows: pl.DataFrame, *, transaction: tuple[str, int] | None = None) -> int:
        """Append rows in one commit; when this returns they are on disk.

        Args:
            rows: columns of the table's schema.
            transaction: application id and version to record in the commit.

        Returns:
            The number of the new version.
        """
        actions = self.written([rows]) if not self._by_day else []
        if self._by_day:
            for (day,), part in rows.partition_by("day", as_dict=True, include_key=False).items():
                actions += self.written([part], day=str(day))
        if transaction:
            actions.append({"txn": {"appId": transaction[0], "version": transaction[1]}})
        version = self._commit(actions, "WRITE")
        self._transactions.update([transaction] if transaction else [])
        return version

    def written(self, frames: Any, *, day: str | None = None, **options: int) -> list[Action]:
        """Write rows to files that no commit refers to yet. See `write_files`."""
        return write_files(self.root, frames, self._layout, day=day, **options)

    def replace(self, files: pl.DataFrame, actions: Sequence[Action]) -> None:
        """Replace some files of `listing` by new ones with the same data, in one commit."""
        for action in actions:
            action["add"]["dataChange"] = False
        gone = [{"remove": {"path": path, "dataChange": False}} for path in files["logged_as"]]
        self._commit([*gone, *actions], "OPTIMIZE")

    def _commit(self, actions: Sequence[Action], operation: str) -> int:
        """Write the next version: its file is complete and on disk before it gets its name."""
        log, version = self.root / "_delta_log", self._version + 1
        draft = log / "_commit_penstock.json.tmp"
        _write_commit(draft, actions, operation)
        os.link(draft, log / f"{version:020d}.json")
        draft.unlink()
        sync(log)
        self._version, self._is_behind = version, True
        if version % _CHECKPOINT_EVERY == 0:
            self.current.create_checkpoint()
            self.current.cleanup_metadata()
            self.sync_log()
        return version

    def sync_log(self) -> None:
        """Flush to disk what delta-rs has written to the newest version's log."""
        log, version = self.root / "_delta_log", self.current.version()
        for path in (*log.glob(f"{version:020d}.*"), *log.glob("_last_checkpoint"), log):
            sync(path)


def _write_commit(draft: Path, actions: Sequence[Action], operation: str) -> None:
    """Write a version's file and sync it; removed files get the time of the commit."""
    with draft.open("w", encoding="utf-8") as file:
        at = os.fstat(file.fileno()).st_mtime_ns // 10**6
        for action in actions:
            action.get("remove", {}).update(deletionTimestamp=at)
        head = {"commitInfo": {"timestamp": at, "operation": operation, "engineInfo": "penstock"}}
        file.writelines(json.dumps(action) + "\n" for action in [head, *actions])
        file.flush()
        os.fsync(file.fileno())
