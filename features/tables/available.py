"""Errors of a feature table's files, as one error with advice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from deltalake.exceptions import CommitFailedError, DeltaError

from historian.errors import StoreUnavailable


@contextmanager
def available(path: Path) -> Iterator[None]:
    """Turn errors of Delta Lake and the disk into `StoreUnavailable` with advice; `path` is the table's directory."""
    try:
        yield
    except CommitFailedError:
        raise StoreUnavailable(
            f"another penstock compute writes to {path}; nothing is lost: run it again when that one is done"
        ) from None
    except (DeltaError, OSError, pl.exceptions.ComputeError) as error:
        raise StoreUnavailable(f"the feature table {path} cannot be used: {error}") from None
