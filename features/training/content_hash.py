"""What a training set holds as one number, whatever the format and whichever library wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import polars as pl


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def content_hash(frame: pl.DataFrame) -> str:
    """SHA-256 over names, types and values, row by row in order: the same in whatever format they are written."""
    told = hashlib.sha256()
    for column in frame:
        told.update(f"{column.name}\0{column.dtype}\0{len(column)}\0".encode())
        told.update(column.is_null().to_numpy().tobytes())
        for part in _parts(column):
            told.update(part)
    return told.hexdigest()


def _parts(column: pl.Series) -> Iterator[bytes]:
    if column.dtype == pl.String():
        yield column.fill_null("").str.len_bytes().to_numpy().tobytes()
        yield (column.str.join("").item() or "").encode()
    elif column.dtype.is_nested() or column.dtype.is_decimal() or column.dtype in (pl.Binary(), pl.Null()):
        yield repr(column.to_list()).encode()
    else:
        physical = column.to_physical()
        yield physical.fill_null(False if physical.dtype == pl.Boolean() else 0).to_numpy().tobytes()
