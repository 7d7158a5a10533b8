"""Random draws that never change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from features.training.seeded import name_lots, row_lots

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_draws_do_not_depend_on_library_versions() -> None:
    """Training sets are made again from their seed, with the libraries of that time."""
    assert name_lots(["c101", "c102"], 7).tolist() == [11472509677367617062, 6012954232197051623]
    labels = pl.DataFrame({"asset": ["c101"], "event_timestamp": [START]})
    assert row_lots(labels, 7).tolist() == [16258172462281471884]
    assert row_lots(labels.clear(), 7).dtype == np.uint64


def test_draws_are_spread_evenly() -> None:
    """Neighbouring times of one asset are independent."""
    labels = pl.DataFrame({"asset": "c101", "event_timestamp": [START + timedelta(seconds=n) for n in range(10_000)]})
    counts, _ = np.histogram(row_lots(labels, 0).astype(np.float64), bins=10, range=(0, 2.0**64))
    assert counts.min() > 900
    assert counts.max() < 1100
