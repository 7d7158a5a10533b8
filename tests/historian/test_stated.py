"""What is stated about rates, compared with the plant file."""

from __future__ import annotations

import pytest

from historian.plant.model import Point
from historian.stated import parse_rate, rate_contradiction, rate_contradictions, speed_contradiction


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


def test_speeds_that_differ_by_more_than_a_search_for_lines_allows_are_a_contradiction() -> None:
    """The Case Western Reserve file that says 1,732 rpm where the machine turned 1,772."""
    found = [speed_contradiction("m1.speed", stated=rpm, configured=1772, by="the file") for rpm in (1737, 1807, 1732)]
    assert [str(each) for each in found if each] == [
        "m1.speed: the file states a speed of 1732 rpm, plant.toml 1772 rpm; correct speed_rpm, or leave the tag out "
        "of this list if the file is wrong"
    ]


def test_each_rate_of_a_tag_is_reported_once() -> None:
    """Tags that have no rate in the plant file are left out."""
    stated = [("a", 48_000.0), ("a", 48_000.0), ("b", 1_000.0), ("c", 5.0)]
    found = rate_contradictions(stated, {"a": 12_000.0, "b": 1_000.0})
    assert [(each.tag, each.stated, each.configured) for each in found] == [("a", 48_000, 12_000)]
