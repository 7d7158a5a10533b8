"""Damaged files of every format: each is named, and none ends a backfill with a stack trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from nptdms import ChannelObject, TdmsWriter
from scipy.io import savemat, wavfile

from historian.errors import SourceError
from tests.bridge.drivers.files.exports import CASES, archive_of, extent_of, plant_with, read_all

STARTED = "layout = 'waveform'\nstart = 2026-03-01T11:00:00Z"
ADDRESSES = {"parquet": "A", "mat": "v", "wav": "1", "tdms": "G/de", "uff": "1", "xlsx": "Flow", "csv.gz": "A"}


def content(kind: str, directory: Path) -> bytes:
    """A sound file of a format."""
    path = directory / f"sound.{kind}"
    if kind == "parquet":
        pl.DataFrame({"timestamp": ["2026-03-01T11:00:00Z"] * 50, "A": range(50)}).write_parquet(path)
    elif kind == "mat":
        savemat(path, {"v": np.arange(50.0), "s": {"x": [1.0, 2.0]}}, do_compression=True)
    elif kind == "wav":
        wavfile.write(path, 1000, np.arange(50, dtype=np.int16))
    elif kind == "tdms":
        with TdmsWriter(path) as file:
            file.write_segment([ChannelObject("G", "de", np.arange(50.0), {"wf_increment": 0.001})])
    else:
        case = {"uff": "universal_files/data/a.uff", "xlsx": "excel_sheets/data/a.xlsx"}.get(
            kind, "compressed/data/all.zip"
        )
        return (CASES / case).read_bytes()
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore:.*a.uff:pytest.PytestUnraisableExceptionWarning")  # pyuff leaves it open
@pytest.mark.parametrize("kind", sorted(ADDRESSES))
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_is_named(tmp_path: Path, kind: str, seed: int) -> None:
    """It is truncated, or some of its bytes are others; whatever its library makes of that, the message is one line."""
    tables = kind in ("parquet", "xlsx", "csv.gz")
    options = "layout = 'wide'\ntimezone = 'UTC'" if tables else STARTED
    tag = {"address": ADDRESSES[kind], **({} if tables else {"rate": 1000})}
    plant = plant_with(tmp_path, {"t": tag}, f"path = 'a.{kind}'\n{options}")
    sound, random = bytearray(content(kind, tmp_path)), np.random.default_rng(seed)
    if seed % 3 == 0:
        del sound[random.integers(len(sound)) :]
    for _ in range(20 * (seed % 3)):
        sound[random.integers(len(sound))] = random.integers(256)
    (tmp_path / f"a.{kind}").write_bytes(sound)
    archive = archive_of(plant)

    try:
        extent_of(archive)
        failures = read_all(archive)[1]
    except SourceError as error:
        failures = str(error).splitlines()[1:]

    assert all(failure.startswith((f"a.{kind}", "tags.csv row 2: ")) for failure in failures)
