"""Plots: the traces of each figure, and the files that the commands write."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from features.cli.plot import app
from features.plots.figures import Mark, signal_figure, spectrum_figure, trend_figure, waterfall_figure
from historian.errors import HistorianError
from historian.plant.model import Zones
from historian.stores.protocols import EXTREMES, GAPS
from tests.commands import record_of

T0 = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_a_signal_has_a_panel_per_tag_and_its_gaps() -> None:
    """Each has the lowest and the highest values; gaps are grey."""
    extremes = pl.DataFrame([("a", T0, 1.0, 2.0), ("a", T0 + MINUTE, 0.0, 3.0)], schema=EXTREMES, orient="row")
    gaps = pl.DataFrame([("b", T0, T0 + MINUTE)], schema=GAPS, orient="row")
    first, second = signal_figure(extremes, gaps, {"a": "g", "b": "degC"}, title="two").axes
    assert first.get_ylabel() == "a\ng"
    assert np.asarray(first.collections[0].get_paths()[0].vertices)[:, 1].max() == 3
    assert (len(first.patches), len(second.patches)) == (0, 1)


def test_a_trend_has_a_line_per_asset_with_gaps_where_nothing_is_known() -> None:
    """The zones of its standard are in the background."""
    times = [T0, T0 + MINUTE, T0 + 2 * MINUTE]
    rows = pl.DataFrame({"asset": ["a"] * 3, "event_timestamp": times, "v": [1.0, None, 2.0]})
    limits = Zones(limits=(1.4, 2.8, 4.5), source="Works standard 7:2024", machine="fans")
    (axes,) = trend_figure(rows, {"v": "mm/s"}, title="velocity", zones={"v": limits}).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1, np.nan, 2])
    assert [text.get_text() for text in axes.texts] == ["A", "B"]
    assert axes.get_ylim()[1] < 2.8
    assert axes.get_title(loc="right") == "Works standard 7:2024, fans"


def test_a_spectrum_marks_rotation_and_fault_frequencies_with_harmonics() -> None:
    """Harmonics are marked up to the end of the axis."""
    frequencies = np.arange(0, 500, 1.0)
    marks = [Mark("shaft", 25), Mark("BPFO", 200, 3)]
    (axes,) = spectrum_figure(frequencies, frequencies * 0, title="", unit="g", marks=marks, until=450).axes
    assert [np.asarray(line.get_xdata()).tolist()[0] for line in axes.lines[1:]] == [25, 50, 75, 200, 400]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["shaft 25.0 Hz", "BPFO 200.0 Hz"]


def test_a_waterfall_counts_down_from_its_strongest_line() -> None:
    """Levels are in decibels below it; silence is not minus infinity."""
    spectra = np.array([[0.0, 1.0], [10.0, 0.1]])
    axes = waterfall_figure([T0, T0 + MINUTE], np.array([10.0, 20.0]), spectra, title="", unit="g").axes[0]
    drawn = np.asarray(axes.collections[0].get_array()).reshape(2, 2)
    np.testing.assert_allclose(drawn[1], [0, -40])
    assert np.isfinite(drawn).all()


def test_a_waterfall_marks_frequencies_as_lines_over_time() -> None:
    """A line has a gap where the speed is unknown, and stays within the axis."""
    marks = [[Mark("shaft", 25.0), Mark("BPFO", 500.0)], [], [Mark("shaft", 30.0), Mark("BPFO", 600.0)]]
    instants = [T0, T0 + MINUTE, T0 + 2 * MINUTE]
    axes = waterfall_figure(instants, np.array([10.0, 100.0]), np.ones((3, 2)), title="", unit="g", marks=marks).axes[0]
    (course,) = axes.lines
    np.testing.assert_array_equal(course.get_xdata(), [25, np.nan, 30])
    assert course.get_label() == "shaft"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compressor whose bearing begins to fail, with its past in the store."""
    directory = tmp_path_factory.mktemp("plots") / "plant"
    record_of("simulate", "--plant-dir", directory, "--history", "10m", "--no-serve")
    record_of("backfill", "--plant", directory)
    record_of("compute", "--plant", directory, "--jobs", "1")
    return directory


def plot(*command: str | Path, plant: Path) -> dict[str, Any]:
    """The result of `penstock plot`; its errors are raised."""
    done = CliRunner().invoke(app, [*map(str, command), "--plant", str(plant), "--json"])
    if done.exception:
        raise done.exception
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


PICTURES: dict[str, list[str]] = {
    "signal": ["c101.de_h", "c101.oil_temp", "--start", "now-30m"],
    "feature": ["compressor_vibration:de_h_rms_ac", "compressor_vibration:de_h_kurtosis"],
    "spectrum": ["c101.de_h"],
    "envelope": ["c101.de_h"],
    "waterfall": ["c101.de_h", "--start", "now-6m"],
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_picture_can_be_a_png_and_a_page(simulated: Path, tmp_path: Path, kind: str) -> None:
    """The file's name decides."""
    starts = {"png": b"\x89PNG\r\n", "html": b"<!doctype html>"}
    for suffix, start in starts.items():
        file = tmp_path / f"{kind}.{suffix}"
        assert plot(kind, *PICTURES[kind], "--out", file, plant=simulated)["file"] == str(file)
        assert file.read_bytes().startswith(start)


def test_the_envelope_marks_the_bearings_own_lines(simulated: Path, tmp_path: Path) -> None:
    """They follow from its geometry and the speed tag."""
    marks = plot("envelope", "c101.de_h", "--out", tmp_path / "x.svg", plant=simulated)["marks_hz"]
    assert marks["BPFO"] + marks["BPFI"] == pytest.approx(9 * marks["shaft"])
    assert marks["shaft"] == pytest.approx(1480 / 60, rel=0.01)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["spectrum", "c101.oil_temp"], "c101.oil_temp is no waveform; spectra need a vibration point"),
        (["spectrum", "c101.de_x"], "there is no tag 'c101.de_x'; did you mean c101.de_"),
        (["feature", "compressor_vibration:nope"], "unknown feature 'compressor_vibration:nope'"),
        (["signal", "c101.de_h", "--out", "x.gif"], "x.gif is neither .png, .svg nor .html"),
        (["spectrum", "c101.de_h", "--at", "2020-01-01T00:00:00Z"], "has no Good samples in the day before 2020-01-01"),
        (["signal", "c101.de_h", "--gap", "soon"], "--gap: 'soon' is not a duration"),
        (["envelope", "c101.de_h", "--length", "soon"], "--length: 'soon' is not a duration"),
        (["signal", "c101.de_h", "--start", "now", "--end", "now-1h"], "--start now is not before --end now-1h"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(simulated: Path, command: list[str], message: str) -> None:
    """The error is one of Penstock's own."""
    with pytest.raises(HistorianError, match=re.escape(message)):
        plot(*command, plant=simulated)
