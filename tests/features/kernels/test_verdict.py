"""The verdict names simulated faults with slip and none on noise, whatever the length of the windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import signal
from scipy.io import loadmat

from features.define.spec import Floats
from features.kernels.bearing import fault_orders
from features.kernels.diagnosis import ENVELOPE, LINES, Diagnosis
from features.kernels.spectrum import spectra
from features.kernels.verdict import DEPTH, NONE, SNR, Lines, Verdict, diagnose, vote
from features.kernels.vibration import Waveforms
from historian.plant.model import Bearing

BEARING = Bearing(balls=9, ball_diameter=0.3126, pitch_diameter=1.537)
ORDERS = fault_orders(BEARING)
RATE, SHAFT = 6_400.0, 29.95
FAULTS = {"bpfo": "outer race", "bpfi": "inner race", "bsf2": "rolling element", "ftf": "cage"}


def features(
    windows: Floats, shaft: float = SHAFT, rate: float = RATE, bearing: Bearing = BEARING
) -> dict[str, Floats]:
    """The envelope features of windows [windows, N]."""
    waveforms = Waveforms(windows, rate, "g")
    batch = Diagnosis(waveforms, spectra(waveforms), np.full(len(windows), shaft), bearing)
    return {spec.name: spec.kernel(batch) for spec in ENVELOPE}


def verdict(windows: Floats, shaft: float = SHAFT, rate: float = RATE, bearing: Bearing = BEARING) -> Verdict:
    """On windows [windows, N] of one bearing."""
    shafts = np.full(len(windows), shaft)
    return diagnose(features(windows, shaft, rate, bearing), shafts, fault_orders(bearing), rate / windows.shape[1])


def faulty(rate_of_impacts: float, load: float, *, seed: int = 0, strength: float = 6.0) -> Floats:
    """Five seconds, [5, 6400]: noise and impacts whose intervals scatter by 1 %, louder `load` times a second."""
    random = np.random.default_rng(seed)
    seconds = 5
    intervals = random.normal(1, 0.01, int(1.2 * seconds * rate_of_impacts)) / rate_of_impacts
    times = np.cumsum(intervals)
    times = times[times < seconds]
    wave = np.zeros(int(seconds * RATE))
    wave[(times * RATE).astype(int)] = 1 + 0.8 * np.cos(2 * np.pi * load * times)
    ring = np.arange(200) / RATE
    decay = np.exp(-500 * ring) * np.sin(2 * np.pi * 1_700 * ring)
    return (signal.fftconvolve(wave, decay)[: len(wave)] * strength + random.normal(size=len(wave))).reshape(
        seconds, -1
    )


@pytest.mark.parametrize(("line", "load"), [("bpfo", 0.0), ("bpfi", SHAFT), ("bsf2", ORDERS.ftf * SHAFT), ("ftf", 0.0)])
@pytest.mark.parametrize("slip", [-0.012, 0.0, 0.008])
def test_a_simulated_fault_is_named_and_its_slip_is_seen(line: str, load: float, slip: float) -> None:
    """Each part's fault is named with its modulation; the found frequency is that of the impacts to 0.3 %."""
    impacts = getattr(ORDERS, line) * SHAFT * (1 + slip)
    result = verdict(faulty(impacts, load, strength=24 if line == "ftf" else 6))
    assert result.fault == FAULTS[line], result.why
    assert result.strongest is not None
    assert result.strongest.found == pytest.approx(impacts, rel=3e-3)


def test_noise_gives_no_verdict() -> None:
    """Of 1,200 windows of noise, and as many with random bursts, at most one in 500 exceeds the limit at any line."""
    random = np.random.default_rng(9)
    ring = np.arange(200) / RATE
    decay = (np.exp(-500 * ring) * np.sin(2 * np.pi * 1_700 * ring))[None]

    def gaussian() -> Floats:
        return random.normal(size=(40, 6_400))

    def bursts() -> Floats:
        impacts = np.zeros((40, 6_400))
        impacts[np.arange(40)[:, None], random.integers(0, 6_400, (40, 20))] = 20 * random.exponential(size=(40, 20))
        return signal.fftconvolve(impacts, decay, axes=1)[:, :6_400] + gaussian()

    for kind in (gaussian, bursts):
        batches = [features(kind()) for _ in range(30)]
        for line in LINES:
            passed = [
                (one[f"ses_{line}_snr"] >= SNR) & (one[f"ses_{line}_amp"] >= DEPTH * one["ses_mean"]) for one in batches
            ]
            assert np.mean(passed) <= 1 / 500, (kind.__name__, line)


