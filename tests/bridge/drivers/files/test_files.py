"""The `files` driver on folders of cases, on real measurements, and on generated bursts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from bridge.drivers.files.bursts import BURSTS, burst_stretches
from bridge.drivers.files.forms import TimeRule
from bridge.drivers.files.times import FAULT, INSTANT, with_instants
from historian.errors import ConfigError, SourceError
from historian.samples import SCHEMA
from historian.waveforms.encoding import decode
from historian.waveforms.packing import unpack
from tests.bridge.drivers.files.exports import (
    BEGINNING,
    END,
    HOUR,
    archive_of,
    batch_of,
    bursts_of,
    extent_of,
    pages_of,
    plant_of,
    read_all,
    rejected_of,
)

Stamp = Literal["first", "last"]
STAMPS: Final[tuple[Stamp, ...]] = get_args(Stamp)


@settings(max_examples=40)
@given(
    count=st.integers(1, 3000),
    rate=st.sampled_from([1.0, 3.0, 12_000.0, 20_000.0, 25_600.0, 48_828.0]),
    stamp=st.sampled_from(STAMPS),
)
def test_samples_stand_at_the_rounded_multiples_of_the_period(count: int, rate: float, stamp: Stamp) -> None:
    """Sample i of n is round(i / rate) after its burst's first, or round((n - 1 - i) / rate) before its last."""
    instant = datetime(2026, 3, 1, 12, tzinfo=UTC)
    burst = pl.DataFrame([("1", instant, None, None, [float(i) for i in range(count)])], schema=BURSTS, orient="row")
    burst = burst.with_columns(pl.col("instant").cast(SCHEMA["timestamp"]), pl.col("fault", "given").cast(pl.String))

    stretches = burst_stretches(burst, tag="t", sample_rate=rate, stamp=stamp, origin="f")

    steps = np.arange(count) - (count - 1 if stamp == "last" else 0)
    offsets = [timedelta(microseconds=round(step * 1e6 / rate)) for step in steps.tolist()]
    samples = unpack(stretches.rows.waveforms)
    for given_time, offset in zip(samples["timestamp"].to_list(), offsets, strict=True):
        assert abs(given_time - instant - offset) <= timedelta(microseconds=1 if stamp == "last" else 0)
    assert samples["value"].to_list() == list(range(count))
    assert stretches.rejected.is_empty()


def test_a_burst_that_contradicts_an_earlier_one_is_rejected_across_pages_and_files(tmp_path: Path) -> None:
    """The first given stays; the other is rejected with file, row, tag and time; a repeat costs nothing."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    plant = plant_of(tmp_path, {"de": 1000.0}, 'path = "*.parquet"\nlayout = "waveform"\nrow = "shot"')
    first = bursts_of(start, start + HOUR, samples=[[1.0, 2.0], [3.0, 4.0]])
    second = bursts_of(start + HOUR, start, samples=[[3.0, 5.0], [1.0, 2.0]])
    first.with_columns(shot=pl.Series([11, 12])).write_parquet(tmp_path / "a.parquet", row_group_size=1)
    second.with_columns(shot=pl.Series([21, 22])).write_parquet(tmp_path / "b.parquet", row_group_size=1)

    pages, failures = read_all(archive_of(plant))

    times = [start, start + timedelta(milliseconds=1), start + HOUR, start + HOUR + timedelta(milliseconds=1)]
    assert batch_of(pages).select("timestamp", "value").rows() == list(zip(times, [1.0, 2.0, 3.0, 4.0], strict=True))
    detail = 'b.parquet row 21: "2026-03-01T01:00:00.000000+00:00"'
    rejected = rejected_of(pages)
    assert rejected.select("tag", "timestamp", "count", "detail").rows() == [("de", times[2], 2, detail)]
    assert decode(rejected).values.tolist() == [3.0, 5.0]
    assert failures == []


def test_a_burst_cut_by_the_range_gives_just_the_samples_within(tmp_path: Path) -> None:
    """Ranges are half-open by sample, so two adjoining reads give each sample once."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    plant = plant_of(tmp_path, {"de": 10.0}, 'path = "a.parquet"\nlayout = "waveform"\nstamp = "last"')
    bursts_of(start + timedelta(seconds=0.9), samples=[list(range(10))]).write_parquet(tmp_path / "a.parquet")
    archive = archive_of(plant)

    middle = start + HOUR / 14_400
    halves = [pages_of(archive, ["de"], BEGINNING, middle), pages_of(archive, ["de"], middle, END)]

    values = [batch_of(half)["value"].to_list() for half in halves]
    assert values == [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9]]
    assert extent_of(archive) == (start, start + timedelta(seconds=0.9, microseconds=1))


