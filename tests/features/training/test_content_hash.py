"""The hash of a training set depends only on names, types and values."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from features.training.content_hash import content_hash

FRAME = pl.DataFrame(
    {
        "at": pl.Series([datetime(2026, 3, 1, tzinfo=UTC), None], dtype=pl.Datetime("us", "UTC")),
        "rms": [1.5, None],
        "flag": [None, True],
        "note": ["ab", None],
        "list": [[1, 2], None],
    }
)


def test_it_does_not_depend_on_how_the_frame_came_about() -> None:
    """Chunks and the bytes under a null do not count."""
    chunked = pl.concat([FRAME.head(1), FRAME.tail(1)], rechunk=False)
    under = FRAME.with_columns(rms=pl.when(pl.col("rms").is_not_null()).then(pl.Series([1.5, 7.0])))
    assert content_hash(FRAME) == content_hash(chunked) == content_hash(under)


@pytest.mark.parametrize(
    "other",
    [
        FRAME.reverse(),
        FRAME.rename({"rms": "r"}),
        FRAME.cast({"rms": pl.Float32}),
        FRAME.with_columns(rms=pl.Series([1.5, 0.0])),
        FRAME.with_columns(note=pl.Series(["a", "b"])),
        FRAME.with_columns(note=pl.Series(["ab", ""])),
        FRAME.with_columns(list=pl.Series([[1], [2]])),
        FRAME.select(pl.all().exclude("flag")),
    ],
)
def test_anything_else_is_another_hash(other: pl.DataFrame) -> None:
    """Order, names, types, values, and null instead of an empty value change it."""
    assert content_hash(other) != content_hash(FRAME)
