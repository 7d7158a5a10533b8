"""Plots mark shaft and fault frequencies where the features know them, and otherwise say why not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from features.cli.compute import compute
from features.cli.plot import app
from features.plots.figures import Mark
from features.plots.marks import Turning, turning
from features.plots.snapshots import newest_snapshot
from historian.errors import InvalidInput
from historian.plant.load import load_plant
from historian.plant.model import Bearing
from historian.plant.plant import Plant
from historian.quality import BAD
from historian.stores.open import open_store
from historian.times import from_micros, micros
from tests.features.stretches import write_plant

START = datetime(2026, 3, 1, tzinfo=UTC)
END = START + timedelta(seconds=2)
RATE = 6_400
FITS = "{ balls = 9, ball_diameter = 0.3126, pitch_diameter = 1.537 }"
CROWDED = "{ balls = 20, ball_diameter = 0.3126, pitch_diameter = 1.537 }"
BPFO = 9 / 2 * (1 - 0.3126 / 1.537)
FAULTS = {"BPFO", "BPFI", "2xBSF", "FTF"}
FILE = """
[site]
name = "works"

[classes.fan.points]
de_h = {{ kind = "vibration", unit = "g", sample_rate = 6400, zones = {{ limits = [1.4, 2.8, 4.5], \
source = "Works standard 7:2024", machine = "fans" }} }}
motor_speed = {{ kind = "speed", unit = "rpm", max_staleness = "10s" }}
speed = {{ kind = "speed", unit = "Hz", max_staleness = "10s" }}

[classes.fan.features]
vibration = {{ window = "1s", points = ["de_h"], features = ["spectrum", "orders"], speed = "speed" }}

[assets.f1]
class = "fan"
{more}

[archives.history]
driver = "files"
path = "history/*.csv"
layout = "long"
tags = "tags.csv"
"""
Works = Callable[..., Plant]


@pytest.fixture
def works(tmp_path: Path) -> Works:
    """A fan with a damaged outer race: its bearing, and samples (seconds, Hz, quality) of its speed."""

    def make(bearing: str | None = FITS, *speeds: tuple[float, float, int], rpm: float | None = None) -> Plant:
        optional = [f"bearing = {bearing}"] if bearing else []
        optional += [f"speed_rpm = {rpm}"] if rpm else []
        (tmp_path / "plant.toml").write_text(FILE.format(more="\n".join(optional)))
        points = ["de_h", "motor_speed", *(["speed"] if speeds else [])]
        rows = "".join(f"f1.{name},f1,{name},{name}\n" for name in points)
        (tmp_path / "tags.csv").write_text(f"tag,asset,point,address\n{rows}")
        plant = load_plant(tmp_path)
        seconds = np.arange(2 * RATE) / RATE
        impacts = (1 + np.cos(2 * np.pi * BPFO * 25 * seconds)) * np.sin(2 * np.pi * 1_700 * seconds)
        noise = np.random.default_rng(1).normal(size=len(seconds)) / 10
        turn = np.sin(2 * np.pi * 25 * seconds) / 10
        write(plant, "f1.de_h", seconds, impacts + noise + turn)
        write(plant, "f1.motor_speed", np.zeros(1), np.array([3_000.0]))
        if speeds:
            write(plant, "f1.speed", *np.array(speeds).T)
        return plant

    return make


def write(plant: Plant, tag: str, seconds: Any, values: Any, quality: Any = 0) -> None:
    """Samples of a tag, from START on."""
    times = pl.Series(micros(START) + np.round(seconds * 1e6).astype(np.int64)).cast(pl.Datetime("us", "UTC"))
    codes = pl.Series(np.broadcast_to(quality, len(times)).astype(np.int64))
    rows = pl.DataFrame({"tag": tag, "timestamp": times, "value": values, "text": None, "quality": codes})
    write_plant(plant, rows, now=START)


def plot(plant: Plant, kind: str, *options: str | Path) -> tuple[dict[str, Any], list[str]]:
    """The result of `penstock plot`, and the texts in the picture."""
    out = plant.root / f"{kind}.svg"
    arguments = [kind, *map(str, options), "--plant", str(plant.root), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), re.findall(r"<!-- (.*?) -->", out.read_text(), re.DOTALL)


def look(plant: Plant, kind: str) -> tuple[dict[str, Any], str]:
    """The same for a waveform's spectrum or envelope, with the texts joined."""
    answer, texts = plot(plant, kind, "f1.de_h", "--at", f"{END:%FT%TZ}")
    return answer, "\n".join(texts)


