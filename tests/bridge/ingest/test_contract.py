"""The contract: every sample lands on exactly one side, and the reason says why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.ingest.contract import contract, identified, judged
from historian.plant.connections import Tag
from historian.quality import BAD, BAD_TIMEOUT, UNCERTAIN
from historian.samples import SCHEMA, SampleBatch, newest_wins, sample_batch

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
Row = tuple[str, datetime, float | None, str | None, int]


@pytest.fixture
def terms(make_tag: Callable[..., Tag]) -> pl.DataFrame:
    """A temperature with a range, a speed without, and a state."""
    oil = make_tag("oil", range=(-20.0, 150.0), unit="degC")
    return contract([oil, make_tag("speed", kind="speed"), make_tag("state", kind="state")])


def batch(*rows: Row) -> SampleBatch:
    """A batch of the rows given."""
    return sample_batch(newest_wins(pl.DataFrame(rows, schema=SCHEMA, orient="row")))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("oil", NOW, 20.0, None, 0), None),
        (("oil", NOW, -20.0, None, 0), None),
        (("oil", NOW, 150.0, None, UNCERTAIN), None),
        (("oil", NOW, 150.1, None, 0), "outside its range [-20, 150] degC"),
        (("oil", NOW, -21.0, None, UNCERTAIN), "outside its range [-20, 150] degC"),
        (("oil", NOW, 9999.0, None, BAD), None),
        (("oil", NOW, None, None, BAD_TIMEOUT), None),
        (("oil", NOW, None, None, 0), "no value, though its quality is not Bad"),
        (("oil", NOW, None, "hot", 0), "text for a numeric tag"),
        (("oil", NOW, 20.0, "hot", 0), "text for a numeric tag"),
        (("oil", NOW, None, "I/O Timeout", BAD), None),
        (("speed", NOW, 1e300, None, 0), None),
        (("state", NOW, None, "RUN", 0), None),
        (("state", NOW, None, "", 0), None),
        (("state", NOW, 1.0, None, 0), "a number for a text tag"),
        (("state", NOW, None, None, BAD), None),
        (("oil", NOW + 24 * HOUR, 20.0, None, 0), None),
        (("oil", NOW + 25 * HOUR, 20.0, None, 0), "more than a day in the future"),
        (("oil", NOW + 25 * HOUR, None, None, BAD), "more than a day in the future"),
        (("nobody", NOW, 1.0, None, BAD), "unknown tag"),
    ],
)
def test_a_sample_is_judged(terms: pl.DataFrame, row: Row, reason: str | None) -> None:
    """By its tag, its time, its type and its range; a Bad one by tag and time alone."""
    verdict = judged(batch(row), terms, now=NOW)
    assert verdict.rejected["reason"].to_list() == ([reason] if reason else [])
    assert_frame_equal(pl.concat([verdict.accepted, verdict.rejected.drop("reason")]), batch(row))


rows = st.tuples(
    st.sampled_from(["oil", "speed", "state", "nobody"]),
    st.integers(-40, 40).map(lambda hours: NOW + hours * HOUR),
    st.none() | st.floats(-200, 200),
    st.none() | st.text(max_size=3),
    st.sampled_from([0, UNCERTAIN, BAD, BAD_TIMEOUT]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, max_size=30))
def test_no_sample_is_lost_or_changed(terms: pl.DataFrame, given_rows: list[Row]) -> None:
    """Accepted and rejected together are the batch, and what was accepted is a batch still."""
    given_batch = batch(*given_rows)
    verdict = judged(given_batch, terms, now=NOW)
    sample_batch(verdict.accepted)
    both = pl.concat([verdict.accepted, verdict.rejected.drop("reason")])
    assert_frame_equal(both.sort("tag", "timestamp"), given_batch)
    assert verdict.rejected["reason"].null_count() == 0


def test_rows_without_tag_time_or_quality_are_set_apart() -> None:
    """They cannot be samples; the others go on as they are."""
    good: list[tuple[object, ...]] = [("oil", NOW, 1.0, None, 0)]
    nameless = [(None, NOW, 1.0, None, 0), ("oil", None, 1.0, None, 0), ("oil", NOW, 1.0, None, None)]
    frame = pl.DataFrame(good + nameless, schema=SCHEMA, orient="row")
    usable, rest = identified(frame)
    assert_frame_equal(usable, frame[:1])
    assert_frame_equal(rest, frame[1:].with_columns(reason=pl.lit("no tag, time or quality")))
