"""The facts that a training set's manifest names."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.define.view_plan import view_plan
from features.tables.definition import definition_of
from features.tables.facts_used import facts_used
from historian.plant.load import load_plant
from historian.plant.plant import Plant


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """A fan whose bearings, speed, sensor and tags change."""
    root = Path(__file__).parents[3]
    monkeypatch.syspath_prepend(root / "tests" / "plugins")
    return load_plant(root / "tests" / "cases" / "plant" / "dated")


def test_the_facts_of_each_time_are_named(plant: Plant) -> None:
    """With the instant from which they hold; a table by the same facts has no outdated rows."""
    stored = definition_of(plant, view_plan(plant, plant.views["fan_bearing"])).to_json()
    used = facts_used(plant, "fan_bearing", stored, ["f1", "gone"])
    assert used["outdated"] == []
    history = used["assets"]["f1"]
    assert [each["since"] for each in history] == [
        None,
        "2026-01-01T00:00:00.000000Z",
        "2026-03-02T07:00:00.000000Z",
        "2026-03-15T00:00:00.000000Z",
        "2026-04-01T00:00:00.000000Z",
        "2026-05-01T00:00:00.000000Z",
    ]
    assert history[3] == {
        "since": "2026-03-15T00:00:00.000000Z",
        "de.tag": "f1.de",
        "de.bearing": {"balls": 13, "ball_diameter": 9.5, "pitch_diameter": 65},
        "de.range": [-100, 100],
        "nde.tag": "f1.nde2",
        "nde.bearing": {"balls": 8, "ball_diameter": 6, "pitch_diameter": 34},
        "nde.range": None,
        "speed_rpm": 1500,
    }


def test_rows_by_other_facts_are_named_too(plant: Plant) -> None:
    """The table was computed when another bearing stood in the plant file."""
    stored = definition_of(plant, view_plan(plant, plant.views["fan_bearing"])).to_json()
    other = stored.replace('[[null, "', '[[null, "0')
    assert facts_used(plant, "fan_bearing", other, ["f1"])["outdated"] == ["f1"]
    assert facts_used(plant, "gone", stored, ["f1"]) == {}