@pytest.mark.parametrize("kind", ["spectrum", "envelope"])
def test_the_shaft_and_the_bearings_faults_are_marked(works: Works, kind: str) -> None:
    """The speed is that of the point the feature set names, not of the class's first; nothing is reported missing."""
    answer, texts = look(works(FITS, (0, 25, 0)), kind)
    assert answer["marks_hz"].keys() == {"shaft", *FAULTS}
    assert answer["shaft_hz"] == 25
    assert answer["marks_hz"]["BPFO"] == pytest.approx(BPFO * 25)
    assert answer["unmarked"] == {}
    assert "shaft 25.0 Hz" in texts
    assert "no marks" not in texts


def test_the_envelope_shows_the_height_of_each_line(works: Works) -> None:
    """The damaged race is far above its floor, others are not; shaft and cage, with too few turns, have no height."""
    _, texts = look(works(FITS, (0, 25, 0)), "envelope")
    heights = {name: float(height) for name, height in re.findall(r"(\S+) \S+ Hz, (\S+) floors high", texts)}
    assert heights.keys() == FAULTS - {"FTF"}
    assert heights.pop("BPFO") > 50
    assert max(heights.values()) < 5


@pytest.mark.parametrize("kind", ["spectrum", "envelope"])
@pytest.mark.parametrize(
    ("bearing", "why"),
    [
        (CROWDED, "20 balls of 0.3126 do not fit a pitch circle of 1.537: each has room for 0.2404"),
        (None, "no bearing is given"),
    ],
    ids=["crowded", "none"],
)
def test_an_impossible_bearing_is_not_marked(works: Works, kind: str, bearing: str | None, why: str) -> None:
    """The shaft is marked, and the picture says why the bearing is not."""
    answer, texts = look(works(bearing, (0, 25, 0)), kind)
    assert answer["marks_hz"] == {"shaft": 25}
    assert answer["unmarked"] == {f"no bearing marks: {why}": 1}
    assert all(text in texts for text in answer["unmarked"])


def test_exchanged_diameters_are_not_marked() -> None:
    """The plant file refuses them too: negative frequencies would be counted and drawn nowhere."""
    known = Turning(25.0, Bearing(balls=9, ball_diameter=39, pitch_diameter=7.9), "")
    assert known.marks == [Mark("shaft", 25.0)]
    assert known.lacks.endswith("ball_diameter 39 is not smaller than pitch_diameter 7.9; are they exchanged?")


NO_SPEED = "for less than 80 % of the window the speed is Good, fresh and above zero, or there is none at all"


@pytest.mark.parametrize("kind", ["spectrum", "envelope"])
@pytest.mark.parametrize(
    ("speeds", "why"),
    [
        ([(0, 25, 0), (1.5, 25.6, 0)], "the speed varies by more than 2 % of its mean in the window"),
        ([(0, 25, 0), (1.1, 25, BAD)], NO_SPEED),
        ([(-60, 25, 0)], NO_SPEED),
        ([(0, 0, 0)], "the shaft stands still, by f1.speed"),
    ],
    ids=["varies", "bad", "stale", "standstill"],
)
def test_without_a_steady_speed_nothing_is_marked(
    works: Works, kind: str, speeds: list[tuple[float, float, int]], why: str
) -> None:
    """The speed is varying, Bad, stale or absent: the picture says which, and still shows its spectrum."""
    answer, texts = look(works(FITS, *speeds), kind)
    assert (answer["shaft_hz"], answer["marks_hz"]) == (None, {})
    assert answer["unmarked"] == {f"no marks: {why}": 1}
    assert all(text in texts for text in answer["unmarked"])
    assert "500" in texts.splitlines()  # the axis is as long as without a bearing


