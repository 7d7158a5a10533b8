"""A training set's contents as one number, independent of the format and of the library that wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import polars as pl


def digest(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal.

    Args:
        content: Any bytes.
    """
    return hashlib.sha256(content).hexdigest()


def content_hash(frame: pl.DataFrame) -> str:
    """Return the SHA-256 over names, types and values, in hexadecimal; the same in whatever format they are written.

    Args:
        frame: Columns and rows in order.
    """
    hashed = hashlib.sha256()
    for column in frame:
        hashed.update(f"{column.name}\0{column.dtype}\0{len(column)}\0".encode())
        hashed.update(column.is_null().to_numpy().tobytes())
        for part in _parts(column):
            hashed.update(part)
    return hashed.hexdigest()


def _parts(column: pl.Series) -> Iterator[bytes]:
    if column.dtype == pl.String():
        yield column.fill_null("").str.len_bytes().to_numpy().tobytes()
        yield (column.str.join("").item() or "").encode()
    elif column.dtype.is_nested() or column.dtype.is_decimal() or column.dtype in (pl.Binary(), pl.Null()):
        yield repr(column.to_list()).encode()
    else:
        physical = column.to_physical()
        yield physical.fill_null(False if physical.dtype == pl.Boolean() else 0).to_numpy().tobytes()
