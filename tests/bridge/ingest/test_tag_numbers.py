"""Tags as numbers."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from bridge.drivers.raw_rows import RawRows
from bridge.ingest.tag_numbers import Spans, TagNumbers
from historian.samples import SCHEMA

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def test_only_known_tags_have_numbers() -> None:
    """They are those of their order; whoever asks for another tag, or for none, gets -1."""
    numbers = TagNumbers(["b", "a"])
    assert numbers.of(pl.Series(["a", None, "b", "c", "a"])).tolist() == [1, -1, 0, -1, 1]
    assert numbers.of(pl.Series([], dtype=pl.String)).tolist() == []


def test_spans_mark_the_first_row_of_each_tag() -> None:
    """Rows of unknown tags, and those without a time, are left out."""
    given = [("a", T0), ("c", T0), ("b", None), ("b", T0), ("a", T0)]
    rows = pl.DataFrame([(*each, 1.0, None, 0) for each in given], schema=SCHEMA, orient="row")
    spans = Spans(RawRows(rows), TagNumbers(["b", "a"]))
    assert (spans.tag.tolist(), spans.head.tolist()) == ([1, 0, 1], [True, True, False])
