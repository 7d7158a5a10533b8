"""Rows of process and state points: numbers, time in state, and why either is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.windows.tiling import EndRange
from historian.plant.plant import View
from historian.quality import BAD
from tests.features.compute.rows.signals import (
    ONE,
    SECOND,
    START,
    dial,
    only,
    rows,
    samples,
    tag,
    view,
)

MODE = tag("mode", "state", unit="", states={"running": "RUN", "idle": "IDLE"}, max_staleness=ONE * 60)
PUMP = tag("pump", "process", unit="", states={"off": 0, "on": 1}, max_staleness=ONE * 60)


def process(*points: str, features: tuple[str, ...] = ()) -> View:
    """Windows of ten seconds over process points."""
    return view(*points, features=features, length=10, kind="process")


def test_time_in_state_of_a_text() -> None:
    """The row has each listed state's share of the window, the last state, the changes, and since when it holds."""
    times = np.array([0, 4, 6, 9]) * SECOND
    held = samples(MODE, times, [None] * 4, text=["RUN", "RUN", "IDLE", "Tripped"])
    row = only(rows(process("mode"), held, tags=(MODE,), wanted=EndRange(START, START + 10 * SECOND, 2 * START)))
    expected = {
        "share_running": 0.6,
        "share_idle": 0.3,
        "last_state": "Tripped",
        "changes": 2,
        "seconds_since_change": 1,
        "count": 4,
        "good_share": 1,
        "n": 4,
        "valid": True,
        "reason": None,
    }
    assert {name: row[f"mode_{name}"] for name in expected} == pytest.approx(expected)


def test_time_in_state_of_a_number() -> None:
    """0 and 1 have their names; the same tag may be a number as well."""
    held = samples(PUMP, np.array([0, 2.5, 5]) * SECOND, [0, 1, 0])
    wanted = EndRange(START, START + 10 * SECOND, 2 * START)
    row = only(rows(process("pump", features=("process", "states")), held, tags=(PUMP,), wanted=wanted))
    assert [row[f"pump_{name}"] for name in ("share_on", "share_off", "mean")] == pytest.approx([0.25, 0.75, 0.25])
    assert (row["pump_last_state"], row["pump_last"], row["pump_changes"]) == ("off", 0, 2)
    unlisted = tag("pump", "state", unit="", max_staleness=ONE * 60)
    row = only(rows(process("pump"), samples(unlisted, [0, SECOND], [2, 2.5]), tags=(unlisted,), wanted=wanted))
    assert (row["pump_last_state"], row["pump_valid"]) == ("2.5", True)


def test_a_process_window_that_is_not_valid_says_why() -> None:
    """The sensor stopped reporting, reported itself Bad, or had a state that was never known."""
    oil = tag("oil", "process", unit="degC", max_staleness=ONE)
    wanted = EndRange(START, START + 10 * SECOND, 2 * START)
    silent = rows(process("oil"), dial(oil, [1, 2, 3]), tags=(oil,), wanted=wanted)
    assert only(silent)["oil_reason"] == "stale"
    bad = samples(oil, np.arange(20) * SECOND // 2, [1.0] * 5 + [None] * 15, quality=pl.Series([0] * 5 + [BAD] * 15))
    assert only(rows(process("oil"), bad, tags=(oil,), wanted=wanted))["oil_reason"] == "bad_quality"
    void = samples(MODE, [0], [None], text=[None], quality=BAD)
    row = only(rows(process("mode"), void, tags=(MODE,), wanted=wanted))
    assert (row["mode_last_state"], row["mode_share_running"], row["mode_reason"]) == (None, None, "bad_quality")


def test_a_process_value_that_float64_cannot_square_is_missing() -> None:
    """The other features are computed; the missing ones have the reason magnitude."""
    oil = tag("oil", "process", unit="degC", max_staleness=ONE * 60)
    wanted = EndRange(START, START + 20 * SECOND, 2 * START)
    held = samples(oil, np.arange(4) * 5 * SECOND, [1e200, -1e200, 1, 2])
    found = rows(view("oil", length=10, kind="process"), held, tags=(oil,), wanted=wanted)
    assert found["oil_reason"].to_list() == ["magnitude", None]
    assert found.select("oil_std", "oil_max").row(0) == (None, 1e200)
