"""Parses the cells of an exported file: numbers, texts, qualities, and the words that historians write instead.

Pure. Nothing is guessed: a cell that cannot be parsed with certainty goes to quarantine with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import polars as pl

from bridge.drivers.files.dialect import Dialect
from bridge.drivers.files.fields import numbers
from bridge.drivers.files.qualities import graded, unknown_quality
from bridge.drivers.files.times import FAULT, GIVEN, ROW
from bridge.drivers.files.vocabulary import Quality
from bridge.drivers.raw_rows import RawRows
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
    is_bad,
)
from historian.samples import SCHEMA

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

_AMBIGUOUS: Final = frozenset({"bad", "configure", "error", "shutdown"})
"""System states that may as well be states of a machine: of a tag of kind state they are its text."""
_ERROR_CODE: Final = r"^\[-\d+\]\s"
"""Begins a message of PI in place of a value: [-11059] No Good Data For Calculation."""
_BOOLEANS: Final = {"true": 1.0, "false": 0.0}
_LIKE_A_NUMBER: Final = r"^[+-]?\d[\d.,' \u00A0\u202F\u2019]*$"


class Parsed(NamedTuple):
    """Parsed cells: samples and rejected rows."""

    rows: RawRows
    """What could be parsed."""
    rejected: pl.DataFrame
    """Rejected samples or stretches, with a reason and detail; a timestamp that could not be parsed is null, and the
    detail quotes it."""


def parse_cells(cells: pl.DataFrame, *, origin: str, dialect: Dialect, quality: Quality | None = None) -> Parsed:
    """Divide cells into samples and rejected rows.

    In place of a number, a system state becomes a Bad row that keeps the word, and an empty cell a Bad row without
    data; any other text is rejected. Text of a state is Bad if it is a system state and none of the point's `states`.

    Args:
        cells: columns `row` (its number in the file), `tag`, `is_text`, `states` (its declared ones, in lower case),
            `instant`, `fault`, `given` (the text at fault), `number` or `word` (the cell as text), and `grade` (the
            quality as text).
        origin: name of the file.
        dialect: how numbers are written.
        quality: the vocabulary of `grade`; every row is Good if None.
    """
    word = pl.col("word").str.strip_chars()
    cells = cells.with_columns(
        word=word,
        number=pl.col("number").fill_null(numbers(word, dialect)),
        quality=graded(quality, "grade"),
        text=pl.lit(None, pl.String),
    )
    # Nearly all cells are plain numbers of a known quality; only the others need the slower path.
    plain = (
        ~pl.col("is_text") & pl.col("number").is_not_null() & pl.col("fault").is_null() & (pl.col("quality") == GOOD)
    )
    odd = _parse_words(cells.filter(~plain.fill_null(value=False)), unknown_quality(quality))
    kept = pl.concat([cells.filter(plain), odd.filter(pl.col("fault").is_null())])
    sample = {"timestamp": pl.col("instant"), "value": pl.col("number")}
    return Parsed(
        RawRows(kept.select("tag", "text", "quality", **sample).select(SCHEMA.names())),
        _rejected(odd.filter(pl.col("fault").is_not_null()), origin),
    )


def malformed_rows(rows: pl.DataFrame, *, origin: str) -> pl.DataFrame:
    """Return rows that cannot be divided into columns (columns of `MALFORMED`) as rejected rows of no tag."""
    return _rejected(
        rows.select(
            tag=pl.lit(None, pl.String),
            instant=pl.lit(None, SCHEMA["timestamp"]),
            word=pl.col(GIVEN),
            fault=pl.col(FAULT),
            row=pl.col(ROW),
            given=pl.col(GIVEN),
        ),
        origin,
    )


def _rejected(cells: pl.DataFrame, origin: str) -> pl.DataFrame:
    return cells.select(
        "tag",
        timestamp="instant",
        value=pl.lit(None, pl.Float64),
        text="word",
        quality=pl.lit(BAD_DECODING_ERROR, pl.UInt32),
        reason="fault",
        detail=detail_of(origin),
    )


def _parse_words(cells: pl.DataFrame, unknown: str) -> pl.DataFrame:
    """Find number, text, quality and fault of cells that are not plain numbers."""
    word, number, quality, is_text = pl.col("word"), pl.col("number"), pl.col("quality"), pl.col("is_text")
    lower = word.str.to_lowercase()
    state = _system_state(lower)
    truth = lower.replace_strict(_BOOLEANS, default=None, return_dtype=pl.Float64)
    empty = number.is_null() & (word.is_null() | (word == ""))
    implied = pl.when(empty).then(pl.lit(BAD_NO_DATA, pl.UInt32)).otherwise(state)
    readable = empty | is_text | number.is_not_null() | truth.is_not_null() | state.is_not_null()
    ungraded = quality.is_null() & implied.is_null()
    written = pl.when(word.str.contains(_LIKE_A_NUMBER)).then(pl.lit("not a number; see decimal and thousands"))
    return cells.with_columns(
        number=pl.when(~is_text).then(number.fill_null(truth)),
        text=pl.when(~empty & (is_text | state.is_not_null())).then(word),
        quality=pl.when(is_bad(quality)).then(quality).otherwise(implied.fill_null(quality)),
        fault=pl.coalesce(
            "fault",
            pl.when(ungraded).then(pl.lit(unknown)),
            pl.when(~readable).then(pl.coalesce(written, pl.lit("not a number"))),
        ),
        given=pl.coalesce("given", pl.when(ungraded).then(pl.col("grade").fill_null("")), word),
    )


def _system_state(lower: pl.Expr) -> pl.Expr:
    """Return the quality that a word in place of a value stands for, null if it is none."""
    coded = pl.when(lower.str.contains(_ERROR_CODE)).then(pl.lit(BAD_NO_DATA, pl.UInt32))
    state = lower.replace_strict(SYSTEM_STATES, default=None, return_dtype=pl.UInt32).fill_null(coded)
    own = lower.is_in(_AMBIGUOUS) | pl.col("states").list.contains(lower)
    return pl.when(~(pl.col("is_text") & own.fill_null(value=False))).then(state)


def detail_of(origin: str) -> pl.Expr:
    """Return the details of a rejected row: the file, the row, and the text at fault (columns `row` and `given`)."""
    return pl.format('{} row {}: "{}"', pl.lit(origin), "row", pl.col("given").fill_null(""))
