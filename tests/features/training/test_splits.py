"""Rows of different splits share no time, and groups stay together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.training.splits import NAMES, By, Split, SplitSpec, split
from historian.errors import InvalidInput

T0 = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def labels(*rows: tuple[str, int, int]) -> pl.DataFrame:
    """(asset, hours after T0, episode)."""
    return pl.DataFrame(
        {
            "asset": [asset for asset, _, _ in rows],
            "event_timestamp": pl.Series([T0 + hour * HOUR for _, hour, _ in rows], dtype=pl.Datetime("us", "UTC")),
            "episode": [f"{asset}/{episode}" for asset, _, episode in rows],
        }
    )


def fresh(rows: pl.DataFrame, spec: SplitSpec, *, label_end: pl.Series, window: timedelta) -> Split:
    """Splits rows whose features were computed up to their own time."""
    return split(rows, spec, label_end=label_end, window=window, began=rows["event_timestamp"] - window)


ROWS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 60), st.just(0)), min_size=12, max_size=60, unique=True
)


@settings(max_examples=40)
@given(ROWS, st.sampled_from(["time", "episode"]), st.integers(0, 5), st.integers(0, 5), st.integers(0, 3))
def test_no_label_looks_into_a_window_of_another_split(
    rows: list[tuple[str, int, int]], by: By, window: int, horizon: int, seed: int
) -> None:
    """This holds for every pair of rows of an asset; a row without such a neighbour is kept."""
    labelled = labels(*((asset, hour, hour // 20) for asset, hour, _ in rows))
    if by == "episode" and labelled["episode"].n_unique() < 3:
        return
    label_end = labelled["event_timestamp"] + horizon * HOUR
    made = fresh(labelled, SplitSpec(by, seed=seed), label_end=label_end, window=window * HOUR)
    names = made.names.to_list()
    rows_of = list(zip(labelled["asset"], labelled["event_timestamp"], names, strict=True))
    for (one, early, its), (other, late, theirs) in product(rows_of, rows_of):
        if one == other and early < late and its and theirs and its != theirs:
            assert early + horizon * HOUR <= late - window * HOUR
    assert sum(made.purged.values()) == names.count(None)
    assert sum(made.purged_for_age.values()) == 0
    if by == "time":
        order = sorted((at, NAMES.index(name)) for _, at, name in rows_of if name)
        assert [number for _, number in order] == sorted(number for _, number in order)
    if window == horizon == 0:
        assert None not in names


AGED = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.none() | st.integers(0, 20)), min_size=12, max_size=40
)


@settings(max_examples=50)
@given(AGED, st.sampled_from(["time", "episode", "asset"]), st.integers(1, 4), st.integers(0, 8))
def test_rows_are_purged_for_the_age_of_later_features_and_for_nothing_else(
    rows: list[tuple[str, int, int | None]], by: By, window: int, horizon: int
) -> None:
    """Against every pair of rows: the gap by time is between all assets, the age of features counts per asset."""
    labelled = labels(*((asset, hour, hour // 10) for asset, hour, _ in rows))
    if by != "time" and labelled[by].n_unique() < 3:
        return
    starts = [None if age is None else hour - age - window for _, hour, age in rows]
    began = pl.Series(
        [None if at is None else T0 + at * HOUR for at in starts], dtype=labelled.schema["event_timestamp"]
    )
    times = labelled["event_timestamp"]
    untouched = fresh(labelled, SplitSpec(by), label_end=times, window=timedelta(0)).names.to_list()
    made = split(labelled, SplitSpec(by), label_end=times + horizon * HOUR, window=window * HOUR, began=began)
    why: dict[str, list[str]] = {"near": [], "aged": []}
    kept: list[str | None] = []
    for (asset, hour, _), its in zip(rows, untouched, strict=True):
        later = [
            (other == asset, at, start)
            for (other, at, _), start, theirs in zip(rows, starts, untouched, strict=True)
            if theirs != its and at >= hour
        ]
        near = any((same or by == "time") and hour + horizon + window > at for same, at, _ in later)
        aged = any(same and start is not None and hour + horizon > start for same, _, start in later)
        kept.append(None if near or aged else its)
        if near or aged:
            why["near" if near else "aged"].append(its)
    assert made.names.to_list() == kept
    assert made.purged == {name: (why["near"] + why["aged"]).count(name) for name in NAMES}
    assert made.purged_for_age == {name: why["aged"].count(name) for name in NAMES}


@settings(max_examples=25)
@given(ROWS, st.sampled_from(["asset", "episode"]), st.integers(0, 9))
def test_a_group_is_in_one_split_and_every_split_has_one(rows: list[tuple[str, int, int]], by: By, seed: int) -> None:
    """This holds even if the shares would round one to nothing."""
    labelled = labels(*((asset, hour, hour // 20) for asset, hour, _ in rows))
    if labelled[by].n_unique() < 3:
        return
    spec = SplitSpec(by, shares=(0.9, 0.05, 0.05), seed=seed)
    made = fresh(labelled, spec, label_end=labelled["event_timestamp"], window=timedelta(0))
    assert set(made.names) == set(NAMES)
    assert (
        labelled.with_columns(made.names).group_by(by).agg(pl.col("split").n_unique())["split"].to_list()
        == [1] * labelled[by].n_unique()
    )


def test_what_is_held_out_is_the_test_set_and_nothing_else_is() -> None:
    """The held-out asset is used for no training."""
    labelled = labels(*((asset, hour, 0) for asset in "abc" for hour in range(10)))
    made = fresh(labelled, SplitSpec("asset", hold_out=("b",)), label_end=labelled["event_timestamp"], window=HOUR)
    assert {asset for asset, name in zip(labelled["asset"], made.names, strict=True) if name == "test"} == {"b"}
    assert set(made.names) == set(NAMES)


def test_the_shares_are_of_rows() -> None:
    """By time they are exact, except for rows of one instant."""
    labelled = labels(*(("a", hour, 0) for hour in range(100)))
    made = fresh(
        labelled, SplitSpec("time", shares=(60, 20, 20)), label_end=labelled["event_timestamp"], window=timedelta(0)
    )
    assert dict(made.names.value_counts().iter_rows()) == {"train": 60, "validation": 20, "test": 20}
    gap = fresh(
        labelled, SplitSpec("time", shares=(60, 20, 20)), label_end=labelled["event_timestamp"] + HOUR, window=3 * HOUR
    )
    assert gap.purged == {"train": 3, "validation": 3, "test": 0}


def test_rows_are_not_split_at_random_unless_forced() -> None:
    """The error says why, with the source."""
    labelled = labels(*(("a", hour, 0) for hour in range(100)))
    with pytest.raises(InvalidInput, match=r"arXiv 2509\.22267.* --force-random"):
        fresh(labelled, SplitSpec("random"), label_end=labelled["event_timestamp"], window=HOUR)
    made = fresh(labelled, SplitSpec("random", forced=True), label_end=labelled["event_timestamp"], window=HOUR)
    assert made.names.value_counts(sort=True)["count"].to_list() == [70, 15, 15]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SplitSpec("asset"), "2 assets cannot be split into train, validation, test; give one a share of 0"),
        (SplitSpec("asset", hold_out=("z1",)), "no label is of the asset 'z1'"),
        (SplitSpec("time", hold_out=("a",)), "only assets and episodes can be held out"),
        (SplitSpec("time", shares=(0, 0, 0)), "the shares 0, 0, 0 leave no rows"),
        (SplitSpec("time", shares=(float("nan"), 1, 1)), "the shares nan, 1, 1 leave no rows"),
        (SplitSpec("time", shares=(float("inf"), 1, 1)), "the shares inf, 1, 1 leave no rows"),
    ],
)
def test_an_impossible_split_is_refused(spec: SplitSpec, message: str) -> None:
    """The error says what to do."""
    rows = labels(("a", 1, 0), ("b", 1, 0))
    with pytest.raises(InvalidInput, match=message):
        fresh(rows, spec, label_end=rows["event_timestamp"], window=HOUR)


def test_without_episodes_there_is_no_split_by_them() -> None:
    """A label table need not have episodes."""
    rows = labels(("a", 1, 0)).drop("episode")
    with pytest.raises(InvalidInput, match="have no column 'episode'; make them by a rule"):
        fresh(rows, SplitSpec("episode"), label_end=rows["event_timestamp"], window=HOUR)


def test_episodes_may_be_numbers_but_not_missing() -> None:
    """A label table may have its own episodes."""
    rows = labels(*(("a", hour, hour // 5) for hour in range(30))).with_columns(episode=pl.int_range(30) // 5)
    spec = SplitSpec("episode", shares=(1, 0, 1), hold_out=("5",))
    made = fresh(rows, spec, label_end=rows["event_timestamp"], window=HOUR)
    assert rows.filter(made.names == "test")["episode"].unique().to_list() == [5]
    unknown = rows.with_columns(pl.when(pl.col("episode") > 0).then("episode").alias("episode"))
    with pytest.raises(InvalidInput, match="5 labels have no episode"):
        fresh(unknown, spec, label_end=rows["event_timestamp"], window=HOUR)


def test_a_split_that_the_labels_bring_is_not_overwritten() -> None:
    """The error says that the labels have a split column."""
    rows = labels(("a", 1, 0), ("b", 1, 0)).with_columns(split=pl.lit("mine"))
    with pytest.raises(InvalidInput, match="have a column 'split' already"):
        fresh(rows, SplitSpec("time"), label_end=rows["event_timestamp"], window=HOUR)
