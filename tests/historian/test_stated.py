"""What is stated about rates, compared with the plant file."""

from __future__ import annotations

import pytest

from historian.plant.model import Point
from historian.stated import parse_rate, rate_contradiction, rate_contradictions


def test_a_rate_may_be_a_fraction() -> None:
    """A crystal's frequency divided by a whole number has no short decimal."""
    assert Point.model_validate({"kind": "vibration", "sample_rate": "25600/3"}).sample_rate == 25_600 / 3
    assert [parse_rate("102400 / 12"), parse_rate(12_000), parse_rate("fast")] == [102_400 / 12, 12_000, "fast"]
    with pytest.raises(ValueError, match="'25600/0' divides by zero"):
        Point.model_validate({"kind": "vibration", "sample_rate": "25600/0"})


def test_rates_that_differ_by_more_than_clocks_do_are_a_contradiction() -> None:
    """The sentence says who states what, and what to do."""
    stated = (12_000, 12_020, 12_030, 48_000)
    found = [rate_contradiction("m1.de", stated=rate, configured=12_000, by="m1.wav") for rate in stated]
    assert [each is not None for each in found] == [False, False, True, True]
    assert str(rate_contradiction("m1.de", stated=48_000, configured=12_000, by="m1.wav")) == (
        "m1.de: m1.wav states a sample rate of 48000 Hz, plant.toml 12000 Hz; correct sample_rate, or the address "
        "if these are samples of another sensor"
    )


def test_each_rate_of_a_tag_is_reported_once() -> None:
    """Tags that have no rate in the plant file are left out."""
    stated = [("a", 48_000.0), ("a", 48_000.0), ("b", 1_000.0), ("c", 5.0)]
    found = rate_contradictions(stated, {"a": 12_000.0, "b": 1_000.0})
    assert [(each.tag, each.stated, each.configured) for each in found] == [("a", 48_000, 12_000)]
