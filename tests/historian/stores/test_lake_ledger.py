"""The lake's ledger stays short, hides no change from any cursor, and is not read by `latest`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from historian.samples import SCHEMA, SampleBatch, sample_batch
from historian.stores.lake.layout import FileLayout
from historian.stores.lake.ledger import compacted
from historian.stores.lake.store import LakeStore
from historian.stores.protocols import LEDGER

T0 = datetime(2026, 3, 1, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


def ledger(*rows: tuple[datetime, str, datetime, datetime]) -> pl.DataFrame:
    """Rows of the ledger: when, which tag, first and last; of one source, ten samples each."""
    return pl.DataFrame([(at, "s", tag, first, last, 10) for at, tag, first, last in rows], LEDGER, orient="row")


def live(seconds: int) -> pl.DataFrame:
    """The ledger of a tag that was written once a second."""
    at = pl.datetime_range(T0, T0 + (seconds - 1) * SECOND, SECOND, time_zone="UTC", eager=True).dt.cast_time_unit("us")
    columns = {"ingested_at": at, "source": "s", "tag": "a", "first": at, "last": at, "rows": 1}
    return pl.DataFrame(columns, schema_overrides=dict(LEDGER)).select(LEDGER.names())


def after(entries: pl.DataFrame, cursor: datetime) -> pl.DataFrame:
    """The result of `changes(cursor)` for these rows."""
    return entries.filter(pl.col("ingested_at") > cursor)


def uncovered(changes: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """The changes that no single row found of their tag and source covers."""
    pairs = changes.with_row_index().join(found, on=["tag", "source"], suffix="_found")
    covering = (pl.col("first_found") <= pl.col("first")) & (pl.col("last") <= pl.col("last_found"))
    return changes.with_row_index().join(pairs.filter(covering), on="index", how="anti")


Row = tuple[int, str, str, int, int]
ROW = st.tuples(
    st.sampled_from([0, 3, 30, 300, 3_000, 30_000, 300_000, 3_000_000]),  # seconds between this write and the next
    st.sampled_from(["a", "b"]),
    st.sampled_from(["line1", "line2"]),
    st.sampled_from([0, 1, 60, 4_000, 90_000, 10**9]),  # how late the samples are, in seconds
    st.sampled_from([0, 1, 50, 100_000]),  # how long a time they cover
)


@given(st.lists(ROW, min_size=1, max_size=40), st.data())
def test_every_cursor_still_learns_of_every_change(rows: list[Row], data: st.DataObject) -> None:
    """Rows after a cursor are covered after it, and no sample is counted twice or lost."""
    written, at = [], T0
    for wait, tag, source, late, length in rows:
        at += timedelta(seconds=wait, microseconds=1)
        first = at - timedelta(seconds=late)
        written.append((at, source, tag, first, first + timedelta(seconds=length), 1))
    entries = pl.DataFrame(written, LEDGER, orient="row")
    found = compacted(entries)
    cursor = data.draw(st.sampled_from([T0, *entries["ingested_at"]]))
    assert uncovered(after(entries, cursor), after(found, cursor)).is_empty()
    assert found["rows"].sum() == entries["rows"].sum()
    assert found["ingested_at"].is_in(entries["ingested_at"].implode()).all()
    assert found["ingested_at"].max() == entries["ingested_at"].max()
    assert_frame_equal(found, found.sort("ingested_at", "tag"))


def test_a_day_of_live_writes_becomes_a_few_hundred_rows() -> None:
    """86,400 writes of a tag; ten times as many days add a handful of rows a day."""
    assert compacted(live(86_400)).height < 600
    assert compacted(live(864_000)).height - compacted(live(777_600)).height < 30


def test_a_reader_that_lags_computes_a_tenth_more_at_most() -> None:
    """The intervals it gets begin at most a little before its cursor, however old the cursor is."""
    entries = live(86_400)
    found, newest = compacted(entries), T0 + 86_399 * SECOND
    for lag in (5, 50, 500, 5_000, 50_000):
        cursor = newest - lag * SECOND
        first = after(found, cursor)["first"].min()
        assert first > cursor - 0.1 * lag * SECOND - SECOND  # type: ignore[operator]


def test_newest_writes_are_listed_one_by_one() -> None:
    """A follower with an interval of seconds gets only what was written since."""
    entries = live(86_400)
    assert_frame_equal(compacted(entries).tail(10), entries.tail(10))


def test_intervals_far_apart_are_not_joined() -> None:
    """A clock that once stood at 1970 does not add decades of changes, nor a late sample hours."""
    noon, morning, old = T0 + 12 * HOUR, T0 + 7 * HOUR, datetime(1970, 1, 1, tzinfo=UTC)
    entries = ledger(
        (T0 + DAY, "a", noon, noon),
        (T0 + DAY + SECOND, "a", old, old),
        (T0 + DAY + 2 * SECOND, "a", noon + SECOND, noon + SECOND),
        (T0 + DAY + 3 * SECOND, "a", morning, morning),
        (T0 + 30 * DAY, "b", T0, T0),
    )
    merged = compacted(entries).filter(pl.col("tag") == "a").sort("first")
    expected = [(old, old, 10), (morning, morning, 10), (noon, noon + SECOND, 20)]
    assert merged.select("first", "last", "rows").rows() == expected


def test_sources_stay_apart() -> None:
    """The ledger still says which source wrote what."""
    entries = pl.concat([live(100), live(100).with_columns(source=pl.lit("other")), live(10_000).tail(1)])
    rows = compacted(entries.with_columns(pl.col("rows").cast(pl.Int64))).group_by("source").agg(pl.col("rows").sum())
    assert dict(rows.rows()) == {"s": 101, "other": 100}


def test_it_is_compacted_while_streaming(tmp_path: Path) -> None:
    """Twenty writes of yesterday and thirty of today are compacted without a call, and cursors stay valid."""
    store = LakeStore(tmp_path, layout=FileLayout(merge_every=10, ledger_rows=5))
    for number in range(50):
        store.write(sample("a", number), source="s", now=T0 + number * SECOND / 10 + DAY * (number >= 20))
    changes = store.changes(None)
    assert changes.height < 35
    assert changes["rows"].sum() == 50
    assert changes.filter(pl.col("rows") > 1).select("first", "last", "rows").rows() == [(T0, T0 + 190 * SECOND, 20)]
    newest = changes["ingested_at"].to_list()[-1]
    store.write(sample("a", 50), source="s", now=T0)  # a clock that went back
    assert store.changes(newest)["first"].to_list() == [T0 + 500 * SECOND]


def test_latest_reads_no_old_file(tmp_path: Path) -> None:
    """With every file of the ledger and of the samples damaged, it is still known; a new write is seen at once."""
    store = LakeStore(tmp_path)
    for number in range(3):
        store.write(sample("a", number), source="s", now=T0)
    store.write(sample("b", 1), source="s", now=T0)
    store.compact()
    for file in [*(tmp_path / "ledger").glob("*.parquet"), *(tmp_path / "samples").rglob("*.parquet")]:
        file.write_bytes(b"")
    reader = LakeStore(tmp_path)
    assert_frame_equal(reader.latest(["a", "b", "never"]), pl.concat([sample("a", 2), sample("b", 1)]))
    store.write(sample("b", 7), source="s", now=T0)
    store.write(sample("a", 1), source="s", now=T0)  # late, so not the newest
    assert_frame_equal(reader.latest(["a", "b"]), pl.concat([sample("a", 2), sample("b", 7)]))


def test_latest_of_a_tag_written_over_is_what_was_written_last(tmp_path: Path) -> None:
    """The newest sample is overwritten before and after it was recorded."""
    store = LakeStore(tmp_path)
    store.write(sample("a", 5), source="s", now=T0)
    store.compact()
    changed = sample_batch(sample("a", 5).with_columns(value=pl.lit(-1.0)))
    store.write(changed, source="s", now=T0)
    assert_frame_equal(LakeStore(tmp_path).latest(["a"]), changed)
    store.compact()
    assert_frame_equal(LakeStore(tmp_path).latest(["a"]), changed)


def sample(tag: str, number: int) -> SampleBatch:
    """The tag's sample ten times `number` seconds after T0."""
    row = (tag, T0 + number * 10 * SECOND, float(number), None, 0)
    return sample_batch(pl.DataFrame([row], schema=SCHEMA, orient="row"))
