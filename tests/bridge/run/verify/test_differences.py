"""Bisection finds every difference, and only looks into what differs."""

from __future__ import annotations

import polars as pl
import pytest

from bridge.run.verify.differences import LEAF, differences, differing_parts
from bridge.run.verify.signals import Signal, sample_signals
from historian.samples import normalise
from tests.bridge.run.verify.scene import Row, frame, minutes

COUNT = 4 * LEAF


def signal(rows: list[Row], *, text_at: int | None = None) -> Signal:
    """The samples of tag a."""
    texts = pl.when(pl.int_range(pl.len()) == text_at).then(pl.lit("x")) if text_at is not None else pl.lit(None)
    return sample_signals([normalise(frame(rows).with_columns(text=texts)).batch])["a"]


@pytest.mark.parametrize("at", [0, 1, LEAF // 2, LEAF - 1, LEAF, 2 * LEAF, COUNT - 1])
def test_a_single_difference_is_found_wherever_it_is(at: int) -> None:
    """In either half of every half: a sample too few, one too many, another value, quality or text."""
    rows = minutes("a", 0, COUNT)
    whole, less = signal(rows), signal([*rows[:at], *rows[at + 1 :]])
    value = signal([*rows[:at], ("a", at, -1.0, 0), *rows[at + 1 :]])
    quality = signal([*rows[:at], ("a", at, float(at), 64), *rows[at + 1 :]])
    others = (less, value, quality, signal(rows, text_at=at))
    found = [tuple(map(list, differences(whole, other))) for other in others]
    assert found == [([at], [], [], []), *[([], [], [at], [at])] * 3]
    assert [list(each) for each in differences(less, whole)] == [[], [at], [], []]
    assert not differences(whole, signal(rows))


def test_the_cost_follows_the_differences() -> None:
    """Of equal halves nothing is looked at; a few differences far apart are a few small parts."""
    rows = minutes("a", 0, 64 * LEAF)
    changed = [
        ("a", minute, -1.0, 0) if minute in (3, 9_000) else (tag, minute, value, 0) for tag, minute, value, _ in rows
    ]
    parts = list(differing_parts(signal(rows), signal(changed)))
    assert len(parts) == 2
    assert sum(last - first for part in parts for first, last in part) <= 2 * LEAF


def test_signals_without_samples_differ_from_others_only() -> None:
    """On either side."""
    rows = minutes("a", 0, 3)
    nothing = signal(rows).part(0, 0)
    assert not differences(nothing, nothing)
    assert [len(each) for each in differences(signal(rows), nothing)] == [3, 0, 0, 0]
    assert [len(each) for each in differences(nothing, signal(rows))] == [0, 3, 0, 0]
