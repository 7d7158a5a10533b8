"""The leakage check finds the leaks it is meant to find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.training.leakage import Claim, leaking_rows, rms_before

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def claim(ttl: timedelta | None = None) -> Claim:
    """One feature of one asset, a row a minute, the third corrected later."""
    at = [T0, T0 + MINUTE, T0 + 2 * MINUTE, T0 + 2 * MINUTE]
    created = [at[0], at[1], at[2], at[2] + timedelta(hours=1)]
    rows = pl.DataFrame(
        {"asset": "c101", "event_timestamp": at, "created_timestamp": created, "rms": [1.0, 2.0, None, 4.0]}
    )
    return Claim(rows, {"vib__rms": "rms"}, ttl)


@pytest.mark.parametrize(
    ("seconds", "value", "leaks"),
    [
        (0, 1.0, 0),  # at the very instant it is known
        (59, 1.0, 0),
        (59, 2.0, 1),  # a value from the future
        (60, 1.0, 1),  # a newer one was known
        (120, 4.0, 0),  # the correction is the true history
        (120, None, 1),
        (-1, None, 0),
        (-1, 1.0, 1),
    ],
)
def test_a_value_that_was_not_the_newest_known_is_a_leak(seconds: int, value: float | None, leaks: int) -> None:
    """Neither a value from the future nor an outdated one passes."""
    at = T0 + timedelta(seconds=seconds)
    training = pl.DataFrame({"asset": ["c101"], "event_timestamp": [at], "vib__rms": [value]})
    assert len(leaking_rows(training, [claim()])) == leaks


def test_an_expired_value_must_be_absent() -> None:
    """The time to live counts to its last microsecond."""
    at = [T0 + 32 * MINUTE, T0 + 32 * MINUTE + timedelta(microseconds=1)]
    training = pl.DataFrame({"asset": "c101", "event_timestamp": at, "vib__rms": [4.0, 4.0]})
    assert leaking_rows(training, [claim(30 * MINUTE)]) == {1}


def test_only_complete_bursts_before_the_instant_count() -> None:
    """A burst in progress and a short one are ignored."""
    rng = np.random.default_rng(7)
    values = rng.normal(size=(3, 100))
    micro = np.arange(100) * 1000
    starts = [T0, T0 + MINUTE, T0 + 2 * MINUTE]
    frames = [
        pl.DataFrame({"timestamp": [start + timedelta(microseconds=int(m)) for m in micro], "value": row})
        for start, row in zip(starts, values, strict=True)
    ]
    samples = pl.concat([frames[0], frames[1].head(60), frames[2]]).sample(fraction=1, shuffle=True, seed=1)
    window = timedelta(milliseconds=100)

    def rms(at: datetime) -> float | None:
        return rms_before(samples, at, window=window, sample_rate=1000)

    assert rms(T0 + timedelta(milliseconds=99)) is None
    assert rms(T0 + timedelta(milliseconds=100)) == pytest.approx(values[0].std(), rel=1e-12)
    assert rms(T0 + 2 * MINUTE) == pytest.approx(values[0].std(), rel=1e-12)
    assert rms(T0 + 3 * MINUTE) == pytest.approx(values[2].std(), rel=1e-12)
