"""Parses the cells of an exported file: instants, numbers, qualities, and the words that historians write instead.

Pure. Nothing is guessed: a cell that cannot be parsed with certainty goes to quarantine with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import polars as pl

from bridge.drivers.raw_rows import RawRows
from historian.errors import SourceError
from historian.quality import (
    BAD,
    BAD_COMMUNICATION_ERROR,
    BAD_DECODING_ERROR,
    BAD_NO_DATA,
    BAD_NOT_CONNECTED,
    BAD_OUT_OF_RANGE,
    BAD_SENSOR_FAILURE,
    BAD_TIMEOUT,
    GOOD,
    NAMES,
    is_bad,
)
from historian.samples import SCHEMA

ROW: Final = "#row"
INSTANT: Final = "#instant"
FAULT: Final = "#fault"
GIVEN: Final = "#given"
"""Names of columns that the driver adds to those of a file; no historian names a tag like this."""

SYSTEM_STATES: Final[Mapping[str, int]] = {
    "bad": BAD,
    "bad input": BAD_SENSOR_FAILURE,
    "bad quality": BAD,
    "calc failed": BAD,
    "comm fail": BAD_COMMUNICATION_ERROR,
    "configure": BAD,
    "error": BAD,
    "i/o timeout": BAD_TIMEOUT,
    "intf shut": BAD_NOT_CONNECTED,
    "no data": BAD_NO_DATA,
    "no result": BAD_NO_DATA,
    "no sample": BAD_NO_DATA,
    "not connect": BAD_NOT_CONNECTED,
    "out of serv": BAD_NOT_CONNECTED,
    "over range": BAD_OUT_OF_RANGE,
    "pt created": BAD_NO_DATA,
    "scan off": BAD_NO_DATA,
    "scan timeout": BAD_TIMEOUT,
    "shutdown": BAD_NOT_CONNECTED,
    "under range": BAD_OUT_OF_RANGE,
}
"""Word in place of a number, in lower case -> quality: the usual digital states of AVEVA PI and similar historians."""

_BOOLEANS: Final = {"true": 1.0, "false": 0.0}
_ZONED: Final = "%Y-%m-%dT%H:%M:%S%.f%#z"
_NAIVE: Final = "%Y-%m-%dT%H:%M:%S%.f"


class Parsed(NamedTuple):
    """Parsed cells: samples and rejected rows."""

    rows: RawRows
    """What could be parsed."""
    rejected: pl.DataFrame
    """Rejected samples or stretches, with a reason and detail; a timestamp that could not be parsed is null, and the
    detail quotes it."""


def with_instants(frame: pl.DataFrame, column: str, *, zone: str | None, pattern: str | None = None) -> pl.DataFrame:
    """Parse a column of times and add `INSTANT` (UTC, microseconds), `FAULT` and `GIVEN`.

    `FAULT` says why a row has no instant, and `GIVEN` is the text at fault. A local time that a clock change repeats or
    skips has no instant.

    Args:
        frame: rows of a file.
        column: name of the column.
        zone: time zone of times without one.
        pattern: strptime pattern of the text; ISO 8601 with or without a zone if None.

    Raises:
        SourceError: times have no zone and `zone` is None.
    """
    given = frame.get_column(column)
    text = given.cast(pl.String).str.strip_chars()
    zoned, naive = _parsed(given, text, pattern)
    if zone is None and naive.null_count() < naive.len():
        raise SourceError(
            f'the times in column "{column}", such as {text.filter(naive.is_not_null())[0]}, have no zone; '
            'say which local time they are with timezone = "Europe/Berlin" or the like'
        )
    local = naive.dt.replace_time_zone(zone or "UTC", ambiguous="null", non_existent="null")
    instant = zoned.fill_null(local.dt.convert_time_zone("UTC"))
    fault = quoted = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    if instant.null_count():
        fault = _faults(instant, text, naive, zone or "UTC")
        quoted = text.zip_with(instant.is_null(), quoted)
    return frame.with_columns(instant.alias(INSTANT), fault.alias(FAULT), quoted.alias(GIVEN))


def _faults(instant: pl.Series, text: pl.Series, naive: pl.Series, zone: str) -> pl.Series:
    """Return why there is no instant, null where there is one."""
    earlier = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    empty = pl.col("text").is_null() | (pl.col("text") == "")
    return (
        pl.DataFrame({"instant": instant, "text": text, "naive": naive, "earlier": earlier})
        .select(
            pl.when(pl.col("instant").is_not_null())
            .then(None)
            .when(empty)
            .then(pl.lit("the timestamp is empty"))
            .when(pl.col("naive").is_null())
            .then(pl.lit("the timestamp cannot be read; see timestamp_format"))
            .when(pl.col("earlier").is_null())
            .then(pl.lit(f"the local time does not exist in {zone}: the clock skips it"))
            .otherwise(pl.lit(f"the local time occurs twice in {zone}: the clock is set back"))
        )
        .to_series()
        .cast(pl.String)
    )


def _parsed(given: pl.Series, text: pl.Series, pattern: str | None) -> tuple[pl.Series, pl.Series]:
    """Return the column as UTC instants where it has a zone, and as naive times where it has none."""
    nothing = pl.Series([None], dtype=pl.Datetime("us")).new_from_index(0, given.len())
    if isinstance(given.dtype, pl.Datetime):
        times = given.cast(pl.Datetime("us", given.dtype.time_zone))
        if given.dtype.time_zone is None:
            return nothing.dt.replace_time_zone("UTC"), times
        return times.dt.convert_time_zone("UTC"), nothing
    if pattern is not None:
        times = text.str.to_datetime(pattern, time_unit="us", strict=False)
        return (times, nothing) if "%z" in pattern or "%#z" in pattern else (nothing.dt.replace_time_zone("UTC"), times)
    iso = text.str.replace(" ", "T", literal=True)
    has_zone = iso.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$")
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, iso.len())
    zoned, naive = iso.zip_with(has_zone, absent), absent.zip_with(has_zone, iso)
    return (
        zoned.str.to_datetime(_ZONED, time_unit="us", strict=False),
        naive.str.to_datetime(_NAIVE, time_unit="us", strict=False),
    )


def parse_cells(cells: pl.DataFrame, *, origin: str, decimal: str = ".") -> Parsed:
    """Divide cells into samples and rejected rows.

    In place of a number, a system state becomes a Bad row that keeps the word, and an empty cell a Bad row without
    data; any other text is rejected.

    Args:
        cells: columns `row` (its number in the file), `tag`, `is_text`, `instant`, `fault`, `given` (the text at
            fault), `number` or `word` (the cell as text), and `grade` (the quality as text, null if there is none).
        origin: name of the file.
        decimal: decimal separator.
    """
    word = pl.col("word").str.strip_chars()
    digits = word.str.replace(",", ".", literal=True) if decimal == "," else word
    cells = cells.with_columns(
        word=word,
        number=pl.col("number").fill_null(digits.cast(pl.Float64, strict=False)),
        quality=_graded(),
        text=pl.lit(None, pl.String),
    )
    # Nearly all cells are plain numbers of a known quality; only the others need the slower path.
    plain = (
        ~pl.col("is_text") & pl.col("number").is_not_null() & pl.col("fault").is_null() & (pl.col("quality") == GOOD)
    )
    odd = _parse_words(cells.filter(~plain.fill_null(value=False)))
    kept = pl.concat([cells.filter(plain), odd.filter(pl.col("fault").is_null())])
    rejected = odd.filter(pl.col("fault").is_not_null())
    sample = {"timestamp": pl.col("instant"), "value": pl.col("number")}
    return Parsed(
        RawRows(kept.select("tag", "text", "quality", **sample).select(SCHEMA.names())),
        rejected.select(
            "tag",
            timestamp="instant",
            value=pl.lit(None, pl.Float64),
            text="word",
            quality=pl.lit(BAD_DECODING_ERROR, pl.UInt32),
            reason="fault",
            detail=detail_of(origin),
        ),
    )


def _parse_words(cells: pl.DataFrame) -> pl.DataFrame:
    """Find number, text, quality and fault of cells that are not plain numbers."""
    word, number, quality, is_text = pl.col("word"), pl.col("number"), pl.col("quality"), pl.col("is_text")
    lower = word.str.to_lowercase()
    state = pl.when(~is_text).then(lower.replace_strict(SYSTEM_STATES, default=None, return_dtype=pl.UInt32))
    truth = lower.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Float64)
    empty = number.is_null() & (word.is_null() | (word == ""))
    implied = pl.when(empty).then(pl.lit(BAD_NO_DATA, pl.UInt32)).otherwise(state)
    readable = empty | is_text | number.is_not_null() | truth.is_not_null() | state.is_not_null()
    return cells.with_columns(
        number=pl.when(~is_text).then(number.fill_null(truth)),
        text=pl.when(~empty & (is_text | state.is_not_null())).then(word),
        quality=pl.when(is_bad(quality)).then(quality).otherwise(implied.fill_null(quality)),
        fault=pl.coalesce(
            "fault",
            pl.when(quality.is_null()).then(
                pl.lit("the quality is unknown; it must be a StatusCode or its name, such as Good")
            ),
            pl.when(~readable).then(pl.lit("not a number")),
        ),
        given=pl.coalesce("given", pl.when(quality.is_null()).then("grade"), word),
    )


def detail_of(origin: str) -> pl.Expr:
    """Return the details of a rejected row: the file, the row, and the text at fault (columns `row` and `given`)."""
    return pl.format('{} row {}: "{}"', pl.lit(origin), "row", pl.col("given").fill_null(""))


def _graded() -> pl.Expr:
    """Return the column `grade` as StatusCode: a name, a decimal or a hexadecimal number; Good where it is null."""
    grade = pl.col("grade").str.strip_chars().str.to_lowercase()
    names = {name.lower(): code for code, name in NAMES.items()}
    return (
        pl.when(grade.is_null() | (grade == ""))
        .then(pl.lit(GOOD, pl.UInt32))
        .when(grade.str.starts_with("0x"))
        .then(grade.str.strip_prefix("0x").str.to_integer(base=16, strict=False).cast(pl.UInt32, strict=False))
        .otherwise(grade.cast(pl.UInt32, strict=False))
        .fill_null(grade.replace_strict(names, default=None, return_dtype=pl.UInt32))
    )
