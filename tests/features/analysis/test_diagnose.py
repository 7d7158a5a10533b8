"""`penstock diagnose` on real records: no claim a plain envelope contradicts, and what would make a verdict surer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import signal
from scipy.io import loadmat

from features.analysis.diagnose import PointDiagnosis, diagnose_asset
from features.compute.rows.kernel_values import waveform_values
from features.compute.rows.vibration_batches import Machine
from features.define.catalogue import GROUPS
from features.define.spec import Floats
from features.kernels.bearing import fault_orders
from features.kernels.verdict import NONE
from features.windows.tiling import Tiling
from historian.errors import InvalidInput
from historian.plant.model import Bearing
from historian.stores.memory import MemoryStore
from tests.features.analysis.machines import LATER, MFPT, T0, machine, recorded

SKF_6205 = Bearing(balls=9, ball_diameter=0.3126, pitch_diameter=1.537)
TRUTH = {"IR": "inner race", "OR": "outer race", "B0": "rolling element", "No": NONE}


def cwru(path: Path) -> tuple[Floats, float, float]:
    """Samples, rate and rpm of the drive end; the healthy record was sampled at 48 kHz."""
    file = loadmat(path)
    wave: Floats = next(value for key, value in file.items() if key.endswith("_DE_time")).ravel()
    rpm = [float(value.item()) for key, value in file.items() if key.endswith("RPM")]
    return wave, 12_000.0 if path.name.startswith("12k") else 48_000.0, (rpm or [1797.0])[0]


def diagnosed(path: Path, directory: Path) -> PointDiagnosis:
    """What is said of a record of CWRU."""
    wave, rate, rpm = cwru(path)
    (found,) = diagnose_asset(machine(directory, rate, rpm=rpm), recorded(wave, rate), "m1", LATER)
    return found


def plain_envelope(path: Path) -> str:
    """The fault with the highest line over its floor, by scipy's band-pass, Hilbert envelope and FFT of the record."""
    wave, rate, rpm = cwru(path)
    band = signal.butter(4, [1000, 0.4 * rate], "bandpass", fs=rate, output="sos")
    squared = np.abs(signal.hilbert(signal.sosfiltfilt(band, wave - wave.mean()))) ** 2
    lines = np.abs(np.fft.rfft((squared - squared.mean()) * signal.windows.hann(len(wave), sym=False)))
    frequencies = np.fft.rfftfreq(len(wave), 1 / rate)
    heights, orders = {}, fault_orders(SKF_6205)
    for fault, order in (("outer race", orders.bpfo), ("inner race", orders.bpfi), ("rolling element", orders.bsf2)):
        place = frequencies / (order * rpm / 60)
        floor = np.median(lines[(place > 0.7) & (place < 1.3)])
        heights[fault] = lines[(place > 0.98) & (place < 1.02)].max() / floor
    return max(heights, key=heights.__getitem__)


def assert_claims_nothing_wrong(path: Path, directory: Path) -> str:
    """The status; what is named or suspected is the fault of the record, and of its plain envelope."""
    found = diagnosed(path, directory).finding
    truth = TRUTH[path.name.split("_")[1 if path.name.startswith("97") else 2][:2]]
    if found.fault != NONE:
        assert found.fault == plain_envelope(path)
        assert found.fault == truth
    return found.status


@pytest.mark.parametrize("name", ["97_Normal_0", "12k_DE_IR007_108_3", "12k_DE_B014_185_0"])
def test_no_claim_contradicts_a_plain_envelope(shared_data: Path, tmp_path: Path, name: str) -> None:
    """A part of the records, which CI can afford: one healthy, one damaged, one that does not show its damage."""
    status = assert_claims_nothing_wrong(shared_data / "cwru" / f"{name}.mat", tmp_path)
    assert status == ("fault" if "IR" in name else "none")


@pytest.mark.slow
def test_no_claim_contradicts_a_plain_envelope_on_any_record(shared_data: Path, tmp_path: Path) -> None:
    """All records there are: every race is named, and nothing else."""
    paths = sorted((shared_data / "cwru").glob("*.mat"))
    statuses = {path.stem: assert_claims_nothing_wrong(path, tmp_path) for path in paths}
    assert [name for name, status in statuses.items() if status == "fault"] == [
        path.stem for path in paths if "IR" in path.stem or "OR" in path.stem
    ]


