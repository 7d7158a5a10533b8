"""The speed and the rate that a waveform file states: a sample of the speed tag, compared with the plant file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from nptdms import ChannelObject, GroupObject, RootObject, TdmsWriter
from scipy.io import savemat

from historian.errors import ConfigError
from historian.plant.load import load_plant
from tests.bridge.drivers.files.exports import archive_of, batch_of, read_all, rejected_of

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MATLAB = 'path = "*.mat"\nstart = 2026-03-01T12:00:00Z'


def machine(directory: Path, address: str, *, archive: str = MATLAB, unit: str = "rpm", wave: str = "de") -> Path:
    """A machine of 1,772 rpm until noon and 1,500 from then on; an archive with its waveform and its stated speed."""
    (directory / "plant.toml").write_text(
        f"""
[site]
name = "case"
[classes.c.points]
de = {{ kind = "vibration", sample_rate = 4 }}
speed = {{ kind = "speed", unit = "{unit}" }}
[assets.a]
class = "c"
speed_rpm = 1772
changes = [{{ since = 2026-03-01T12:00:00Z, speed_rpm = 1500 }}]
[archives.case]
driver = "files"
tags = "tags.csv"
layout = "waveform"
{archive}
""",
        encoding="utf-8",
    )
    rows = [f"a.de,a,de,{wave}", f"a.speed,a,speed,{address}"]
    (directory / "tags.csv").write_text("\n".join(["tag,asset,point,address", *rows, ""]), encoding="utf-8")
    return directory


@pytest.mark.parametrize(
    ("stated", "unit", "problem"),
    [
        ({"RPM": 1512}, "rpm", None),
        ({"RPM": 25.0}, "Hz", None),
        ({"RPM": 0}, "rpm", None),
        ({"RPM": [1499, 1500, 1504]}, "rpm", None),
        ({"RPM": 1732}, "rpm", "the file states a speed of 1732 rpm, plant.toml 1500 rpm; correct speed_rpm"),
        ({"RPM": 29.5}, "Hz", "the file states a speed of 1770 rpm, plant.toml 1500 rpm; correct speed_rpm"),
    ],
    ids=["agrees", "in Hz", "stands", "a column", "contradicts", "contradicts in Hz"],
)
def test_a_stated_speed_is_a_sample_and_is_compared(
    tmp_path: Path, stated: dict[str, float | list[float]], unit: str, problem: str | None
) -> None:
    """It is compared with the fixed speed of its time; the samples are read whatever the comparison says."""
    plant = machine(tmp_path, "RPM", unit=unit)
    savemat(tmp_path / "a.mat", {"de": [1.0, 2.0], **stated})

    pages, failures = read_all(archive_of(plant))

    mean = float(np.mean(stated["RPM"]))
    found = batch_of(pages).filter(tag="a.speed").select("timestamp", "value").rows()
    assert found == [(START, pytest.approx(mean))]
    assert batch_of(pages).filter(tag="a.de").height == 2
    assert [problem in each for each in failures] == [True] if problem else not failures


def test_a_speed_that_varies_or_is_no_number_is_rejected(tmp_path: Path) -> None:
    """One number cannot state a run-up, and NaN states nothing; the waveform is read all the same."""
    plant = machine(tmp_path, "RPM", archive='path = "*.mat"\nstart_pattern = "%Y%m%d%H"\ntimezone = "UTC"')
    savemat(tmp_path / "2026030112.mat", {"de": [1.0, 2.0], "RPM": [900, 1500]})
    savemat(tmp_path / "2026030113.mat", {"de": [1.0, 2.0], "RPM": np.nan})

    pages, _ = read_all(archive_of(plant))

    assert rejected_of(pages).select("tag", "reason").rows() == [
        ("a.speed", "the speed varies by more than 2 % in the file, so that one number cannot state it"),
        ("a.speed", "the file states no speed: a number is missing"),
    ]
    assert batch_of(pages)["tag"].unique().to_list() == ["a.de"]


@pytest.mark.parametrize("address", ["@RPM", "Vib@RPM", "Vib/de@RPM"])
def test_tdms_states_it_in_a_property(tmp_path: Path, address: str) -> None:
    """Of the file, of a group, or of a channel."""
    plant = machine(tmp_path, address, archive='path = "*.tdms"', wave="Vib/de")
    about = {"wf_start_time": np.datetime64("2026-03-01T12:00:00"), "wf_increment": 0.25, "RPM": 1732.0}
    with TdmsWriter(tmp_path / "a.tdms") as writer:
        channel = ChannelObject("Vib", "de", np.array([1.0, 2.0]), properties=about)
        writer.write_segment([RootObject({"RPM": 1732.0}), GroupObject("Vib", {"RPM": 1732.0}), channel])

    pages, failures = read_all(archive_of(plant))

    assert batch_of(pages).filter(tag="a.speed").select("timestamp", "value").rows() == [(START, 1732.0)]
    assert ["states a speed of 1732 rpm" in each for each in failures] == [True]


def test_a_column_of_text_states_it(tmp_path: Path) -> None:
    """Each row has the speed, as loggers write it."""
    plant = machine(tmp_path, "2", archive='path = "*.txt"\nstart = 2026-03-01T12:00:00Z', wave="1")
    (tmp_path / "a.txt").write_text("1.5,1500\n2.5,1504\n", encoding="utf-8")
    pages, failures = read_all(archive_of(plant))
    assert batch_of(pages).filter(tag="a.speed")["value"].to_list() == [1502.0]
    assert not failures


def test_matlab_states_its_rate_where_the_key_rate_says(tmp_path: Path) -> None:
    """A file of another rate is not read, as in the formats that always state theirs."""
    plant = machine(tmp_path, "RPM", archive=f'{MATLAB}\nrate = "b.sr"')
    savemat(tmp_path / "a.mat", {"de": [1.0, 2.0], "b": {"sr": 48}, "RPM": 1500})
    pages, failures = read_all(archive_of(plant))
    assert batch_of(pages)["tag"].to_list() == ["a.speed"]
    assert len(failures) == 1
    assert "a.de: the file states a sample rate of 48 Hz, plant.toml 4 Hz" in failures[0]


def test_what_cannot_state_a_speed_is_refused(tmp_path: Path) -> None:
    """Parquet has a layout for such columns; the time of a last sample is no start."""
    for archive, text in (
        ('path = "*.parquet"', 'by a second archive with layout = "wide"'),
        (f'{MATLAB}\nstamp = "last"', 'stamp = "last" leaves that open'),
        ('path = "*.wav"\nstart = 2026-03-01T12:00:00Z\nrate = "x"', "rate is for MATLAB files"),
    ):
        with pytest.raises(ConfigError, match=text):
            load_plant(machine(tmp_path, "1", archive=archive, wave="1"))
