"""Rows that a database returned as a page of samples, by the rules that hold for the cells of files. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import polars as pl

from bridge.drivers.files.dialect import Dialect
from bridge.drivers.files.qualities import graded
from bridge.drivers.files.values import Parsed, parse_cells
from bridge.drivers.files.vocabulary import Quality
from bridge.drivers.protocols import Page
from bridge.drivers.raw_rows import RawRows
from historian.plant.connections import Tag
from historian.quality import GOOD
from historian.samples import SCHEMA
from historian.state_values import state_of_number

CELLS: Final = pl.Schema(
    {
        "tag": SCHEMA["tag"],
        "timestamp": SCHEMA["timestamp"],
        "number": SCHEMA["value"],
        "word": SCHEMA["text"],
        "grade": pl.String(),
        "fault": pl.String(),
    }
)
"""Columns of rows: `word` is the value that is text, `grade` the quality as text, `fault` why there is no timestamp."""
_DIALECT: Final = Dialect()


def page_of(rows: pl.DataFrame, tags: Collection[Tag], *, origin: str, quality: Quality | None) -> Page:
    """Divide rows into samples and rejected rows.

    Args:
        rows: columns of `CELLS`; those that are absent are null.
        tags: the tags that the rows belong to.
        origin: the table or request, for messages.
        quality: the vocabulary of `grade`; every row is Good if None.
    """
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in CELLS.items() if name not in rows.columns]
    complete = rows.with_columns(absent)
    plain = complete.select(_is_plain(complete, tags, quality)).to_series()
    kept = complete.filter(plain).select(
        "tag", "timestamp", value="number", text=pl.lit(None, SCHEMA["text"]), quality=pl.lit(GOOD, SCHEMA["quality"])
    )
    if plain.all():
        return Page(RawRows(kept), origin)
    parsed = _parsed(complete.filter(~plain), tags, origin, quality)
    return Page(RawRows(pl.concat([kept, parsed.rows.samples])), origin, parsed.rejected)


def _is_plain(rows: pl.DataFrame, tags: Iterable[Tag], quality: Quality | None) -> pl.Expr:
    """Return whether a row is a Good number, as nearly all are; the others take ten times as long."""
    plain = pl.col("number").is_not_null() & pl.col("fault").is_null()
    if states := [tag.name for tag in tags if tag.kind == "state"]:
        plain = plain & ~pl.col("tag").is_in(states)
    if quality is None:
        return plain
    grades = rows.select(pl.col("grade").unique())
    good = grades.filter((graded(quality, "grade") == GOOD).fill_null(value=False))["grade"]
    return plain if good.len() == grades.height else plain & pl.col("grade").is_in(good.implode(), nulls_equal=True)


def _parsed(rows: pl.DataFrame, tags: Iterable[Tag], origin: str, quality: Quality | None) -> Parsed:
    named = rows.join(_kinds(tags), on="tag", how="left", maintain_order="left")
    is_state_of_number = pl.col("is_text") & pl.col("word").is_null()
    cells = named.with_row_index("row").select(
        "row",
        "tag",
        "is_text",
        "states",
        "number",
        "grade",
        "fault",
        instant="timestamp",
        given=pl.col("fault").is_not_null().replace_strict({True: "", False: None}, return_dtype=pl.String),
        word=pl.when(is_state_of_number).then(state_of_number(pl.col("number"))).otherwise("word"),
    )
    return parse_cells(cells, origin=origin, dialect=_DIALECT, quality=quality)


def _kinds(tags: Iterable[Tag]) -> pl.DataFrame:
    """Return for each tag whether its value is text, and its declared states in lower case."""
    rows = [
        (tag.name, tag.kind == "state", [str(each).lower() for pair in tag.states.items() for each in pair])
        for tag in tags
    ]
    schema = {"tag": pl.String(), "is_text": pl.Boolean(), "states": pl.List(pl.String())}
    return pl.DataFrame(rows, schema=schema, orient="row")