def test_an_unsteady_speed_outside_the_waveform_does_not_matter(works: Works) -> None:
    """A speed that came after the waveform does not matter either."""
    answer, _ = look(works(FITS, (0, 10, 0), (0.9, 25, 0), (2.5, 0, 0)), "envelope")
    assert answer["shaft_hz"] == 25


def test_the_plant_files_speed_is_used_where_there_is_no_speed_tag(works: Works) -> None:
    """Features use it in the same way."""
    assert look(works(FITS, rpm=1_500), "spectrum")[0]["shaft_hz"] == 25
    assert look(works(FITS), "spectrum")[0]["unmarked"] == {f"no marks: {NO_SPEED}": 1}


def test_a_slow_shaft_keeps_part_of_the_spectrum_visible(works: Works) -> None:
    """Its faults are at a few hertz; the envelope's axis extends further."""
    _, texts = look(works(FITS, (0, 0.05, 0)), "envelope")
    assert "50" in texts.splitlines()


def test_a_waterfall_marks_the_spectra_with_a_known_speed(works: Works) -> None:
    """The others are counted by their reason."""
    plant = works(FITS, (-1, 25, 0), (1, 0, 0))
    answer, texts = plot(plant, "waterfall", "f1.de_h", "--start", f"{START:%FT%TZ}", "--end", f"{END:%FT%TZ}")
    ((why, count),) = [item for item in answer["unmarked"].items() if "stands still" in item[0]]
    assert why == "no marks: the shaft stands still, by f1.speed"
    assert 0 < count < answer["spectra"]
    assert f"{why} ({count} of {answer['spectra']})" in texts
    assert {"shaft", *FAULTS} <= set(texts)


def test_the_marks_are_those_of_the_features(works: Works) -> None:
    """A picture of a window finds the speed its row was computed with."""
    plant = works(FITS, (0, 25, 0), (1.2, 25.2, 0))
    found = newest_snapshot(open_store(plant), plant.tags["f1.de_h"], END, longest=timedelta(seconds=1))
    assert (found.start, found.end) == (from_micros(micros(START) + 1_000_000), END)
    known = turning(open_store(plant), plant, plant.tags["f1.de_h"], found)
    assert known.shaft == pytest.approx(0.2 * 25 + 0.8 * 25.2)


def test_a_velocity_has_the_zones_of_its_point(works: Works) -> None:
    """They are found by the column's name; other columns have none."""
    plant = works(FITS, (0, 25, 0))
    compute(plant.root, as_json=True)
    since = ("--start", f"{START:%FT%TZ}", "--end", f"{END:%FT%TZ}")
    answer, texts = plot(plant, "feature", "fan_vibration:de_h_vel_rms_10_1000", *since)
    assert answer["points"] == 2
    assert {"A", "B", "C", "Works standard 7:2024, fans"} <= set(texts)
    _, texts = plot(plant, "feature", "fan_vibration:de_h_centroid", *since)
    assert not {"A", "Works standard 7:2024, fans"} & set(texts)


def test_a_rate_too_low_for_an_envelope_is_an_error(plant: Plant) -> None:
    """The picture would be empty, as the band starts at 1 kHz."""
    write(plant, "c101.de_h", np.arange(1000) / 1000, np.arange(1000) % 7.0)
    with pytest.raises(InvalidInput, match=r"c101\.de_h has no band for an envelope: 1000 Hz is too low a sample rate"):
        plot(plant, "envelope", "c101.de_h", "--at", f"{END:%FT%TZ}")
