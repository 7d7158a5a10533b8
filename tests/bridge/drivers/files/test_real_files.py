"""Real measurements: bearing, pump and compressor data as they are published."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from historian.waveforms.encoding import decode
from tests.bridge.drivers.files.exports import (
    HOUR,
    archive_of,
    batch_of,
    extent_of,
    pages_of,
    plant_of,
    read_all,
    rejected_of,
)


def test_femto_bearing_1_1_is_read_whole_with_its_one_conflict(tmp_path: Path, shared_data: Path) -> None:
    """2,803 snapshots of two axes; snapshots 2121 and 2122 share one wrong time: the second is rejected, and named."""
    path = shared_data / "femto" / "Bearing1_1_acc.parquet"
    options = (
        f"path = '{path}'\nlayout = 'waveform'\ntimestamp = 'ts_recorded'\ntimezone = 'Europe/Paris'\nrow = 'file_no'"
    )
    rates = {"horizontal_g": 25_600.0, "vertical_g": 25_600.0}
    archive = archive_of(plant_of(tmp_path, rates, options))

    pages, failures = read_all(archive)

    assert failures == []
    assert max(page.rows.waveforms["count"].sum() for page in pages) <= 4_000_000
    assert sum(page.rows.waveforms["count"].sum() for page in pages) == 2_802 * 2_560 * 2
    rejected = rejected_of(pages)
    assert rejected["count"].to_list() == [2_560, 2_560]
    assert rejected.select("reason", "detail").unique().rows() == [
        (
            "another burst of the tag at this time has different samples; the first one given stays",
            f'{path} row 2122: "2010-12-01T08:38:46.865660+00:00"',
        )
    ]
    assert decode(rejected.filter(tag="horizontal_g")).values[:2].tolist() == [-1.626, -1.538]
    early = datetime(2010, 12, 1, 8, 38, 46, 865_660, tzinfo=UTC)
    kept = batch_of(pages_of(archive, ["horizontal_g"], early, early + HOUR / 3600))
    assert kept["value"][:2].to_list() == [-0.261, -0.485]
    assert extent_of(archive) == (early, datetime(2010, 12, 1, 16, 26, 39, 165_626, tzinfo=UTC))


def test_ims_snapshots_are_read_by_column_number_and_file_name(tmp_path: Path, shared_data: Path) -> None:
    """Gzipped text, 20,480 rows of eight channels, its time in its name; the uneven cadence stays."""
    options = f"""path = '{shared_data / "ims" / "*.txt.gz"}'
layout = 'waveform'
separator = "\t"
start_pattern = '%Y.%m.%d.%H.%M.%S'
timezone = 'America/New_York'"""
    archive = archive_of(plant_of(tmp_path, {"1": 20_000.0, "8": 20_000.0}, options))

    pages, failures = read_all(archive)

    assert failures == []
    batch = batch_of(pages)
    assert batch.height == 10 * 2 * 20_480
    first = datetime(2003, 10, 22, 16, 6, 24, tzinfo=UTC)
    assert batch["timestamp"][:2].to_list() == [first, first + timedelta(microseconds=50)]
    assert batch.group_by("tag", maintain_order=True).first()["value"].to_list() == [-0.022, -0.142]
    assert extent_of(archive) == (first, datetime(2003, 10, 22, 16, 49, 14, 23_951, tzinfo=UTC))


@pytest.mark.parametrize(
    ("file", "address", "rate", "count", "rms"),
    [
        ("cwru/12k_DE_IR007_105_0.mat", "X105_DE_time", 12_000.0, 121_265, 0.2911),
        ("mfpt/InnerRaceFault_vload_1.mat", "bearing.gs", 48_828.0, 146_484, 1.8145),
    ],
)
def test_matlab_files_of_bearing_laboratories_are_read(
    tmp_path: Path, shared_data: Path, file: str, address: str, rate: float, count: int, rms: float
) -> None:
    """CWRU's variables and MFPT's struct."""
    options = f"path = '{shared_data / file}'\nlayout = 'waveform'\nstart = 2000-01-01T00:00:00Z"
    archive = archive_of(plant_of(tmp_path, {address: rate}, options))

    pages, failures = read_all(archive)

    batch = batch_of(pages)
    assert (batch.height, failures) == (count, [])
    assert np.sqrt(np.mean(batch["value"].to_numpy() ** 2)) == pytest.approx(rms, abs=1e-3)
    start = datetime(2000, 1, 1, tzinfo=UTC)
    first, end = extent_of(archive)
    # A long burst becomes several stretches, whose starts are rounded to microseconds.
    length = timedelta(microseconds=round((count - 1) * 1e6 / rate) + 1)
    assert (first, abs(end - start - length) <= timedelta(microseconds=1)) == (start, True)


def test_skab_keeps_its_gaps(tmp_path: Path, shared_data: Path) -> None:
    """A pump's 1 s grid with missing seconds and a gap of 247 s, naive local time, separated by semicolons."""
    options = f"""path = '{shared_data / "skab" / "other_2.csv"}'
layout = 'wide'
separator = ';'
timestamp = 'datetime'
timezone = 'Europe/Moscow'"""
    archive = archive_of(plant_of(tmp_path, {"Pressure": 0, "Volume Flow RateRMS": 0}, options, kind="process"))

    pages, failures = read_all(archive)

    batch = batch_of(pages).filter(tag="Pressure")
    lines = (shared_data / "skab" / "other_2.csv").read_text().splitlines()
    assert (batch.height, failures) == (len(lines) - 1, [])
    assert batch["value"][0] == float(lines[1].split(";")[4])
    assert batch["timestamp"].diff().max() == timedelta(seconds=247)
    assert extent_of(archive)[0].isoformat() == batch["timestamp"][0].isoformat()


def test_metropt_is_read_with_its_steps_of_9_and_10_seconds(tmp_path: Path, shared_data: Path) -> None:
    """A train's compressor: 1,000 rows of analog and digital tags."""
    options = f"path = '{shared_data / 'metropt3' / 'MetroPT3_first1000rows.csv'}'\nlayout = 'wide'\ntimezone = 'UTC'"
    archive = archive_of(plant_of(tmp_path, {"Oil_temperature": 0, "COMP": 0}, options, kind="process"))

    pages, failures = read_all(archive)

    batch = batch_of(pages).filter(tag="Oil_temperature")
    assert (batch.height, failures) == (1_000, [])
    assert batch["value"][:2].to_list() == [53.60000000000001, 53.67500000000001]
    assert dict(batch["timestamp"].diff().drop_nulls().dt.total_seconds().value_counts().rows()) == {10: 910, 9: 89}
