"""The limits of a tag: every sample is either accepted or rejected with a reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from bridge.ingest.contracts.limits import contract_of
from bridge.ingest.contracts.rules import Rule, apply_rules
from historian.plant.connections import Tag
from historian.quality import BAD, BAD_TIMEOUT, UNCERTAIN
from historian.samples import SCHEMA, SampleBatch, newest_wins, sample_batch

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, YEAR = timedelta(hours=1), timedelta(days=365)
Row = tuple[str, datetime, float | None, str | None, int]


@pytest.fixture
def rules(make_tag: Callable[..., Tag]) -> tuple[Rule, ...]:
    """The live contract of a temperature with a range, a speed without, and a state."""
    oil = make_tag("oil", range=(-20.0, 150.0), unit="degC")
    return contract_of([oil, make_tag("speed", kind="speed"), make_tag("state", kind="state")], live=True)


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
        (("oil", NOW + 25 * HOUR, 20.0, None, 0), "timestamp more than a day in the future"),
        (("oil", NOW + 25 * HOUR, None, None, BAD), "timestamp more than a day in the future"),
        (("oil", NOW - 9 * YEAR, 20.0, None, 0), None),
        (("oil", NOW - 11 * YEAR, 20.0, None, 0), "timestamp more than ten years old"),
        (("oil", datetime(2000, 1, 1, tzinfo=UTC), 20.0, None, 0), "timestamp more than ten years old"),
        (("oil", datetime(1970, 1, 1, tzinfo=UTC), None, None, BAD), "timestamp more than ten years old"),
        (("nobody", NOW, 1.0, None, BAD), "unknown tag"),
    ],
)
def test_a_sample_is_accepted_or_rejected(rules: tuple[Rule, ...], row: Row, reason: str | None) -> None:
    """It is checked by tag, time, type and range; a Bad sample only by tag and time."""
    verdict = apply_rules(batch(row), rules, now=NOW)
    assert verdict.rejected["reason"].to_list() == ([reason] if reason else [])
    assert_frame_equal(pl.concat([verdict.accepted, verdict.rejected.select(SCHEMA.names())]), batch(row))


@pytest.mark.parametrize(
    ("instant", "reason"),
    [
        (datetime(1985, 6, 1, tzinfo=UTC), []),
        (datetime(1970, 1, 1, tzinfo=UTC), ["timestamp before 1980"]),
        (datetime(1899, 12, 30, tzinfo=UTC), ["timestamp before 1980"]),
        (datetime(1, 1, 1, tzinfo=UTC), ["timestamp before 1980"]),
    ],
)
def test_an_archive_may_be_old_but_not_from_the_zero_of_a_clock(
    make_tag: Callable[..., Tag], instant: datetime, reason: list[str]
) -> None:
    """Unix, OLE and .NET write the zero of their clock where there is no time."""
    rules = contract_of([make_tag("oil")], live=False)
    assert apply_rules(batch(("oil", instant, 1.0, None, 0)), rules, now=NOW).rejected["reason"].to_list() == reason


rows = st.tuples(
    st.sampled_from(["oil", "speed", "state", "nobody"]),
    st.integers(-40, 40).map(lambda hours: NOW + hours * HOUR),
    st.none() | st.floats(-200, 200),
    st.none() | st.text(max_size=3),
    st.sampled_from([0, UNCERTAIN, BAD, BAD_TIMEOUT]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, max_size=30))
def test_no_sample_is_lost_or_changed(rules: tuple[Rule, ...], given_rows: list[Row]) -> None:
    """Accepted and rejected samples together are the batch, and the accepted ones form a valid batch."""
    given_batch = batch(*given_rows)
    verdict = apply_rules(given_batch, rules, now=NOW)
    sample_batch(verdict.accepted)
    both = pl.concat([verdict.accepted, verdict.rejected.select(SCHEMA.names())])
    assert_frame_equal(both.sort("tag", "timestamp"), given_batch)
    assert verdict.rejected["reason"].null_count() == 0


def test_a_sample_is_held_to_the_range_of_its_time(make_tag: Callable[..., Tag]) -> None:
    """The history of an older sensor is not refused because the present one has another range; order stays."""
    since = NOW - 10 * HOUR
    wider = ((datetime.min.replace(tzinfo=UTC), (0.0, 50.0)), (since, (0.0, 100.0)), (NOW, None))
    tags = [make_tag("b", range=None, ranges=wider), make_tag("a", range=(0.0, 10.0))]
    times = [since - HOUR, since, NOW]
    given_rows = batch(*((name, time, 70.0, None, 0) for name in ("a", "b") for time in times))
    found = apply_rules(given_rows, contract_of(tags, live=True), now=NOW)
    assert_frame_equal(found.accepted, given_rows[4:])
    reasons = ["outside its range [0, 10]"] * 3 + ["outside its range [0, 50]"]
    assert found.rejected["reason"].to_list() == reasons


tags_of_rules = st.sampled_from(["oil", "speed", "state", "nobody"])
times = st.sampled_from([NOW, NOW + 24 * HOUR, NOW + 25 * HOUR, NOW - 9 * YEAR, NOW - 11 * YEAR])
any_row = st.tuples(
    tags_of_rules,
    times,
    st.none() | st.sampled_from([-21.0, 20.0, 151.0]),
    st.none() | st.sampled_from(["", "RUN"]),
    st.sampled_from([0, UNCERTAIN, BAD]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_row)
def test_a_batch_is_only_passed_unseen_if_no_row_has_a_reason(rules: tuple[Rule, ...], row: Row) -> None:
    """Most batches break no rule, which is found without working out reasons; both ways must agree."""
    [rule] = rules
    alone, accompanied = batch(row), batch(row, ("none", NOW, 1.0, None, 0))
    found = rule.check(alone, now=NOW).reasons
    among = rule.check(accompanied, now=NOW).reasons
    assert among is not None
    [expected] = [reason for tag, reason in zip(accompanied["tag"], among, strict=True) if tag == row[0]]
    assert (None if found is None else found[0]) == expected
