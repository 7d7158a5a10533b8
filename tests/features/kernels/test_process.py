"""Time-weighted statistics agree with a loop over samples, and never use what was not known at the time."""

from __future__ import annotations

import math
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from features.define.catalogue import PROCESS
from features.define.spec import Floats
from features.kernels.process import held_windows, holds, process_windows
from features.windows.stretches import Booleans, Integers
from features.windows.tiling import EndRange, touched_ends

Samples = tuple[Integers, Floats, Booleans]
SECOND = 1_000_000
START = 1_700_000_000 * SECOND - 1_700_000_000 * SECOND % (600 * SECOND)
ALWAYS = EndRange(0, 2 * START, 2 * START)
LENGTH, HOP, STALENESS = 60 * SECOND, 20 * SECOND, 30 * SECOND


@st.composite
def samples(draw: st.DrawFn) -> Samples:
    """Up to 40 samples, 1 ms to 50 s apart, some of them not Good."""
    count = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    times = START + np.cumsum(random.integers(1000, draw(st.sampled_from([2, 20, 50])) * SECOND, count))
    values = np.round(random.normal(draw(st.sampled_from([0.0, 50.0])), 3, count), draw(st.integers(0, 3)))
    return times, values, random.random(count) >= draw(st.sampled_from([0, 0.1]))


def features(given: Samples, wanted: EndRange = ALWAYS) -> dict[int, dict[str, float]]:
    """End -> name -> value."""
    times, values, usable = given
    held, lost = (holds(times, values, which, staleness=STALENESS) for which in (usable, ~usable))
    known = wanted.without_pending
    end = touched_ends(times, times, hop=HOP, lookback=LENGTH + STALENESS, wanted=known)
    windows = process_windows(times, held, lost, end, length=LENGTH, resume=known.until - LENGTH - STALENESS)
    batch = held_windows(held, windows.end, windows.valid, length=LENGTH)
    columns = {spec.name: spec.kernel(batch).tolist() for spec in PROCESS}
    columns |= {"n": windows.found.tolist(), "valid": windows.valid.tolist()}
    columns |= {code: fault.tolist() for code, fault in windows.faults.items()}
    return {end: {name: column[i] for name, column in columns.items()} for i, end in enumerate(windows.end.tolist())}


def oracle(given: Samples) -> dict[int, dict[str, float]]:
    """The same features, window by window and sample by sample."""
    times, values, usable = (array.tolist() for array in given)
    found = {}
    for end in range(START, times[-1] + LENGTH + STALENESS + 1, HOP):
        pieces, lost = list[tuple[float, float, float]](), list[tuple[float, float, float]]()
        for i, time in enumerate(times):
            following = times[i + 1] if i + 1 < len(times) else math.inf
            start, stop = max(time, end - LENGTH), min(following, time + STALENESS, end)
            if start < stop:
                (pieces if usable[i] else lost).append(((start - end) / 3.6e9, (stop - end) / 3.6e9, values[i]))
        inside = [i for i, time in enumerate(times) if end - LENGTH <= time < end]
        if pieces or inside:
            found[end] = _statistics(pieces) | {"n": len(inside), "count": sum(usable[i] for i in inside)}
            silent = round(sum(b - a for a, b, _ in (*pieces, *lost)) * 3.6e9) < LENGTH
            found[end] |= {
                code: code_holds and not found[end]["valid"]
                for code, code_holds in (("bad_quality", bool(lost)), ("stale", silent))
            }
    return found


def _statistics(pieces: list[tuple[float, float, float]]) -> dict[str, float]:
    weights = [b - a for a, b, _ in pieces]
    hours = math.fsum(weights)
    share = hours / (LENGTH / 3.6e9)
    if round(share, 12) < 0.8:
        undefined = ("mean", "min", "max", "std", "last", "slope", "seconds_since_change")
        return dict.fromkeys(undefined, math.nan) | {
            "good_share": share,
            "valid": False,
        }
    mean = math.fsum(w * v for w, (_, _, v) in zip(weights, pieces, strict=True)) / hours
    centre = math.fsum(w * (a + b) / 2 for w, (a, b, _) in zip(weights, pieces, strict=True)) / hours
    # ∫(t - centre) dt and ∫(t - centre)² dt over each piece, from their antiderivatives.
    changes = [b[0] for a, b in pairwise(pieces) if a[2] != b[2]]
    rise = math.fsum(((b - centre) ** 2 - (a - centre) ** 2) / 2 * (v - mean) for a, b, v in pieces)
    run = math.fsum(((b - centre) ** 3 - (a - centre) ** 3) / 3 for a, b, _ in pieces)
    return {
        "mean": mean,
        "min": min(v for _, _, v in pieces),
        "max": max(v for _, _, v in pieces),
        "std": math.sqrt(math.fsum(w * (v - mean) ** 2 for w, (_, _, v) in zip(weights, pieces, strict=True)) / hours),
        "last": pieces[-1][2],
        "slope": rise / run,
        "seconds_since_change": -3600 * changes[-1] if changes else LENGTH / SECOND,
        "good_share": share,
        "valid": True,
    }


