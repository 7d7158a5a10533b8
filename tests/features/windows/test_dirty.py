"""The windows that a change makes dirty: exactly those whose content it changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import numpy as np
import polars as pl
from hypothesis import given, settings
from polars.testing import assert_frame_equal

from features.windows.dirty import INTERVALS, TAG_LOOKBACK, dirty_intervals, join_intervals
from features.windows.stretches import Integers
from features.windows.tiling import EndRange, Tiling, epoch_windows
from historian.quality import BAD
from historian.stores.protocols import LEDGER
from tests.features.stretches import packed, read

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def at(seconds: float) -> datetime:
    """An instant."""
    return START + seconds * SECOND


def ledger(*rows: tuple[str, float, float]) -> pl.DataFrame:
    """Ledger rows of (tag, first, last)."""
    cells = [(START + i * SECOND, "live", tag, at(first), at(last), 1) for i, (tag, first, last) in enumerate(rows)]
    return pl.DataFrame(cells, LEDGER, orient="row")


def tags(*rows: tuple[str, str, float, float | None], replaces: float = 0) -> pl.DataFrame:
    """Rows of (tag, asset, lookback, known); no sample is newer than what was known, but for those of the ledger."""
    cells = [
        (tag, asset, lookback * SECOND, replaces * SECOND, *[None if known is None else at(known)] * 2)
        for tag, asset, lookback, known in rows
    ]
    return pl.DataFrame(cells, TAG_LOOKBACK, orient="row")


def intervals(*rows: tuple[str, float, float]) -> pl.DataFrame:
    """Rows of (asset, after, until)."""
    return pl.DataFrame([(asset, at(after), at(until)) for asset, after, until in rows], INTERVALS, orient="row")


def test_a_change_makes_windows_dirty_that_end_within_the_lookback() -> None:
    """They end from just after its first sample to the lookback after its last, per asset, over all tags."""
    changes = ledger(("a.x", 10, 12), ("b.x", 100, 100), ("a.y", 13, 14), ("other", 0, 1000))
    found = dirty_intervals(changes, tags(("a.x", "a", 2, None), ("a.y", "a", 2, None), ("b.x", "b", 5, None)))
    assert_frame_equal(found, intervals(("a", 10, 16), ("b", 100, 105)))


def test_a_stretch_replaces_samples_up_to_half_a_period_before_it() -> None:
    """A window that ends in between has lost its last sample, although the stretch begins only after it."""
    found = dirty_intervals(ledger(("a.x", 10, 12)), tags(("a.x", "a", 2, None), replaces=0.25))
    assert_frame_equal(found, intervals(("a", 9.75, 14)))


def test_late_and_live_changes_stay_apart() -> None:
    """A backfill of the last hour does not make the time between dirty."""
    found = dirty_intervals(ledger(("a.x", 3600, 3610), ("a.x", 10, 20)), tags(("a.x", "a", 1, None)))
    assert_frame_equal(found, intervals(("a", 10, 21), ("a", 3600, 3611)))


def test_pending_windows_are_computed_again() -> None:
    """They end within the lookback of the sample that was then the newest; assets without changes have none."""
    known = tags(("a.x", "a", 2, 100), ("a.y", "a", 3, 90), ("b.x", "b", 2, 100))
    newer = known.with_columns(newest=pl.Series([at(501), at(92), at(100)]))
    found = dirty_intervals(ledger(("a.x", 500, 501), ("a.y", 92, 92)), newer)
    assert_frame_equal(found, intervals(("a", 90, 95), ("a", 100, 503)))


def test_a_tag_that_is_silent_has_nothing_pending_once_its_last_value_is_too_old() -> None:
    """Its windows were final up to the asset's newest sample, so that a dead tag adds no work to every change."""
    for silent_since, until in ((90, 502), (499, 504)):
        silent = tags(("a.x", "a", 1, 500), ("a.y", "a", 5, silent_since))
        found = dirty_intervals(
            ledger(("a.x", 500.5, 501)), silent.with_columns(newest=pl.Series([at(501), at(silent_since)]))
        )
        assert_frame_equal(found, intervals(("a", 500, until)))


def test_windows_that_waited_for_the_clock_are_computed_again() -> None:
    """A tag's newest sample was in the future: from what was known then to within that sample's lookback."""
    waiting = tags(("a.x", "a", 2, 100)).with_columns(newest=pl.lit(at(150)))
    assert_frame_equal(dirty_intervals(ledger(("a.x", 30, 31)), waiting), intervals(("a", 30, 33), ("a", 100, 152)))


def test_intervals_near_each_other_can_be_joined() -> None:
    """Two intervals a minute apart become one, more distant ones do not, nor do those of another asset."""
    apart = intervals(("a", 0, 10), ("b", 5, 8), ("a", 70, 80), ("a", 141, 150))
    assert_frame_equal(join_intervals(apart, within=60 * SECOND), intervals(("a", 0, 80), ("a", 141, 150), ("b", 5, 8)))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 99), st.integers(0, 20)), max_size=12))
@settings(max_examples=100)
def test_joined_intervals_cover_the_same_instants_once(given_rows: list[tuple[str, int, int]]) -> None:
    """They are compared with sets of whole seconds."""
    given_intervals = intervals(*((asset, start, start + length) for asset, start, length in given_rows))
    joined = join_intervals(given_intervals)
    seconds = [
        (asset, second)
        for asset, after, until in joined.rows()
        for second in range((after - START) // SECOND, (until - START) // SECOND + 1)
    ]
    expected = {(asset, start + i) for asset, start, length in given_rows for i in range(length + 1)}
    assert sorted(seconds) == sorted(expected)


@given(
    st.integers(0, 199), st.integers(1, 60), st.sampled_from([16, 8, 4]), st.integers(0, 999), st.sampled_from("+-=")
)
@settings(max_examples=200)
def test_dirty_is_exactly_what_a_change_can_touch(first: int, count: int, hop: int, phase: int, kind: str) -> None:
    """Windows that differ once samples are added, removed or overwritten are dirty; all that are dirty overlap them."""
    tiling = Tiling(16_000, hop * 1000, 1_000.0)
    base = 1_700_000_000_000_000
    times = base + phase + 1000 * np.arange(200)
    changed = slice(first, first + count)
    few, good = np.delete(times, changed), np.zeros(200, np.int64)
    overwritten = good.copy()
    overwritten[changed] = BAD
    before, after = {
        "+": ((few, np.delete(good, changed)), (times, good)),
        "-": ((times, good), (few, np.delete(good, changed))),
        "=": ((times, good), (times, overwritten)),
    }[kind]
    touched_first, touched_last = int(times[changed][0]), int(times[changed][-1])
    wanted = EndRange(touched_first, touched_last + tiling.length + 1000, 2 * base)

    def contents(samples: tuple[Integers, Integers], wanted: EndRange) -> dict[int, tuple[object, ...]]:
        times, quality = samples
        windows = epoch_windows(read(packed("x", times, np.ones(len(times)), 1000, quality=quality)), tiling, wanted)
        rows = zip(windows.end.tolist(), windows.found.tolist(), windows.valid.tolist(), strict=True)
        return {end: (found, valid) for end, found, valid in rows}

    always = EndRange(0, 2 * base, 2 * base)
    old, new = contents(before, always), contents(after, always)
    differing = {end for end in old.keys() | new.keys() if old.get(end) != new.get(end)}
    dirty = {end for end in old.keys() | new.keys() if wanted.after < end <= wanted.until}
    assert differing <= dirty
    assert all(touched_first < end and end - 16_000 - 1000 <= touched_last for end in dirty)
