"""The point-in-time join against a brute-force implementation of its definition."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feast.offline.point_in_time import CREATED, EVENT, ROW, as_of_rows, newest_rows

START = datetime(2026, 3, 1, tzinfo=UTC)
TIME = pl.Datetime("us", "UTC")
TTLS = (None, timedelta(0), timedelta(seconds=1), timedelta(seconds=4), timedelta(days=400))


def expected_rows(
    labels: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    keys: Sequence[str],
    *,
    ttl: timedelta | None,
    by_created: bool,
) -> list[int | None]:
    """Tries every feature row for every label; slow, and short enough to be checked by reading."""
    answer: list[int | None] = []
    for label in labels:
        best = None
        for row in rows:
            if any(row[key] is None or row[key] != label[key] for key in keys):
                continue
            if row[EVENT] is None or label[EVENT] is None or row[EVENT] > label[EVENT]:
                continue
            if ttl and row[EVENT] < label[EVENT] - ttl:
                continue
            if by_created and (row[CREATED] is None or row[CREATED] > label[EVENT]):
                continue
            rank = (row[EVENT], row[CREATED] is not None, row[CREATED] or START, row[ROW])
            if best is None or rank > best[0]:
                best = (rank, row[ROW])
        answer.append(best[1] if best else None)
    return answer


def seconds(numbers: Sequence[int | None]) -> list[datetime | None]:
    """Numbers as seconds after START."""
    return [None if number is None else START + timedelta(seconds=number) for number in numbers]


def frames(
    labels: Sequence[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]], keys: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The two sides of the join, from tuples of keys and times in seconds after START."""
    names = {key: pl.String() for key in keys}
    left = pl.DataFrame(
        [(*label[:-1], *seconds(label[-1:])) for label in labels], schema={**names, EVENT: TIME}, orient="row"
    )
    right = pl.DataFrame(
        [(*row[:-2], *seconds(row[-2:])) for row in rows], schema={**names, EVENT: TIME, CREATED: TIME}, orient="row"
    )
    return left, right.with_row_index(ROW)


