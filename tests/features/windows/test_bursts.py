"""The ends of bursts are found for any length, with a bounded search in a signal that has none."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from features.windows.bursts import whole_bursts
from historian.errors import ConfigError
from historian.stores.memory import MemoryStore
from historian.times import micros
from tests.features.stretches import packed

START = micros(datetime(2026, 1, 1, tzinfo=UTC))
TAG = "p1.de_h"


def store(*times: np.ndarray[tuple[int], np.dtype[np.int64]]) -> MemoryStore:
    """Samples at microseconds after START, at 1 kHz."""
    filled, stamps = MemoryStore(page_rows=1000), START + np.concatenate(times)
    batch = packed(TAG, stamps, np.ones(len(stamps)), 1000)
    filled.write_waveforms(batch, source="test", now=datetime(2026, 2, 1, tzinfo=UTC))
    return filled


def widened(samples: MemoryStore, first: int, last: int, *, look: int = 10_000) -> tuple[int, int]:
    """Start and end of the bursts around first and last, after START, at 1 kHz."""
    found = whole_bursts(samples, [TAG], START + first, START + last, gap=1500, look=look)
    return found[0] - START, found[1] - START


def test_an_interval_is_widened_to_the_bursts_it_cuts() -> None:
    """It extends to the first sample of one burst and the last of the other, many reads away; gaps are left alone."""
    samples = store(np.arange(0, 800_000, 1000), np.arange(2_000_000, 2_900_000, 1000))
    assert widened(samples, 400_000, 2_100_000) == (0, 2_899_000)
    assert widened(samples, 1_000_000, 1_500_000) == (1_000_000, 1_500_000)


@pytest.mark.parametrize(("first", "last"), [(0, 1000), (29_990_000, 29_999_000)], ids=["later", "earlier"])
def test_a_continuous_signal_is_not_searched_for_ever(first: int, last: int) -> None:
    """Ten thousand windows without a gap are no burst; the error says which alignment is meant."""
    samples = store(np.arange(0, 30_000_000, 1000))
    with pytest.raises(ConfigError, match=r'p1.de_h: .* is continuous; write align = "epoch"'):
        widened(samples, first, last, look=2_000)


def test_a_burst_without_a_fixed_rate_is_one_interval() -> None:
    """Its stretches have the rates at which its rows came, here a quarter of the configured one, and still join."""
    slow = np.arange(0, 36_000_000, 4000)
    samples = store(slow, np.arange(40_000_000, 40_900_000, 1000))
    assert widened(samples, 12_000, 13_000, look=1_000_000) == (-2500, 35_996_000 + 2500)
