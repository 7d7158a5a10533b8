"""Equal tables give equal bytes in every format, and CSV refuses what it cannot hold."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from features.training.formats import Format, write
from historian.errors import InvalidInput

ROWS = 1001
AT = datetime(2026, 7, 1, 10, tzinfo=UTC)


def written(table: pa.Table, as_format: Format) -> bytes:
    """The bytes of a file."""
    sink = io.BytesIO()
    write(table, sink, as_format)
    return sink.getvalue()


def with_anything_under_nulls(seed: int) -> pa.Table:
    """Always the same numbers, flags and texts, a third of them null, and other bytes below those."""
    random = np.random.default_rng(seed)
    null = np.arange(ROWS) % 3 == 0
    known = pa.py_buffer(np.packbits(np.append(~null, random.integers(0, 2, 7) > 0), bitorder="little").tobytes())
    numbers = np.where(null, random.normal(size=ROWS), np.arange(ROWS))
    flags = np.packbits(np.where(null, random.integers(0, 2, ROWS), 1), bitorder="little")
    texts = [f"under {random.integers(9)}" if hidden else f"seen {row}" for row, hidden in enumerate(null)]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    buffers = {
        pa.float64(): [numbers.tobytes()],
        pa.bool_(): [flags.tobytes()],
        pa.string(): [ends.tobytes(), "".join(texts).encode()],
    }
    columns = {
        str(dtype): pa.Array.from_buffers(dtype, ROWS, [known, *map(pa.py_buffer, parts)])
        for dtype, parts in buffers.items()
    }
    lists = pa.ListArray.from_arrays(pa.array(np.arange(ROWS + 1), pa.int32()), columns["double"], mask=pa.array(null))
    return pa.table({**columns, "list": lists})


@pytest.mark.parametrize("as_format", get_args(Format))
def test_what_lies_under_a_null_is_not_written(as_format: Format) -> None:
    """Chunks do not matter either: equal rows give equal bytes."""
    one, other = (with_anything_under_nulls(seed) for seed in (1, 2))
    if as_format == "csv":
        one, other = one.drop_columns(["list"]), other.drop_columns(["list"])
    assert one.equals(other)
    pieces = pa.concat_tables([other.slice(0, 7), other.slice(7)])
    assert written(one, as_format) == written(other, as_format) == written(pieces, as_format)


def test_csv_writes_instants_in_utc() -> None:
    """Any zone and unit is converted; a time without a zone stays one. Null and empty text differ."""
    at = pl.Series([AT])
    frame = pl.DataFrame(
        {
            "paris": at.dt.convert_time_zone("Europe/Paris"),
            "fine": at.cast(pl.Datetime("ns", "UTC")),
            "naive": at.dt.replace_time_zone(None),
            "none": pl.Series([None], dtype=pl.String),
            "empty": [""],
            "text": ['a,"b"'],
            "number": [0.1 + 0.2],
        }
    )
    assert written(frame.to_arrow(), "csv").decode().splitlines() == [
        "paris,fine,naive,none,empty,text,number",
        "2026-07-01T10:00:00.000000Z,2026-07-01T10:00:00.000000000Z,2026-07-01T10:00:00.000000,"
        ',"","a,""b""",0.30000000000000004',
    ]


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, b"bytes", timedelta(hours=1)])
def test_csv_refuses_types_it_cannot_hold(value: Any) -> None:
    """The error names the column and says what to do."""
    with pytest.raises(InvalidInput, match="CSV has no room for what odd holds; write Parquet or Arrow"):
        written(pa.table({"asset": ["c101"], "odd": [value]}), "csv")