def test_only_the_requested_row_groups_and_columns_are_read(tmp_path: Path) -> None:
    """One tag's samples of one row group are read from a file whose other bytes are destroyed."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    noise = np.random.default_rng(1).normal(size=(6, 2000))
    plant = plant_of(tmp_path, {"de": 1000.0, "nde": 1000.0}, 'path = "a.parquet"\nlayout = "waveform"')
    bursts = bursts_of(*[start + n * HOUR for n in range(6)], samples=noise.tolist())
    bursts.with_columns(nde=pl.col("de").list.reverse()).write_parquet(tmp_path / "a.parquet", row_group_size=1)
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    for group in range(6):
        for column in (1, 2):
            chunk = metadata.row_group(group).column(column)
            if (group, column) != (3, 1):
                begin = chunk.dictionary_page_offset or chunk.data_page_offset
                content[begin : begin + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    (tmp_path / "a.parquet").write_bytes(content)
    archive = archive_of(plant)

    pages = pages_of(archive, ["de"], start + 3 * HOUR, start + 3 * HOUR + timedelta(seconds=5))

    assert batch_of(pages)["value"].to_list() == noise[3].tolist()
    with pytest.raises(SourceError, match=r"what could be read was read, but not\na.parquet: cannot be read"):
        pages_of(archive, ["nde"], start + 3 * HOUR, start + 3 * HOUR + timedelta(seconds=5))


@pytest.mark.slow
def test_pages_are_bounded(tmp_path: Path) -> None:
    """Six million samples come in pages of about four million at most, whatever the row groups."""
    starts = [datetime(2026, 3, 1, tzinfo=UTC) + n * HOUR for n in range(6)]
    samples = np.arange(6_000_000, dtype=np.float64).reshape(6, 1_000_000)
    plant = plant_of(tmp_path, {"de": 25_600.0}, 'path = "a.parquet"\nlayout = "waveform"')
    bursts = pl.DataFrame({"timestamp": pl.Series(starts, dtype=SCHEMA["timestamp"]), "de": samples})
    bursts.with_columns(pl.col("de").arr.to_list()).write_parquet(tmp_path / "a.parquet", row_group_size=6)

    pages = pages_of(archive_of(plant), ["de"], BEGINNING, END)

    assert [page.rows.waveforms["count"].sum() for page in pages] == [4_000_000, 2_000_000]
    np.testing.assert_array_equal(
        np.concatenate([decode(page.rows.waveforms).values for page in pages]), samples.ravel()
    )


@settings(max_examples=40)
@given(
    instants=st.lists(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), min_size=1, max_size=20),  # noqa: DTZ001
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_local_times_come_back_as_the_instants_they_were_unless_ambiguous(instants: list[datetime], zone: str) -> None:
    """An instant written as local time is read as itself, or refused because the zone has that local time twice."""
    local = [instant.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)) for instant in instants]
    frame = pl.DataFrame({"time": [moment.replace(tzinfo=None).isoformat(" ") for moment in local]})

    read = with_instants(frame, ["time"], TimeRule(zone=zone))

    twice = [moment.replace(fold=1).utcoffset() != moment.replace(fold=0).utcoffset() for moment in local]
    expected = [None if repeated else moment.astimezone(UTC) for moment, repeated in zip(local, twice, strict=True)]
    assert read[INSTANT].to_list() == expected
    assert [fault is not None and "occurs twice" in fault for fault in read[FAULT]] == twice


def test_a_matlab_file_gives_variables_and_fields_of_structs(tmp_path: Path) -> None:
    """Variables of any shape are read; the start is the archive's key `start`; a missing variable is reported."""
    plant = plant_of(
        tmp_path,
        {"X1_DE_time": 2.0, "bearing.gs": 4.0, "X1_BA_time": 2.0},
        'path = "*.mat"\nlayout = "waveform"\nstart = 2026-03-01T12:00:00+02:00',
    )
    savemat(tmp_path / "a.mat", {"X1_DE_time": [[1.0], [2.0]], "bearing": {"gs": [3, 4], "sr": 4}, "RPM": 1797})
    (tmp_path / "b.mat").write_bytes((tmp_path / "a.mat").read_bytes()[:300])

    pages, failures = read_all(archive_of(plant))

    start = datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert batch_of(pages).select("tag", "timestamp", "value").rows() == [
        ("X1_DE_time", start, 1.0),
        ("X1_DE_time", start + timedelta(seconds=0.5), 2.0),
        ("bearing.gs", start, 3.0),
        ("bearing.gs", start + timedelta(seconds=0.25), 4.0),
    ]
    assert failures[0] == "tags.csv row 4: no file has X1_BA_time, the address of X1_BA_time; the nearest is X1_DE_time"
    assert failures[1].startswith("b.mat: cannot be read: ")