@given(samples())
@settings(max_examples=100)
def test_agrees_with_a_plain_loop(given: Samples) -> None:
    """Every window with a known value and each of its statistics agree to 1e-9."""
    found, expected = features(given), oracle(given)
    assert list(found) == list(expected)
    for end, values in expected.items():
        assert found[end] == pytest.approx(values, rel=1e-9, abs=1e-9, nan_ok=True), end


@given(samples(), st.integers(0, 40))
@settings(max_examples=50)
def test_a_window_gives_the_same_bits_in_any_batch(given: Samples, cut: int) -> None:
    """A window computed alone from the samples it can use is bitwise the same."""
    whole = features(given)
    end = sorted(whole)[cut % len(whole)]
    times, values, usable = given
    near = (times >= end - LENGTH - STALENESS) & (times < end)
    alone = features((times[near], values[near], usable[near]), EndRange(end - 1, end, end))
    assert np.array(list(alone[end].values())).tobytes() == np.array(list(whole[end].values())).tobytes()


def test_event_spaced_samples_are_weighted_by_time() -> None:
    """10 for 50 s and 70 for 10 s have the mean 20, not 40; what held before the window counts."""
    times = START + np.array([-5, 20, 40, 50]) * SECOND
    found = features((times, np.array([10.0, 10.0, 10.0, 70.0]), np.ones(4, np.bool_)))[START + LENGTH]
    expected = {"mean": 20.0, "min": 10.0, "max": 70.0, "last": 70.0, "count": 3, "n": 3, "good_share": 1.0}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_stale_value_is_not_held() -> None:
    """One sample at the start of a minute holds for its 30 s: half is known, too little for statistics."""
    found = features((np.array([START]), np.array([5.0]), np.array([True])))[START + LENGTH]
    assert (found["good_share"], found["count"], found["valid"]) == (0.5, 1, False)
    assert (found["stale"], found["bad_quality"]) == (True, False)
    assert math.isnan(found["mean"])


def test_a_bad_sample_ends_the_hold() -> None:
    """A sensor that fails after 45 s of a minute: 75 % known."""
    times = START + np.array([0, 20, 40, 45]) * SECOND
    found = features((times, np.array([1.0, 2.0, 3.0, 99.0]), np.array([True, True, True, False])))[START + LENGTH]
    assert (found["good_share"], found["n"], found["count"], found["valid"]) == (0.75, 4, 3, False)
    assert (found["stale"], found["bad_quality"]) == (False, True)


def test_a_ramp_has_its_slope() -> None:
    """A degree a minute is 60 an hour, however finely it is sampled."""
    times = START + np.arange(0, 60) * SECOND
    found = features((times, np.arange(60) / 60, np.ones(60, np.bool_)))[START + LENGTH]
    assert found["slope"] == pytest.approx(60.0, rel=1e-3)


def test_a_sample_at_the_end_belongs_to_the_next_window() -> None:
    """[start, end): the future is not used."""
    times = START + np.array([0, 30, 60]) * SECOND
    found = features((times, np.array([1.0, 1.0, 1000.0]), np.ones(3, np.bool_)))[START + LENGTH]
    assert (found["max"], found["last"], found["count"]) == (1.0, 1.0, 2)


def test_time_since_the_last_change() -> None:
    """The last change before the end counts; a repeated value is no change, and without one it is the whole window."""
    times = START + np.array([0, 15, 30, 45, 60, 75, 90, 105]) * SECOND
    found = features((times, np.array([1.0, 1, 2, 2, 2, 2, 2, 2]), np.ones(8, np.bool_)))
    assert [found[START + second * SECOND]["seconds_since_change"] for second in (60, 80, 120)] == [30, 50, 60]