def test_a_multiple_of_the_shaft_is_no_fault() -> None:
    """A 6203 has BPFO at 3.053 turns; impacts three times a turn, which the coupling causes, are distinguished."""
    bearing = Bearing(balls=8, ball_diameter=0.2656, pitch_diameter=1.122)
    result = verdict(faulty(3 * SHAFT, 0.0), bearing=bearing)
    assert result.fault == NONE
    assert result.strongest is not None
    assert result.strongest.fault == "outer race"
    assert result.strongest.snr > SNR


def test_one_window_is_not_enough() -> None:
    """Two are not enough either; three are."""
    windows = faulty(ORDERS.bpfo * SHAFT, 0.0)
    assert [verdict(windows[:count]).fault for count in (1, 2, 3)] == [NONE, NONE, "outer race"]


def test_without_speed_it_says_that_there_are_no_lines() -> None:
    """Without speed no line is defined."""
    result = verdict(faulty(ORDERS.bpfo * SHAFT, 0.0), shaft=np.nan)
    assert (result.fault, result.strongest) == (NONE, None)
    assert result.why.startswith("no window has a line to look at")


@pytest.mark.parametrize("seconds", [0.9, 1.0, 1.5, 2.0, 2.5, 3.0])
def test_the_length_of_the_windows_does_not_matter(shared_data: Path, seconds: float) -> None:
    """Three windows of a record are enough, whether they are of one second or three."""
    records = {
        "12k_DE_IR007_105_0": (12_000.0, "inner race"),
        "12k_DE_OR021@6_234_0": (12_000.0, "outer race"),
        "12k_DE_B007_118_0": (12_000.0, NONE),
        "12k_DE_B014_185_0": (12_000.0, NONE),
        "97_Normal_0": (48_000.0, NONE),
    }
    for name, (rate, fault) in records.items():
        file = loadmat(shared_data / "cwru" / f"{name}.mat")
        wave = next(value for key, value in file.items() if key.endswith("_DE_time")).ravel()
        size = int(seconds * rate)
        result = verdict(wave[: len(wave) // size * size].reshape(-1, size), 1796 / 60, rate)
        assert result.fault == fault, (name, result.why)


def test_four_sound_bearings_on_one_shaft_have_no_fault(shared_data: Path) -> None:
    """The first ten snapshots of the IMS run-to-failure test, five weeks before it failed, on all eight channels."""
    bearing = Bearing(balls=16, ball_diameter=0.331, pitch_diameter=2.815, contact_angle=15.17)
    rows = [np.loadtxt(path).T for path in sorted((shared_data / "ims").glob("*.gz"))]
    channels = np.stack(rows, axis=1)
    assert channels.shape == (8, 10, 20_480)
    assert {verdict(channel, 2000 / 60, 20_000.0, bearing).fault for channel in channels} == {NONE}


def test_no_fault_is_named_against_a_higher_line_on_a_multiple_of_the_shaft() -> None:
    """The inner race qualifies; the outer race's line, on three times the shaft's speed, is higher above its floor."""
    expected = np.broadcast_to([91.0, 162.0, 141.0, 12.0], (1, 5, 4))
    found = expected + np.array([-1.15, 0, 0, 0])
    snr, depth = np.array([30.0, 8, 2, 2]), np.array([0.9, 0.4, 0.1, 0.1])

    def votes(height: float) -> int:
        heights = np.broadcast_to([height, *snr[1:]], (1, 5, 4))
        depths = np.broadcast_to(depth, (1, 5, 4))
        return int(vote(Lines(heights, depths, found, expected, np.full((1, 5), SHAFT), 1.0)).named[0])

    assert (votes(30.0), votes(7.0)) == (-1, 1)