def test_an_outer_race_of_mfpt_is_named_with_its_slip(shared_data: Path, tmp_path: Path) -> None:
    """At 1,500 rpm its line lies 1.2 % low, and that is said."""
    inner = loadmat(shared_data / "mfpt" / "OuterRaceFault_vload_4.mat", squeeze_me=True)["bearing"]
    wave, rate = inner["gs"].item().astype(np.float64), float(inner["sr"].item())
    (found,) = diagnose_asset(machine(tmp_path, rate, bearing=MFPT, rpm=1500), recorded(wave, rate), "m1", LATER)
    assert (found.finding.fault, found.windows, found.finding.status) == ("outer race", 3, "fault")
    assert any(text.startswith("a measured speed") for text in found.finding.surer)
    assert any(text.startswith("more windows: there are 3") for text in found.finding.surer)


@pytest.mark.parametrize("run", ["Bearing1_1", "Bearing2_1", "Bearing2_7"])
def test_a_new_bearing_is_not_accused(shared_data: Path, tmp_path: Path, run: str) -> None:
    """The first ten snapshots of FEMTO's runs to failure: a tenth of a second each is too short to see everything."""
    rows = pl.scan_parquet(shared_data / "femto" / f"{run}_acc.parquet").head(10).select("horizontal_g").collect()
    wave = np.concatenate(rows["horizontal_g"].to_list())
    bearing = "{ balls = 13, ball_diameter = 3.5, pitch_diameter = 25.6 }"
    (found,) = diagnose_asset(
        machine(tmp_path, 25_600, bearing=bearing), recorded(wave, 25_600, bursts=10), "m1", LATER
    )
    assert (found.finding.status, found.windows, found.seconds) == ("none", 10, 0.1)
    assert found.finding.confidence == pytest.approx(0.1, abs=0.01)
    assert found.finding.surer[0] == "longer windows, of 10 periods of each line or more: cage cannot be seen in these"


def test_without_a_bearing_it_says_what_is_missing(tmp_path: Path) -> None:
    """There is no verdict, but a level; the fixed speed is marked as not measured."""
    noise = np.random.default_rng(1).normal(size=30_000)
    (found,) = diagnose_asset(machine(tmp_path, 10_000, bearing=""), recorded(noise, 10_000), "m1", LATER)
    assert (found.finding.headline, found.windows) == ("no verdict", 3)
    assert found.finding.surer[0] == "a speed and a bearing: no bearing marks: no bearing is given"
    assert found.levels["rms_ac"] == pytest.approx(1, rel=0.05)
    assert found.zone is not None
    assert found.zone.endswith("(ISO 20816-3:2022, group 2, rigid support)")


def test_without_samples_it_says_so(tmp_path: Path) -> None:
    """An unknown asset or point is an error instead, with what comes close to it."""
    plant = machine(tmp_path, 10_000)
    (found,) = diagnose_asset(plant, MemoryStore(), "m1", LATER)
    assert found.finding.why == "there are no Good samples in the day before"
    assert (found.first, found.windows, found.record["confidence"]) == (None, 0, None)
    with pytest.raises(InvalidInput, match="no asset 'm2'; known: m1"):
        diagnose_asset(plant, MemoryStore(), "m2", LATER)
    with pytest.raises(InvalidInput, match="m1 has no vibration point 'oil'"):
        diagnose_asset(plant, MemoryStore(), "m1", LATER, points=["oil"])


def test_only_what_came_before_is_used(shared_data: Path, tmp_path: Path) -> None:
    """Two seconds after the record began there are two windows, and two are not enough."""
    wave, rate, rpm = cwru(shared_data / "cwru" / "12k_DE_IR007_105_0.mat")
    before = T0.replace(second=2)
    (found,) = diagnose_asset(machine(tmp_path, rate, rpm=rpm), recorded(wave, rate), "m1", before)
    assert (found.windows, found.finding.fault) == (2, NONE)
    assert found.last is not None
    assert abs(found.last - before) < timedelta(milliseconds=1)


def test_columns_say_the_same_of_a_long_window(shared_data: Path) -> None:
    """Two windows of five seconds of record 105, by the group `verdict`: each is divided, and its parts agree."""
    wave, rate, rpm = cwru(shared_data / "cwru" / "12k_DE_IR007_105_0.mat")
    first, tiling = np.array([0, 60_000]), Tiling(5_000_000, 5_000_000, rate)
    known = Machine(np.array([rpm / 60, np.nan]), SKF_6205)
    found = waveform_values(wave, first, tiling, "g", [GROUPS["verdict"]], known)
    assert found["fault"].tolist() == ["inner race", None]
    assert found["why"][0].startswith("inner race: 5 of 5 parts speak for it")
    assert found["confidence"][0] == 1
    assert 0.4 < found["severity"][0] < 0.7
    assert np.isnan(found["severity"][1])
