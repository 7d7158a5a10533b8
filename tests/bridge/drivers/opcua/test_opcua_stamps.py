"""Arrays of a steady signal join, although a server stamps them with a clock that jitters or drifts."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.drivers.opcua.stamps import ArrayClock

RATE, COUNT = 25_600.0, 2_560
PERIOD, LENGTH = 1e6 / RATE, 100_000
START = 1_772_323_200_000_000


def begins(stamps: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The times that arrays of 0.1 s are given."""
    clock = ArrayClock()
    return np.array([clock.begin("c101.de_h", stamp, count=COUNT, sample_rate=RATE) for stamp in stamps])


@pytest.mark.parametrize("jitter", [10, 100, 1_000, 8_000])
def test_jitter_leaves_neither_gaps_nor_overlaps(jitter: int) -> None:
    """Half a period decides both; the times stay as close to the timestamps as these are to each other."""
    noise = np.random.default_rng(jitter).integers(-jitter, jitter, 600, endpoint=True)
    stamps = START + LENGTH * np.arange(600) + noise
    found = begins(stamps.tolist())
    assert np.abs(np.diff(found) - LENGTH).max() < PERIOD / 2
    assert np.abs(found - stamps).max() <= 2 * jitter + PERIOD


@pytest.mark.parametrize(("jitter", "drift"), [(0, 1e-5), (10, 0), (1_000, 0), (1_000, 1e-5), (8_000, 2e-5)])
def test_most_arrays_join_to_the_microsecond(jitter: int, drift: float) -> None:
    """Then the lake joins their stretches when it merges files; no array is further off than its timestamp may be."""
    noise = np.random.default_rng(1).integers(-jitter, jitter, 2000, endpoint=True)
    true = START + np.rint(LENGTH * (1 + drift) * np.arange(2000)).astype(np.int64)
    found = begins((true + noise).tolist())
    assert (np.abs(np.diff(found) - LENGTH) <= 1)[100:].mean() > 0.9
    assert np.abs(found - true)[100:].max() <= 1.25 * jitter + PERIOD / 2


def test_a_clock_that_drifts_is_followed() -> None:
    """By a hundred millionths, which is more than any quartz does."""
    stamps = START + np.rint(LENGTH * (1 + 1e-4) * np.arange(36_000)).astype(np.int64)
    found = begins(stamps.tolist())
    assert np.abs(np.diff(found) - LENGTH).max() < PERIOD / 2
    assert np.abs(found - stamps).max() <= PERIOD / 2


@pytest.mark.parametrize("lost", [1, 7])
def test_a_lost_array_leaves_its_gap(lost: int) -> None:
    """What comes after it is where its timestamp says."""
    stamps = [START, START + LENGTH, START + (2 + lost) * LENGTH]
    assert begins(stamps).tolist() == stamps


def test_a_long_array_is_not_moved_far() -> None:
    """A quarter of ten seconds is no jitter: the array stays where its timestamp says."""
    clock, count = ArrayClock(), 256_000
    clock.begin("c101.de_h", START, count=count, sample_rate=RATE)
    late = START + 10_000_000 + 60_000
    assert clock.begin("c101.de_h", late, count=count, sample_rate=RATE) == late


def test_an_array_that_is_repeated_has_the_time_it_had() -> None:
    """A server sends its present value again when a subscription begins; then the signal goes on."""
    stamps = [START, START + LENGTH + 300, START + LENGTH + 300, START + 2 * LENGTH]
    first, second, again, next_one = begins(stamps)
    assert first == START
    assert again == second
    assert abs(next_one - second - LENGTH) < PERIOD / 2


def test_tags_do_not_affect_each_other() -> None:
    """Each has a clock of its own."""
    clock = ArrayClock()
    clock.begin("a", START, count=COUNT, sample_rate=RATE)
    assert clock.begin("b", START + LENGTH + 300, count=COUNT, sample_rate=RATE) == START + LENGTH + 300
