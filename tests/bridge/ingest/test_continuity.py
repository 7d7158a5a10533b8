"""The newest value across interruptions: never an outdated value, never Bad while Good samples arrive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bridge.drivers.raw_rows import RawRows
from bridge.ingest.continuity import Continuity
from historian.plant.connections import Tag
from historian.quality import BAD, BAD_NOT_CONNECTED
from historian.samples import SCHEMA
from historian.waveforms.encoding import HEADS, encode

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(second: float) -> datetime:
    """An instant in seconds after noon."""
    return T0 + timedelta(seconds=second)


def rows(*given: tuple[str, float, float]) -> pl.DataFrame:
    """Raw rows of (tag, second, value)."""
    return pl.DataFrame([(tag, at(s), value, None, 0) for tag, s, value in given], schema=SCHEMA, orient="row")


def read(*given: tuple[str, float, float]) -> RawRows:
    """What a driver read."""
    return RawRows(rows(*given))


def stretch(tag: str, second: float, count: int, *, rate: float) -> pl.DataFrame:
    """A stretch of so many samples."""
    head = {"tag": [tag], "timestamp": [at(second)], "sample_rate": [rate], "count": [count], "quality": [0]}
    return encode(pl.DataFrame(head, schema=HEADS), np.arange(count))


def stamps(frame: pl.DataFrame) -> list[tuple[str, float]]:
    """(tag, second) of each row."""
    return [(tag, (instant - T0).total_seconds()) for tag, instant in frame.select("tag", "timestamp").rows()]


@pytest.fixture
def tags(make_tag: Callable[..., Tag]) -> list[Tag]:
    """Two numbers."""
    return [make_tag("a"), make_tag("b")]


def test_an_outage_is_a_bad_sample_per_tag_from_when_the_source_was_last_heard(tags: list[Tag]) -> None:
    """The time at which the loss was noticed is later and is not used."""
    known = Continuity(tags)
    known.follow(read(("a", 0, 1.0), ("b", 5, 1.0)), now=at(5))
    marks = known.interrupted(at(8))
    assert stamps(marks) == [("a", 8), ("b", 8)]
    assert set(marks["quality"]) == {BAD_NOT_CONNECTED}


def test_it_comes_after_the_newest_sample_even_of_a_clock_that_is_ahead(tags: list[Tag]) -> None:
    """Otherwise the old value would be reported as the present one."""
    known = Continuity(tags)
    known.follow(read(("a", 60, 1.0)), now=at(5))
    assert stamps(known.interrupted(at(8))) == [("a", 60.000001), ("b", 8)]


def test_on_a_clock_that_is_behind_good_samples_outrank_it_at_once(tags: list[Tag]) -> None:
    """The Bad sample is stamped on the device's clock."""
    known = Continuity(tags)
    for second in (10, 20, 30):
        known.follow(read(("a", second - 3600, 1.0)), now=at(second))
    [(_, mark), (_, other)] = stamps(known.interrupted(at(31)))
    assert mark == other == 31 - 3600  # a tag that was never heard is taken to be of the same device
    assert known.follow(read(("a", 33 - 3600, 2.0)), now=at(33)).is_empty()
    assert mark < 33 - 3600


def test_a_node_that_did_not_change_is_written_again_with_the_time_of_reading(tags: list[Tag]) -> None:
    """The server repeats its old value with its old timestamp; the value is written again once."""
    known = Continuity(tags)
    known.follow(read(("a", 0, 7.0)), now=at(1))
    known.interrupted(at(10))
    assert_frame_equal(known.follow(read(("a", 0, 7.0)), now=at(20)), rows(("a", 20, 7.0)))
    assert known.follow(read(("a", 0, 7.0)), now=at(21)).is_empty()


def test_on_a_clock_that_is_behind_it_is_written_with_the_devices_time(tags: list[Tag]) -> None:
    """The next change, stamped behind our clock, is then the newest."""
    known = Continuity(tags)
    known.follow(read(("a", -3600, 7.0)), now=at(0))
    known.follow(read(("a", -3590, 7.5)), now=at(10))
    known.interrupted(at(15))
    assert_frame_equal(known.follow(read(("a", -3590, 7.5)), now=at(30)), rows(("a", 30 - 3600, 7.5)))


def test_of_several_old_values_the_last_one_is_the_present(tags: list[Tag]) -> None:
    """A server may report values that it queued earlier."""
    known = Continuity(tags)
    known.interrupted(at(10))
    assert_frame_equal(known.follow(read(("a", 1, 1.0), ("a", 2, 2.0)), now=at(20)), rows(("a", 20, 2.0)))


def test_nothing_is_repeated_that_is_newer_than_the_outage(tags: list[Tag]) -> None:
    """A tag that changed during the outage needs no repeated value."""
    known = Continuity(tags)
    known.interrupted(at(10))
    assert known.follow(read(("a", 12, 1.0), ("b", 1, 1.0), ("b", 13, 2.0)), now=at(20)).is_empty()


def test_bad_values_and_waveforms_are_not_repeated(make_tag: Callable[..., Tag]) -> None:
    """A second copy of a waveform would be data that was never measured."""
    known = Continuity([make_tag("a"), make_tag("w", kind="vibration", sample_rate=25_600.0)])
    known.interrupted(at(10))
    bad = rows(("a", 1, 1.0)).with_columns(quality=pl.lit(BAD, pl.UInt32))
    assert known.follow(RawRows(bad, stretch("w", 1, 10, rate=25_600.0)), now=at(20)).is_empty()


def test_an_outage_of_a_waveform_begins_one_period_after_its_last_sample(make_tag: Callable[..., Tag]) -> None:
    """A sample of a waveform takes its period: a mark within that of the last one would replace it."""
    known = Continuity([make_tag("w", kind="vibration", sample_rate=1000.0)])
    known.follow(RawRows(waveforms=stretch("w", 0, 100, rate=1000.0)), now=at(0.099))
    assert stamps(known.interrupted(at(0.05))) == [("w", 0.1)]
    assert stamps(known.interrupted(at(5))) == [("w", 5)]


def test_the_lag_of_a_device_is_that_of_the_last_sample_of_a_stretch(make_tag: Callable[..., Tag]) -> None:
    """An array is stamped with its first sample, which is older by the length of the array when it arrives."""
    known = Continuity([make_tag("w", kind="vibration", sample_rate=1000.0)])
    for second in (0, 1):
        stretches = stretch("w", second - 3600, 1000, rate=1000.0)
        known.follow(RawRows(waveforms=stretches), now=at(second + 0.999))
    assert known.clocks["lag"].to_list() == [timedelta(seconds=3600)]
    assert stamps(known.interrupted(at(10))) == [("w", 10 - 3600)]


def test_without_an_interruption_nothing_is_repeated(tags: list[Tag]) -> None:
    """The first report of the first session is stored unchanged."""
    assert Continuity(tags).follow(read(("a", -1e6, 1.0)), now=at(0)).is_empty()


def test_the_state_of_an_earlier_run_is_used(tags: list[Tag]) -> None:
    """After a restart of the bridge, Bad samples are stamped on the device's clock too."""
    before = Continuity(tags)
    for second in (0, 10):
        before.follow(read(("a", second - 3600, 1.0)), now=at(second))
    again = Continuity(tags, before.clocks)
    assert stamps(again.interrupted(at(20))) == [("a", 20 - 3600), ("b", 20 - 3600)]
