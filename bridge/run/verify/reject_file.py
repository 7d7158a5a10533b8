"""`quarantined.csv` of a report: every sample of the source that is in quarantine instead of the store, and why."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import file_digest
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import polars as pl

from bridge.run.verify.comparison import Key
from bridge.run.verify.rejects import REJECTS
from historian.errors import InvalidInput

NAME: Final = "quarantined.csv"
_TIMES: Final = "%Y-%m-%dT%H:%M:%S%.6fZ"


class RejectFile:
    """The file while it is written; it is in place under its name once it is complete."""

    def __init__(self, directory: Path) -> None:
        """Create the directory. Raises `InvalidInput` if it cannot be created or written."""
        self.rows = 0
        self._path = directory / NAME
        self._part = directory / f".{NAME}.part"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            REJECTS.to_frame().write_csv(self._part)
        except OSError as error:
            raise InvalidInput(f"the report cannot be written to {directory}: {error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._part.unlink(missing_ok=True)

    def add(self, rejects: pl.DataFrame) -> None:
        """Add samples, columns of `REJECTS`."""
        if rejects.is_empty():
            return
        with self._part.open("ab") as file:
            rejects.with_columns(pl.col("timestamp").dt.strftime(_TIMES)).write_csv(file, include_header=False)
        self.rows += rejects.height

    def forget(self, keys: Iterable[Key]) -> None:
        """Remove the samples of some tags' days, because they are compared again."""
        days = pl.DataFrame([(key.tag, f"{key.start:%Y-%m-%d}") for key in keys], ["tag", "day"], orient="row")
        rows = pl.read_csv(self._part, infer_schema=False).with_columns(day=pl.col("timestamp").str.head(10))
        kept = rows.join(days, on=["tag", "day"], how="anti", maintain_order="left").drop("day")
        kept.write_csv(self._part)
        self.rows = kept.height

    def finish(self) -> str:
        """Put the file in place and return its SHA-256."""
        self._part.replace(self._path)
        with self._path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
