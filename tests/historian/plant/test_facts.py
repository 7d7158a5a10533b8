"""Facts with dates: what an asset was at an instant, which tag filled a point, and what `penstock check` remarks."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from historian.plant.fact_notes import fact_notes
from historian.plant.facts import ALWAYS, era_at, eras_of
from historian.plant.load import load_plant
from historian.plant.model import Asset, Change
from historian.plant.plant import Plant
from historian.plant.statements import read_replacements

CASES = Path(__file__).parents[2] / "cases" / "plant"


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """A fan whose bearings, speed, sensor and tags change."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "plugins")
    return load_plant(CASES / "dated")


def day(month: int, number: int, hour: int = 0) -> datetime:
    """An instant of 2026."""
    return datetime(2026, month, number, hour, tzinfo=UTC)


def test_a_tag_has_the_facts_of_the_instant(plant: Plant) -> None:
    """A change replaces what it gives, from its date on; an unknown bearing is not the other one of the asset."""
    instants = [ALWAYS, day(3, 2, 6), day(3, 2, 7), day(4, 1), day(5, 1)]
    drive = [tag for at in instants if (tag := plant.tag_at("f1", "de", at))]
    assert [tag.bearing and tag.bearing.balls for tag in drive] == [9, 9, 13, 13, None]
    assert [tag.range for tag in drive] == [(-50, 50)] * 2 + [(-100, 100)] * 3
    assert [plant.asset_at("f1", at).speed_rpm for at in instants] == [1500, 1500, 1500, 1480, 1500]
    other = [tag and tag.bearing and tag.bearing.balls for at in instants if (tag := plant.tag_at("f1", "nde", at))]
    assert other == [8, 8, None, None]
    assert plant.tags["f1.de"].range == (-100, 100)
    assert plant.tags["f1.de"].ranges == ((ALWAYS, (-50, 50)), (day(3, 2, 7), (-100, 100)))


def test_a_point_has_one_tag_at_a_time(plant: Plant) -> None:
    """From the since of each up to that of the next; none before the first."""
    found = [plant.tag_at("f1", "nde", at) for at in (day(1, 1) - timedelta(microseconds=1), day(1, 1), day(3, 15))]
    assert [tag and tag.name for tag in found] == [None, "f1.nde", "f1.nde2"]
    assert [tag.name for tag in plant.tags_of("f1", "nde")] == ["f1.nde", "f1.nde2"]
    assert plant.tag_of("f1", "nde") is plant.tags["f1.nde2"]


def test_gaps_and_undated_facts_are_remarked_on(plant: Plant) -> None:
    """Only about facts that change."""
    assert fact_notes(plant) == [
        "f1: the first speed_rpm has no date: it is assumed at any time before 2026-04-01T00:00:00Z",
        "f1: the first bearing of de has no date: it is assumed at any time before 2026-03-02T07:00:00Z",
        "f1: bearing of de is unknown from 2026-05-01T00:00:00Z on",
        "f1: the first bearing of nde has no date: it is assumed at any time before 2026-04-01T00:00:00Z",
        "f1: bearing of nde is unknown from 2026-04-01T00:00:00Z on",
        "f1: no tag fills point nde until 2026-01-01T00:00:00Z",
    ]


CHANGE = st.fixed_dictionaries(
    {"since": st.integers(1, 9).map(lambda number: day(3, number))},
    optional={"speed_rpm": st.integers(1, 5), "bearing": st.integers(3, 9), "unknown": st.just(["speed_rpm"])},
)


def as_change(given_facts: dict[str, Any]) -> dict[str, Any]:
    """A change as in the plant file."""
    balls = given_facts.get("bearing")
    bearing = {"bearing": {"balls": balls, "ball_diameter": 1, "pitch_diameter": 9}} if balls else {}
    return {**given_facts, **bearing}


def is_change(facts: dict[str, Any]) -> bool:
    """Whether it gives a fact, and none twice."""
    return len(facts) > 1 and not {"speed_rpm", "unknown"} <= facts.keys()


@given(st.lists(CHANGE.filter(is_change), max_size=5, unique_by=lambda each: each["since"]), st.integers(0, 10))
def test_a_fact_is_that_of_the_last_change_that_gave_it(changes: list[dict[str, Any]], number: int) -> None:
    """Brute force: go through the changes up to an instant, in order of time, whatever their order in the file."""
    asset = Asset.model_validate({"class": "fan", "speed_rpm": 9, "changes": [as_change(each) for each in changes]})
    instant = day(3, 1) + timedelta(days=number - 1)
    rpm: int | None = 9
    balls: int | None = None
    for each in sorted(changes, key=lambda each: each["since"]):
        if each["since"] <= instant:
            rpm = None if "unknown" in each else each.get("speed_rpm", rpm)
            balls = each.get("bearing", balls)
    held = era_at(eras_of(asset), instant).asset
    assert (held.speed_rpm, held.bearing and held.bearing.balls) == (rpm, balls)


def test_the_examples_of_the_page_are_right(tmp_path: Path) -> None:
    """Plant file and event table are read as they stand there."""
    page = (CASES.parents[2] / "docs" / "dated-facts.md").read_text(encoding="utf-8")
    (asset,) = tomllib.loads(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])["assets"].values()
    eras = eras_of(Asset.model_validate(asset))
    assert [era.asset.bearing and era.asset.bearing.balls for era in eras] == [9, 13, None]
    (tmp_path / "events.csv").write_text(re.findall(r"```csv\n(.*?)```", page, re.DOTALL)[1])
    found, problems = read_replacements(tmp_path / "events.csv", "events.csv", ["c101"])
    assert ([each.facts for each in found], problems) == ([Change.model_validate(asset["changes"][0])], [])