@st.composite
def joins(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Both sides of a join, with ties, repeats, late rows and nulls about everywhere."""
    keys = ["asset", "sensor"][: draw(st.integers(0, 2))]
    key = st.sampled_from(["c1", "c2", None])
    when = st.one_of(st.integers(0, 9), st.none())
    labels = draw(st.lists(st.tuples(*[key] * len(keys), when), max_size=12))
    rows = draw(st.lists(st.tuples(*[key] * len(keys), when, when), max_size=25))
    return (*frames(labels, rows, keys), keys)


@settings(max_examples=80)
@given(join=joins(), ttl=st.sampled_from(TTLS), by_created=st.booleans())
def test_every_label_gets_the_row_brute_force_finds(
    join: tuple[pl.DataFrame, pl.DataFrame, list[str]], ttl: timedelta | None, *, by_created: bool
) -> None:
    """With ties, repeats, late rows and nulls each label gets the row the definition selects."""
    labels, rows, keys = join
    found = as_of_rows(labels, rows, keys, ttl=ttl, created_by_label_time=by_created)
    assert found.to_list() == expected_rows(labels.to_dicts(), rows.to_dicts(), keys, ttl=ttl, by_created=by_created)


@settings(max_examples=30, deadline=None)
@given(join=joins(), ttl=st.sampled_from(TTLS), by_created=st.booleans())
def test_nanoseconds_over_centuries_agree_with_brute_force(
    join: tuple[pl.DataFrame, pl.DataFrame, list[str]], ttl: timedelta | None, *, by_created: bool
) -> None:
    """Times that leave no room in 64 bits for a group's number give the same result."""
    quarter = timedelta(days=9_131) // timedelta(seconds=1)

    def scaled(*times: str) -> pl.Expr:
        return ((pl.col(times) - START) * quarter + START).cast(pl.Datetime("ns", "UTC"))

    labels, rows, keys = join
    labels, rows = labels.with_columns(scaled(EVENT)), rows.with_columns(scaled(EVENT, CREATED))
    found = as_of_rows(labels, rows.lazy(), keys, ttl=ttl, created_by_label_time=by_created)
    assert found.to_list() == expected_rows(labels.to_dicts(), rows.to_dicts(), keys, ttl=ttl, by_created=by_created)


@pytest.mark.parametrize("by_created", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_larger_random_tables_agree_with_brute_force(seed: int, *, by_created: bool) -> None:
    """400 rows with three versions of many values and 120 labels give the same answer as brute force."""
    random = np.random.default_rng(seed)
    rows = [
        (f"c{random.integers(5)}", event, event + int(random.integers(-2, 30)) if random.random() < 0.9 else None)
        for event in random.integers(0, 100, 400).tolist()
    ]
    labels = [(f"c{random.integers(6)}", int(random.integers(-5, 130))) for _ in range(120)]
    left, right = frames(labels, rows, ["asset"])
    ttl = timedelta(seconds=int(random.integers(0, 20)))
    found = as_of_rows(left, right, ["asset"], ttl=ttl, created_by_label_time=by_created)
    expected = expected_rows(left.to_dicts(), right.to_dicts(), ["asset"], ttl=ttl, by_created=by_created)
    assert found.to_list() == expected


def test_both_ends_of_the_time_to_live_count() -> None:
    """A row exactly at T and one exactly a TTL old are used; one microsecond older is not."""
    labels, rows = frames([("c1", 0), ("c1", 10), ("c1", 11)], [("c1", 0, 0)], ["asset"])
    found = as_of_rows(labels, rows, ["asset"], ttl=timedelta(seconds=10), created_by_label_time=False)
    assert found.to_list() == [0, 0, None]
    shorter = as_of_rows(
        labels, rows, ["asset"], ttl=timedelta(seconds=10) - timedelta(microseconds=1), created_by_label_time=False
    )
    assert shorter.to_list() == [0, None, None]


def test_a_correction_counts_only_once_it_was_made() -> None:
    """With `created_by_label_time` a label before the correction gets the first value, without it the corrected one."""
    labels, rows = frames([("c1", 5), ("c1", 20)], [("c1", 1, 2), ("c1", 1, 15)], ["asset"])
    then = as_of_rows(labels, rows, ["asset"], ttl=None, created_by_label_time=True)
    now = as_of_rows(labels, rows, ["asset"], ttl=None, created_by_label_time=False)
    assert (then.to_list(), now.to_list()) == ([0, 1], [1, 1])


def test_a_row_that_arrives_late_does_not_replace_a_newer_one() -> None:
    """A backfilled row of an older window, created after the newer window's row, is not the newest."""
    labels, rows = frames([("c1", 20)], [("c1", 8, 9), ("c1", 3, 15)], ["asset"])
    assert as_of_rows(labels, rows, ["asset"], ttl=None, created_by_label_time=True).to_list() == [0]


def test_nanosecond_labels_meet_microsecond_rows_exactly() -> None:
    """A label one nanosecond before a row does not get it."""
    _, rows = frames([], [("c1", 1, 1)], ["asset"])
    when = pl.Series([1_000_000_000, 999_999_999]) + int(START.timestamp()) * 1_000_000_000
    labels = pl.DataFrame({"asset": ["c1", "c1"], EVENT: when.cast(pl.Datetime("ns", "UTC"))})
    assert as_of_rows(labels, rows, ["asset"], ttl=None, created_by_label_time=False).to_list() == [0, None]


@settings(max_examples=30)
@given(join=joins())
def test_the_newest_row_of_each_key_is_the_one_brute_force_finds(
    join: tuple[pl.DataFrame, pl.DataFrame, list[str]],
) -> None:
    """`newest_rows` names, for each complete key, the row a label at the end of time would get."""
    _, rows, keys = join
    complete = rows.drop_nulls([*keys, EVENT])
    ends = complete.select(keys).unique() if keys else pl.DataFrame({"any": [1] * min(1, complete.height)})
    labels = ends.with_columns(pl.lit(START + timedelta(days=1), TIME).alias(EVENT))
    expected = expected_rows(labels.to_dicts(), rows.to_dicts(), keys, ttl=None, by_created=False)
    assert newest_rows(rows, keys).to_list() == sorted(number for number in expected if number is not None)


def matrix_answer(left: pl.DataFrame, right: pl.DataFrame, ttl_us: int, *, by_created: bool) -> np.ndarray[Any, Any]:
    """Brute force over all pairs at once: -1 where no row serves."""
    label_time, event, created = (
        frame[name].to_physical().to_numpy() for frame, name in ((left, EVENT), (right, EVENT), (right, CREATED))
    )
    age = label_time[:, None] - event[None, :]
    serving = (left["asset"].to_numpy()[:, None] == right["asset"].to_numpy()[None, :]) & (age >= 0)
    serving &= (age <= ttl_us) | (ttl_us == 0)
    if by_created:
        serving &= created[None, :] <= label_time[:, None]
    ranked = sorted(range(right.height), key=lambda row: (event[row], created[row], row))
    rank = np.empty(right.height, np.int64)
    rank[ranked] = np.arange(right.height)
    best = np.where(serving, rank[None, :], -1).max(axis=1)
    return np.where(best >= 0, np.asarray(ranked)[best], -1)


@pytest.mark.slow
def test_a_million_answers_are_all_right() -> None:
    """1,000 tables of ties, repeats, corrections and late rows, 1,000 labels each: none lost, none wrong."""
    lost = wrong = answered = 0
    for seed in range(1_000):
        random = np.random.default_rng(seed)
        size, span = int(random.integers(1, 120)), int(random.integers(1, 200))
        event = random.integers(0, span, size)
        right = pl.DataFrame(
            {
                "asset": random.integers(0, 4, size),
                EVENT: pl.Series(event).cast(TIME),
                CREATED: pl.Series(event + random.integers(-3, 40, size)).cast(TIME),
            }
        ).with_row_index(ROW)
        left = pl.DataFrame(
            {"asset": random.integers(0, 5, 1_000), EVENT: pl.Series(random.integers(-9, span + 50, 1_000)).cast(TIME)}
        )
        ttl, by_created = int(random.choice([0, 1, 5, 60])), bool(seed % 2)
        found = as_of_rows(left, right, ["asset"], ttl=timedelta(microseconds=ttl), created_by_label_time=by_created)
        expected = matrix_answer(left, right, ttl, by_created=by_created)
        given = found.cast(pl.Int64).fill_null(-1).to_numpy()
        lost += left.height - len(given)
        wrong += int((given != expected).sum())
        answered += len(given)
    assert (answered, lost, wrong) == (1_000_000, 0, 0)