def test_wide_parquet_tables_keep_their_types(tmp_path: Path) -> None:
    """Integers, booleans and naive datetimes of a wide Parquet table are read without conversion to text."""
    plant = plant_of(
        tmp_path, {"n": 0, "on": 0}, 'path = "a.parquet"\nlayout = "wide"\ntimezone = "Asia/Tokyo"', kind="process"
    )
    times = pl.Series(["2026-03-01T09:00:00", "2026-03-01T09:00:01"]).str.to_datetime(time_unit="ms")
    pl.DataFrame({"n": [7, None], "on": [True, False], "timestamp": times}).write_parquet(tmp_path / "a.parquet")

    pages, failures = read_all(archive_of(plant))

    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert batch_of(pages).select("tag", "timestamp", "value", "quality").rows() == [
        ("n", start, 7.0, 0),
        ("on", start, 1.0, 0),
        ("on", start + timedelta(seconds=1), 0.0, 0),
    ]
    assert failures == []


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ('path = "a.dat"\nlayout = "long"', "process", "names no readable files; they end in .csv, .txt, .parquet"),
        ('path = "a.csv"\nlayout = "wide"\nquality = "q"', "process", "quality is a column of long tables"),
        (
            'path = "a.csv"\nlayout = "wide"\nencoding = "ebcdic"',
            "process",
            "unknown encoding 'ebcdic'; write one such",
        ),
        ('path = "a.xlsx"\nlayout = "waveform"', "vibration", '.xlsx files hold tables; write layout = "long" or'),
        ('path = "a.csv"\nlayout = "long"\nthousands = "."', "process", "decimal and thousands are both '.'"),
        (
            'path = "a.csv"\nlayout = "waveform"\nevery = "1m"\nstart_pattern = "%Y%m%d"',
            "vibration",
            "every goes with start, which is the time of file number 1",
        ),
        (
            'path = "a.csv"\nlayout = "waveform"\nstart_pattern = "%H%M%S"',
            "vibration",
            "the pattern '%H%M%S' has no date",
        ),
        ('path = "a.csv"\nlayout = "tall"', "process", "Input should be 'long', 'wide' or 'waveform', not 'tall'"),
        (
            'path = "a.csv"\nlayout = "long"\ntimezone = "Berlin"',
            "process",
            "unknown time zone 'Berlin'; write one such as",
        ),
        ('path = "a.csv"\nlayout = "long"\nquote = ","', "process", "quote and separator are both ','"),
        ('path = "a.mat"\nlayout = "wide"', "process", '.mat files hold waveforms; write layout = "waveform"'),
        (
            'path = "a.mat"\nlayout = "waveform"',
            "vibration",
            ".mat files do not say when they start; give start_pattern",
        ),
        ('path = "a.csv"\nlayout = "wide"\nstart = 2026-01-01', "process", "start and start_pattern are for waveforms"),
        (
            'path = "a.mat"\nlayout = "waveform"\nstart = 2026-01-01T00:00:00Z',
            "process",
            "tags.csv row 2: has no sample rate: waveforms fill vibration points, not process ones",
        ),
        (
            'path = "a.txt"\nlayout = "waveform"\nstart = 2026-01-01T00:00:00Z',
            "vibration",
            "tags.csv row 2: the address 'x' is not the number of a column or channel, counted from 1",
        ),
    ],
)
def test_a_wrong_archive_is_reported_before_any_file_opens(
    tmp_path: Path, options: str, kind: str, message: str
) -> None:
    """Keys that contradict each other or the tags are configuration errors."""
    with pytest.raises(ConfigError) as caught:
        archive_of(plant_of(tmp_path, {"x": 1.0}, options, kind=kind))

    assert message in str(caught.value)


def test_an_archive_without_files_or_times_says_so(tmp_path: Path) -> None:
    """No file, or none with a time in it, is a SourceError that names the pattern or the files."""
    archive = archive_of(plant_of(tmp_path, {"x": 1.0}, 'path = "a*.csv"\nlayout = "wide"', kind="process"))
    with pytest.raises(SourceError, match=r"archive case: no file matches 'a\*.csv' in .*; check path"):
        extent_of(archive)
    (tmp_path / "tags.csv").rename(tmp_path / "a.csv")

    with pytest.raises(SourceError, match=r"it has no times that can be read\na.csv: there is no column timestamp"):
        extent_of(archive)
